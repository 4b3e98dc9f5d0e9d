"""The recipe's second command line, on every kind of export that it accepts."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.unit.test_export import write_job
from tests.unit.tiny_models import LABELS, TinyModel
from training.fewshot import infer
from training.fewshot.export import export, run_export_job

TEXTS = ["国足 2:1 获胜", "上证指数收盘上涨", "新手机发布，电池更大"]


@pytest.fixture(scope="module")
def model():
    return TinyModel(masks=2)


@pytest.fixture(scope="module")
def exports(model, tmp_path_factory):
    """A folder with export/model.* and a bundle zip of one model."""
    root = tmp_path_factory.mktemp("infer")
    export(model, root / "export")
    write_job(root, model, TEXTS, name="b")
    assert run_export_job(root, lambda _: None, load=lambda _: model)["artifacts"][0]["ok"]
    return root


@pytest.fixture
def data(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "data.txt").write_bytes("\r\n".join(TEXTS).encode("gb18030"))
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("named", "beside"),
    [
        ("export/model", "export"),
        ("export/model.onnx", "export"),
        ("export/model.json", "export"),
        ("export", "export"),
        ("b-onnx.zip", "."),
    ],
)
def test_predictions_lie_beside_the_model(model, exports, data, tmp_path, capsys, named, beside):
    root = tmp_path / "copy"
    shutil.copytree(exports, root)
    assert (
        infer.main(["--model_path_prefix", str(root / named), "--data_dir", str(data), "--batch_size", "2"])
        == 0
    )
    expected = model.predict_proba(TEXTS)
    names = [LABELS[index]["name"] for index in expected.argmax(axis=1)]
    written = (root / beside / "predictions.txt").read_text(encoding="utf-8")
    assert written == "".join(f"{text}\t{name}\n" for text, name in zip(TEXTS, names, strict=True))
    rows = [
        json.loads(line)
        for line in (root / beside / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    for row, proba in zip(rows, expected, strict=True):
        assert list(row["proba"].values()) == pytest.approx(proba, abs=2e-6)
    assert capsys.readouterr().out.splitlines()[0].split("\t")[:2] == [TEXTS[0], names[0]]


def test_a_shorter_row_changes_the_answer_and_a_longer_one_does_not(exports, tmp_path):
    (tmp_path / "data.txt").write_text("一条很长的文本" * 20, encoding="utf-8")
    found = {}
    for length in (8, 48, 500):
        prefix = ["--model_path_prefix", str(exports / "export" / "model")]
        assert infer.main([*prefix, "--data_dir", str(tmp_path), "--max_seq_length", str(length)]) == 0
        found[length] = (exports / "export" / "predictions.jsonl").read_text(encoding="utf-8")
    assert found[8] != found[48] == found[500]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--model_path_prefix", "nowhere/model"], "bad_bundle"),
        (["--model_path_prefix", "{export}", "--data_dir", "nowhere"], "missing_data"),
        (["--model_path_prefix", "{export}", "--model_name_or_path", "{other}"], "vocabulary_mismatch"),
        (["--model_path_prefix", "{export}", "--device", "gpu", "--device_id", "99"], "device_unavailable"),
    ],
)
def test_errors_say_what_to_do(exports, data, tmp_path, capsys, flags, said):
    from tokenizers import Tokenizer, models

    other = tmp_path / "other"
    other.mkdir()
    Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]")).save(str(other / "tokenizer.json"))
    places = {"export": exports / "export" / "model", "other": other}
    given = [flag.format(**places) for flag in flags]
    if "--data_dir" not in given:
        given += ["--data_dir", str(data)]
    assert infer.main(given) == 1
    assert f"[{said}]" in capsys.readouterr().err


def test_a_damaged_bundle_is_refused(exports, data, tmp_path, capsys):
    content = bytearray((exports / "b-onnx.zip").read_bytes())
    middle = content.index(b"onnx/model.onnx") + 5000
    content[middle] ^= 0xFF
    (tmp_path / "b.zip").write_bytes(content)
    assert infer.main(["--model_path_prefix", str(tmp_path / "b.zip"), "--data_dir", str(data)]) == 1
    assert "bad_bundle" in capsys.readouterr().err


def test_the_recipe_spells_switches_two_ways():
    chosen = infer.parser().parse_args
    base = ["--model_path_prefix", "x"]
    assert chosen(base).use_fp16 is False
    assert chosen([*base, "--use_fp16"]).use_fp16 is True
    assert chosen([*base, "--use_fp16", "False"]).use_fp16 is False
    assert chosen(base).batch_size == 32
    assert chosen(base).data_dir == "./data"
