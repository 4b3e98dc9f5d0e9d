"""The runner that travels in bundles: what it reads, how it cuts, what it computes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.unit.tiny_models import TOKENIZER, encoding
from training.fewshot import runner
from training.fewshot.runner import RunnerError, TextEncoder, probabilities, read_texts, shared_lengths

READ = {
    "txt": ("a.txt", "一\r\n\r\n二\n三".encode(), None, ["一", "二", "三"]),
    "txt with BOM": ("a.txt", "\ufeff一\n二\n".encode(), None, ["一", "二"]),
    "gb18030": ("a.txt", "体育新闻\n财经".encode("gb18030"), None, ["体育新闻", "财经"]),
    "utf-16": ("a.txt", "体育\n财经".encode("utf-16"), None, ["体育", "财经"]),
    "line separators stay inside": (
        "a.txt",
        "一\u2028二\x0b三\n四".encode(),
        None,
        ["一\u2028二\x0b三", "四"],
    ),
    "csv by header": ("a.csv", 'id,标题\n1,"一,""二""\n行"\n2,三\n'.encode(), None, ['一,"二"\n行', "三"]),
    "csv by name": ("a.csv", b"text,Other\na,b\n", "other", ["b"]),
    "csv by number": ("a.csv", b"x,y\na,b\n", "2", ["y", "b"]),
    "csv without header": ("a.csv", b"hello,1\nworld,2\n", None, ["hello", "world"]),
    "tsv keeps quotes": ("a.tsv", b'text\tlabel\nsay "hi\tx\n', None, ['say "hi']),
    "jsonl": ("a.jsonl", '{"text": "一"}\n\n"二"\n{"content": "三"}'.encode(), None, ["一", "二", "三"]),
    "jsonl by key": ("a.jsonl", b'{"text": "a", "b": "c"}', "b", ["c"]),
    "empty": ("a.txt", b"", None, []),
    "empty csv": ("a.csv", b"", None, []),
}


@pytest.mark.parametrize("name", READ)
def test_texts_are_read(tmp_path, name):
    file_name, content, column, expected = READ[name]
    (tmp_path / file_name).write_bytes(content)
    assert read_texts(tmp_path / file_name, column) == expected


REFUSED = {
    "neither encoding": ("a.txt", b"\xff\x00\xff", None, "--encoding"),
    "no such column": ("a.csv", b"x,y\na,b\n", "z", "no column 'z'"),
    "short row": ("a.csv", b"a,text\n1,2\n3\n", None, "row 2"),
    "no JSON": ("a.jsonl", b'{"text": "a"}\n{', None, "line 2"),
    "number for a text": ("a.jsonl", b'{"text": 5}', None, "line 1"),
    "no known key": ("a.jsonl", b'{"x": "a"}', None, "--column"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_says_where(tmp_path, name):
    file_name, content, column, said = REFUSED[name]
    (tmp_path / file_name).write_bytes(content)
    with pytest.raises(RunnerError, match=said):
        read_texts(tmp_path / file_name, column)


@pytest.mark.parametrize(
    ("lengths", "budget", "expected"),
    [
        ([5], 3, [3]),
        ([2], 3, [2]),
        ([10, 2], 6, [4, 2]),
        ([5, 5], 5, [2, 3]),
        ([3, 9], 0, [0, 0]),
        ([10**7, 10**7], 101, [50, 51]),
        ([], 5, []),
    ],
)
def test_the_longest_text_loses_first(lengths, budget, expected):
    assert shared_lengths(lengths, budget) == expected


def test_rows_are_laid_out_as_the_encoding_says():
    plan = encoding(masks=2, max_length=12)
    plan["views"] = [
        [
            {"ids": [0], "type": 0},
            {"ids": [19500, 19500], "mask": True, "type": 0},
            {"text": "a", "type": 0},
            {"ids": [2], "type": 0},
            {"text": "b", "type": 1, "truncate": False, "position": 40},
        ]
    ]
    encoder = TextEncoder(plan, runner.read_tokenizer(TOKENIZER))
    tokens = [
        encoder.tokenizer.encode(text, add_special_tokens=False).ids
        for text in ("上证指数今天收盘上涨", "财经")
    ]
    (row,) = encoder.rows(["上证指数今天收盘上涨\t财经"])
    room = 12 - 4 - len(tokens[1])
    assert len(tokens[0]) >= room > 0
    assert row["input_ids"] == [0, 19500, 19500, *tokens[0][:room], 2, *tokens[1]]
    assert row["mask_positions"] == [1, 2]
    assert row["token_type_ids"] == [0] * (4 + min(room, len(tokens[0]))) + [1] * len(tokens[1])
    assert row["position_ids"][-len(tokens[1]) :] == list(range(40, 40 + len(tokens[1])))
    arrays = encoder.collate([row, encoder.rows(["短\t"])[0]])
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.int64)}
    assert arrays["attention_mask"].sum(axis=1).tolist() == [
        len(row["input_ids"]),
        len(encoder.rows(["短\t"])[0]["input_ids"]),
    ]
    assert arrays["input_ids"][1, -1] == plan["pad_id"]
    assert arrays["mask_positions"].tolist() == [[1, 2], [1, 2]]


def test_half_a_surrogate_pair_is_no_reason_to_fail():
    encoder = TextEncoder(encoding(), runner.read_tokenizer(TOKENIZER))
    assert encoder.rows(["a\ud800b"]) == encoder.rows(["a\ufffdb"])
    assert runner.well_formed("\ud83d\ude00") == "😀"


def test_probabilities_use_temperature_and_prior():
    logits = np.array([[2.0, 0.0], [0.0, 1000.0]], dtype=np.float32)
    plain = probabilities(logits, {"temperature": 2.0}, multi_label=False)
    np.testing.assert_allclose(plain[0], [np.e / (np.e + 1), 1 / (np.e + 1)], rtol=1e-6)
    assert np.isfinite(plain).all()
    fair = probabilities(
        np.log(np.array([[0.8, 0.2]])), {"temperature": 1, "prior": [0.8, 0.2]}, multi_label=False
    )
    np.testing.assert_allclose(fair, [[0.5, 0.5]], rtol=1e-6)
    apart = probabilities(np.array([[0.0, -800.0, 800.0]]), {}, multi_label=True)
    np.testing.assert_allclose(apart, [[0.5, 0.0, 1.0]])


def test_labels_of_a_multi_label_task_need_their_threshold():
    model = runner.Classifier(None, None, ["a", "b"], {"thresholds": [0.3, 0.9]}, multi_label=True)
    assert model.decide(np.array([[0.3, 0.9], [0.29, 0.89], [0.9, 0.1]])) == [[0, 1], [], [0]]
    model.calibration["at_least_one"] = True
    assert model.decide(np.array([[0.3, 0.9], [0.29, 0.89], [0.9, 0.1]])) == [[0, 1], [1], [0]]
    assert model.decide(np.zeros((0, 2))) == []


def test_it_imports_nothing_of_the_project_and_nothing_heavy_before_it_must():
    code = (
        "import sys, runpy; runpy.run_path(sys.argv[1]);"
        "print([n for n in ('training','paddle','django','onnxruntime','tokenizers') if n in sys.modules])"
    )
    path = Path(runner.__file__)
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_an_unknown_version_of_the_encoding_is_refused():
    with pytest.raises(RunnerError, match="version 2"):
        TextEncoder({**encoding(), "version": 2}, None)


def test_predictions_on_one_line_each(tmp_path):
    model = runner.Classifier(None, None, ["a", "b"], {}, multi_label=False)
    proba = np.array([[0.25, 0.75]], dtype=np.float32)
    for suffix in ("tsv", "jsonl"):
        with (tmp_path / f"out.{suffix}").open("w", encoding="utf-8") as file:
            runner.write_predictions(file, suffix == "jsonl", model, ["x\ty\nz\ud800"], proba)
    assert (tmp_path / "out.tsv").read_text(encoding="utf-8") == "x y z\ufffd\tb\t0.7500\n"
    row = json.loads((tmp_path / "out.jsonl").read_text(encoding="utf-8"))
    assert row == {"text": "x\ty\nz\ufffd", "label": "b", "proba": {"a": 0.25, "b": 0.75}}
