"""The int8 form of a graph: really int8, near the model, the same whatever shares the batch, refused when it is not near."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.unit.test_export import TEXTS, write_job
from tests.unit.tiny_models import TinyModel
from training.fewshot import parity, runner
from training.fewshot.bundle import archive
from training.fewshot.export import export, run_export_job, write_onnx
from training.fewshot.export_errors import ExportError
from training.fewshot.quantise import write_int8


def one_matmul(weight, path):
    """A graph x @ weight, its weight a constant, or an input where `weight` is None."""
    value = helper.make_tensor_value_info
    inputs = [value("x", TensorProto.FLOAT, ["rows", 4 if weight is None else len(weight)])]
    constants = []
    if weight is None:
        inputs.append(value("w", TensorProto.FLOAT, [4, 3]))
    else:
        constants.append(numpy_helper.from_array(weight.astype(np.float32), "w"))
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        inputs,
        [value("y", TensorProto.FLOAT, ["rows", None])],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


@pytest.mark.parametrize("masks", [0, 2])
def test_every_weight_is_int8_and_the_labels_agree(tmp_path, masks):
    model = TinyModel(masks=masks)
    export(model, tmp_path, ["onnx", "int8"])
    exact, small = (onnx.load(str(tmp_path / name)) for name in ("model.onnx", "model.int8.onnx"))
    matrices = {value.name for value in exact.graph.initializer if len(value.dims) == 2}
    # Six in each of the two layers; the head is a Gemm, of no size, where its input has two axes.
    weighted = [n for n in exact.graph.node if n.op_type == "MatMul" and n.input[1] in matrices]
    integer = [node for node in small.graph.node if node.op_type == "MatMulInteger"]
    assert len(integer) == len(weighted) >= 12
    left = [value for value in small.graph.initializer if value.data_type == TensorProto.FLOAT]
    assert max(np.prod(value.dims, dtype=int) for value in left) <= 19501, (
        "no table or weight is left in float"
    )
    assert {node.domain for node in small.graph.node} <= {"", "ai.onnx"}
    assert (tmp_path / "model.int8.onnx").stat().st_size < 0.4 * (tmp_path / "model.onnx").stat().st_size
    expected = model.predict_proba(TEXTS)
    classifier = runner.Classifier.load(tmp_path, threads=1, graph=tmp_path / "model.int8.onnx")
    found = classifier.predict_proba(TEXTS)
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()
    assert np.abs(found - expected).max() < 0.1
    alone = classifier.predict_proba(TEXTS, batch_size=1)
    np.testing.assert_allclose(alone, found, atol=1e-4, err_msg="a text's answer depends on its batch")


def test_what_training_changed_in_int8_weights_survives(tmp_path):
    """Weights that were stored as int8 and then moved by a fraction of a step keep the movement, on the whole."""
    rng = np.random.default_rng(5)
    stored = np.clip(rng.normal(0, 38, (400, 300)).round(), -127, 127)
    stored[0] = 127
    moved = 0.3 * rng.choice([-1.0, 1.0], stored.shape)
    moved[0] = 0
    weight = (stored + moved) / 1000
    write_int8(one_matmul(weight, tmp_path / "a.onnx"), tmp_path / "b.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "b.onnx"), providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": np.eye(400, dtype=np.float32)})[0] * 1000
    kept = ((found - stored) * moved).sum() / (moved**2).sum()
    assert 0.9 < kept < 1.1
    on_its_own_grid = stored + moved
    assert (((on_its_own_grid.round() - stored) * moved).sum()) == 0, "the obvious grid forgets it"


def test_two_products_fit_into_sixteen_bits(tmp_path):
    weight = np.random.default_rng(3).normal(size=(64, 8))
    weight[::7, 0] = 5  # the largest stand side by side now and then
    weight[1::7, 0] = -5
    write_int8(one_matmul(weight, tmp_path / "a.onnx"), tmp_path / "b.onnx")
    values = {v.name: numpy_helper.to_array(v) for v in onnx.load(str(tmp_path / "b.onnx")).graph.initializer}
    assert values["w_int8"].dtype == np.int8
    size = np.abs(values["w_int8"].astype(int))
    assert 255 * (size[0::2] + size[1::2]).max() <= 32767
    assert size.max() > 64, "no bit is given away"


def test_two_files_of_one_model_are_the_same_bytes(tmp_path):
    source = one_matmul(np.random.default_rng(4).normal(size=(64, 8)), tmp_path / "a.onnx")
    for name in ("b.onnx", "c.onnx"):
        write_int8(source, tmp_path / name)
    assert (tmp_path / "b.onnx").read_bytes() == (tmp_path / "c.onnx").read_bytes()


def test_zeros_stay_zeros(tmp_path):
    write_int8(one_matmul(np.zeros((4, 3)), tmp_path / "a.onnx"), tmp_path / "b.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "b.onnx"), providers=["CPUExecutionProvider"])
    for rows in (np.zeros((2, 4)), np.ones((2, 4))):
        assert (session.run(None, {"x": rows.astype(np.float32)})[0] == 0).all()


def test_int8_in_name_only_is_an_error(tmp_path):
    source = one_matmul(None, tmp_path / "a.onnx")
    with pytest.raises(ExportError, match="nothing can be quantised"):
        write_int8(source, tmp_path / "b.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


def test_the_job_lets_an_int8_bundle_out(tmp_path):
    model = TinyModel(masks=1, views=2)
    write_job(tmp_path, model, TEXTS, formats=["int8"])
    (artifact,) = run_export_job(tmp_path, lambda _: None, load=lambda _: model)["artifacts"]
    assert artifact["ok"], artifact
    assert artifact["file"] == "新闻-分类-1-int8.zip"
    assert 1e-6 < artifact["max_abs_difference"] < 0.1
    root = archive.extract(tmp_path / artifact["file"], tmp_path / "unpacked")
    nodes = onnx.load(str(root / "onnx" / "model.onnx")).graph.node
    assert any(node.op_type == "MatMulInteger" for node in nodes)
    assert json.loads((root / "versions.json").read_text(encoding="utf-8"))["format"] == "int8"
    assert "ONNX int8" in (root / "README.zh.md").read_text(encoding="utf-8")
    classifier = runner.Classifier.load(root)
    assert "passed" in runner.self_test(classifier, root)
    expected = json.loads((root / "selftest.json").read_text(encoding="utf-8"))
    expected["proba"] = [row[::-1] for row in expected["proba"]]
    (root / "selftest.json").write_text(json.dumps(expected), encoding="utf-8")
    with pytest.raises(runner.RunnerError, match="self-test failed"):
        runner.self_test(classifier, root)


def test_a_spoilt_int8_bundle_is_refused_and_removed(tmp_path):
    """One layer's weights in the ready graph are turned round: it still runs and passes its own self-test."""
    model = TinyModel()
    write_job(tmp_path, model, TEXTS, formats=["int8"])
    ready = write_onnx(model, tmp_path / "model" / "onnx" / "model.onnx")
    graph = onnx.load(str(ready))
    weight = next(v for v in graph.graph.initializer if list(v.dims) == [16, 3])
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    onnx.save(graph, str(ready))
    events = []
    (artifact,) = run_export_job(tmp_path, events.append, load=lambda _: model)["artifacts"]
    assert not artifact["ok"]
    assert artifact["refused_because"] == "int8_labels_differ"
    assert artifact["same_label_share"] < 0.9
    assert not (tmp_path / artifact["file"]).exists()
    assert [event["code"] for event in events if event["type"] == "warning"] == ["artifact_refused"]


@pytest.mark.parametrize(
    ("n", "lost", "won", "refused"),
    [
        (1000, 0, 0, None),
        (1000, 20, 0, None),
        (1000, 30, 5, "int8_less_accurate"),
        (1000, 50, 45, None),
        (1000, 5, 60, None),
        (1000, 80, 30, "int8_labels_differ"),
        (40, 3, 0, None),
        (400, 12, 0, "int8_less_accurate"),
    ],
)
def test_accuracy_may_fall_by_the_margin_or_by_chance_and_no_more(n, lost, won, refused):
    """Of `n` texts that are all label 0, the model has all but `won` right, int8 loses `lost` and wins `won`."""
    before = np.zeros(n, int)
    before[n - won :] = 1
    after = np.zeros(n, int)
    after[:lost] = 1
    eye = np.eye(2, dtype=np.float32)
    replay = parity.Replay(eye[after], [(int(i),) for i in after], 1.0)
    found = parity.compare(replay, eye[before], [[int(i)] for i in before], [[0]] * n, parity.INT8)
    assert found["refused_because"] == refused
    assert found["ok"] == (refused is None)


def test_of_several_labels_those_in_common_count():
    answers: list[tuple[int, ...]] = [(0, 1), (0,), (), (2,), (0, 1, 2)]
    expected = [[1, 0], [0, 1], [], [], [0]]
    proba = np.zeros((5, 3), dtype=np.float32)
    found = parity.compare(parity.Replay(proba, answers, 1.0), proba, expected, [None] * 5, parity.INT8)
    assert found["same_label_share"] == pytest.approx((1 + 2 / 3 + 1 + 0 + 0.5) / 5)
    assert found["refused_because"] == "int8_labels_differ"
