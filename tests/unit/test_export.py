"""Static graphs answer like the network they were made from, for every shape of batch."""

from __future__ import annotations

import hashlib
import json
import threading
import zipfile

import numpy as np
import onnx
import pytest

from tests.unit.tiny_models import LABELS, TinyModel
from training.fewshot.export import export, run_export_job, write_onnx
from training.fewshot.export_errors import ExportError
from training.fewshot.runner import Classifier

TEXTS = [
    "短",
    "上证指数今天收盘上涨百分之一，成交量放大。",
    "国足 2:1 获胜",
    "x" * 400,
    "",
    "新手机发布\n第二行",
]


@pytest.fixture(scope="module", params=[0, 2], ids=["pooled", "masks"])
def model(request):
    return TinyModel(masks=request.param)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("export")
    export(model, path)
    return path


@pytest.mark.parametrize("graph", ["model.onnx", "model.json"])
def test_a_graph_answers_like_the_network_at_every_batch_size(model, folder, graph):
    expected = model.predict_proba(TEXTS)
    assert len(set(expected.argmax(axis=1))) > 1, "the made-up model must tell texts apart"
    classifier = Classifier.load(folder, threads=1, graph=folder / graph)
    for batch_size in (1, 4, 32):
        found = classifier.predict_proba(TEXTS, batch_size=batch_size)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=2e-6)


def test_batches_of_a_small_graph_run_side_by_side(model, folder):
    texts = [text * (1 + number % 3) for number, text in enumerate(TEXTS * 6)]
    one = Classifier.load(folder, threads=1, graph=folder / "model.onnx")
    several = Classifier.load(folder, threads=4, graph=folder / "model.onnx")
    assert (one.graph.at_once, several.graph.at_once) == (1, 4)
    told: list[int] = []
    found = several.predict_proba(texts, batch_size=2, on_batch=told.append)
    assert told == list(range(2, len(texts) + 1, 2))
    assert several.graph_for_many.threads == 1
    np.testing.assert_allclose(found, one.predict_proba(texts, batch_size=2), atol=2e-6)
    # Too few for it: the session with all threads answers.
    several.graph_for_many = None
    several.predict_proba(texts[:6], batch_size=2)
    assert several.graph_for_many is None

    def stop(done: int) -> None:
        raise InterruptedError(done)

    before = threading.active_count()
    with pytest.raises(InterruptedError, match="2"):
        several.predict_proba(texts, batch_size=2, on_batch=stop)
    assert threading.active_count() == before


def test_the_onnx_graph_is_standard_folded_and_named(model, folder):
    graph = onnx.load(str(folder / "model.onnx"))
    assert {entry.domain for entry in graph.opset_import} <= {"", "ai.onnx"}
    assert [value.name for value in graph.graph.output] == ["logits"]
    assert sorted(value.name for value in graph.graph.input) == sorted(model.input_names)
    assert not [node for node in graph.graph.node if node.op_type in ("Constant", "Identity")]
    for value in graph.graph.input:
        assert [axis.dim_param != "" for axis in value.type.tensor_type.shape.dim] == [True, True]


def test_exporting_leaves_the_network_as_it_was(model, tmp_path):
    before = model.predict_proba(TEXTS)
    forward = type(model.network).forward
    model.network.train()
    write_onnx(model, tmp_path / "a.onnx")
    assert model.network.training
    model.network.eval()
    assert model.network.forward.__func__ is forward
    np.testing.assert_array_equal(model.predict_proba(TEXTS), before)
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"], "nothing is left beside"


def test_two_exports_of_one_model_are_the_same_bytes(model, tmp_path):
    first = write_onnx(model, tmp_path / "a.onnx").read_bytes()
    assert write_onnx(model, tmp_path / "b.onnx").read_bytes() == first


def test_a_network_that_cannot_be_traced_is_a_named_error(tmp_path):
    model = TinyModel()
    model.input_names = ["input_ids"]
    with pytest.raises(ExportError) as raised:
        write_onnx(model, tmp_path / "a.onnx")
    assert raised.value.code == "export_failed"
    assert list(tmp_path.iterdir()) == []


def write_job(folder, model, texts, **spec):
    model.save(folder / "model")
    (folder / "spec.json").write_text(
        json.dumps({"model_dir": str(folder / "model"), "formats": ["onnx"], "name": "新闻 分类/1", **spec}),
        encoding="utf-8",
    )
    with (folder / "replay.jsonl").open("w", encoding="utf-8") as file:
        for number, text in enumerate(texts):
            row = {"id": number, "text": text, "label": LABELS[number % 3]["name"] if number % 2 else None}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


@pytest.mark.parametrize("fmt", ["onnx", "paddle"])
def test_the_job_packs_replays_and_reports(tmp_path, fmt):
    model = TinyModel(masks=1, views=2)
    write_job(tmp_path, model, TEXTS, formats=[fmt])
    events = []
    report = run_export_job(tmp_path, events.append, load=lambda _: model)
    assert report == json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    (artifact,) = report["artifacts"]
    assert artifact["ok"]
    assert artifact["refused_because"] is None
    assert artifact["same_label_share"] == 1.0
    assert artifact["max_abs_difference"] < 1e-5
    assert artifact["n_replayed"] == len(TEXTS)
    assert artifact["accuracy"] == artifact["reference_accuracy"] is not None
    assert artifact["texts_per_second"] > 0
    bundle = tmp_path / artifact["file"]
    assert bundle.name == f"新闻-分类-1-{fmt}.zip"
    assert artifact["bytes"] == bundle.stat().st_size
    assert artifact["sha256"] == hashlib.sha256(bundle.read_bytes()).hexdigest()
    assert {event["type"] for event in events} == {"stage", "progress"}


def test_a_bundle_that_answers_differently_is_refused_and_removed(tmp_path):
    """The graph lying ready in the model folder is that of another model."""
    model = TinyModel()
    write_job(tmp_path, model, TEXTS)
    write_onnx(TinyModel(seed=8), tmp_path / "model" / "onnx" / "model.onnx")
    events = []
    (artifact,) = run_export_job(tmp_path, events.append, load=lambda _: model)["artifacts"]
    assert not artifact["ok"]
    assert artifact["refused_because"] == "replay_failed"
    assert "self-test failed" in artifact["refused_detail"]
    assert not (tmp_path / artifact["file"]).exists()
    assert [event["code"] for event in events if event["type"] == "warning"] == ["artifact_refused"]


def test_no_text_of_the_owner_and_no_path_of_the_machine_enters_a_bundle(tmp_path):
    model = TinyModel()
    secret = "病人张三丰的检查结果"
    write_job(tmp_path, model, [secret, *TEXTS])
    (artifact,) = run_export_job(tmp_path, lambda _: None, load=lambda _: model)["artifacts"]
    with zipfile.ZipFile(tmp_path / artifact["file"]) as bundle:
        for name in bundle.namelist():
            content = bundle.read(name)
            assert secret.encode() not in content, name
            assert b"/srv/secret" not in content, name
            assert str(tmp_path).encode() not in content, name


def test_what_emit_raises_ends_the_job_and_leaves_no_half_bundle(tmp_path):
    class Stop(Exception):
        pass

    def emit(event):
        if event["type"] == "progress" and event["stage"] == "replay":
            raise Stop

    model = TinyModel()
    write_job(tmp_path, model, TEXTS)
    with pytest.raises(Stop):
        run_export_job(tmp_path, emit, load=lambda _: model)
    assert not (tmp_path / "report.json").exists()
