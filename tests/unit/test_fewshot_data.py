"""The recipe's files and the job's files, with the faults that people's files have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.unit import fewshot_tiny as tiny
from training.fewshot import data, data_files
from training.fewshot.config import FewShotConfig, preset
from training.fewshot.errors import (
    ConfigError,
    DataError,
    EngineError,
    LabelWithoutText,
    MissingData,
    TooFewLabels,
    TooFewTexts,
    UnknownLabel,
)


def folder(tmp_path: Path, **files: str) -> Path:
    for name, content in files.items():
        stem, _, suffix = name.rpartition("_")
        (tmp_path / f"{stem}.{suffix}").write_bytes(content.encode("utf-8"))
    return tmp_path


def test_five_files_with_misprint_bom_crlf_and_tabs_inside(tmp_path: Path):
    read = data_files.read_folder(
        folder(
            tmp_path,
            label_txt="b==乙\na'=='甲\r\nb==二\n\nc\n",
            train_txt="\ufeff一段\t文字\tb\r\n另一段\ta\r\n",
            dev_txt="x\u2028y\tc\n",
            test_txt="没有标签\n还是\t没有\n",
            data_txt="甲\n\n乙\n",
        )
    )
    assert [label.to_json() for label in read.labels] == [
        {"name": "b", "words": ["乙", "二"]},
        {"name": "a", "words": ["甲"]},
        {"name": "c", "words": ["c"]},
    ]
    assert read.warnings[0]["code"] == "label_misprint"
    assert read.train.texts == ("一段\t文字", "另一段")
    assert read.train.labels.tolist() == [0, 1]
    assert read.dev.texts == ("x\u2028y",)
    assert read.test.texts == ("没有标签", "还是\t没有")
    assert read.test.labels.tolist() == [-1, -1]
    assert read.pool == ("甲", "乙")


def test_class_ids_follow_label_txt_not_the_alphabet(tmp_path: Path):
    read = data_files.read_folder(folder(tmp_path, label_txt="z\na\n", train_txt="x\ta\ny\tz\n"))
    assert read.train.labels.tolist() == [1, 0]


def test_json_with_numbers_and_multi_label(tmp_path: Path):
    rows = [{"text": "甲", "label": [0, 1]}, {"text": "乙", "label": []}]
    read = data_files.read_folder(
        folder(tmp_path, label_txt="a\nb\n", train_jsonl="\n".join(map(json.dumps, rows))), "multi_label"
    )
    assert read.train.labels.tolist() == [[1, 1], [0, 0]]
    assert read.train.labelled.tolist() == [True, True]


def test_hierarchical_labels_bring_their_ancestors(tmp_path: Path):
    read = data_files.read_folder(
        folder(tmp_path, label_txt="a##b\na##c\n", train_txt="x\ta##c\n"), "hierarchical"
    )
    assert [label.name for label in read.labels] == ["a", "a##b", "a##c"]
    assert read.labels[1].words == ("b",)
    assert read.train.labels.tolist() == [[1, 0, 1]]


@pytest.mark.parametrize(
    ("files", "error", "says"),
    [
        ({"label_txt": "a\nb\n"}, MissingData, "train.txt"),
        ({"label_txt": "a\nb\n", "train_txt": "x\ta\ny\tq\n"}, UnknownLabel, "train.txt:2"),
        ({"label_txt": "a\nb\n", "train_txt": "x\ta\nohne\n"}, DataError, "train.txt:2"),
        ({"label_txt": "==x\n", "train_txt": "x\ta\n"}, DataError, "label.txt:1"),
        ({"label_txt": "\n", "train_txt": "x\ta\n"}, TooFewLabels, "label"),
        ({"label_txt": "a\n", "train_jsonl": '{"text": 1}'}, DataError, "train.jsonl:1"),
        ({"label_txt": "a\n", "train_jsonl": "{"}, DataError, "train.jsonl:1"),
        ({"label_txt": "a\n", "train_jsonl": '{"text": "x", "label": 7}'}, UnknownLabel, "7"),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, files: dict, error: type[EngineError], says: str):
    with pytest.raises(error, match=says):
        data_files.read_folder(folder(tmp_path, **files))


def test_bytes_that_are_not_utf8_name_the_line(tmp_path: Path):
    (tmp_path / "label.txt").write_text("a\nb\n")
    (tmp_path / "train.txt").write_bytes("好\ta\n".encode() + "好\tb\n".encode("gb18030"))
    with pytest.raises(DataError, match=r"train\.txt:2"):
        data_files.read_folder(tmp_path)


@pytest.mark.parametrize(
    ("labels", "given", "error"),
    [
        (1, ["sports", "sports"], TooFewLabels),
        (3, ["sports"], TooFewTexts),
        (3, ["sports", "sports"], LabelWithoutText),
    ],
)
def test_data_that_cannot_train(labels: int, given: list[str], error: type[EngineError]):
    kept = tiny.LABELS[:labels]
    names = [label.name for label in kept]
    split = data.make_split(["x"] * len(given), given, names)
    empty = data.empty_split(labels, "single")
    with pytest.raises(error):
        data.check(data.FewShotData(kept, split, empty, empty))


def test_job_folder_keeps_ids_and_unlabelled_texts(tmp_path: Path):
    lines = [{"id": 7, "text": "甲", "label": "car"}, {"id": 9, "text": "乙", "label": None}]
    (tmp_path / "train.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    read = data_files.read_job_folder(tmp_path, tiny.LABELS)
    assert read.train.ids == (7, 9)
    assert read.train.labels.tolist() == [1, -1]
    assert read.train.with_labels().texts == ("甲",)
    assert len(read.dev) == 0
    assert np.array_equal(data.class_counts(read.train, 3), [0, 1, 0])


def test_configuration_survives_json_and_refuses_nonsense():
    made = preset("quick", method="prompt", class_weights={"a": 2}, extra_templates=["{text}{mask}"])
    assert FewShotConfig.from_json(json.loads(json.dumps(made.to_json()))) == made
    assert FewShotConfig.from_json({"time_budget_seconds": 90}).time_budget_seconds == 90.0
    for values in (
        {"metod": "prompt"},
        {"seed": "1"},
        {"seed": True},
        {"learning_rate": float("nan")},
        {"method": "magic"},
        {"max_seq_length": 1},
        {"class_weights": "heavy"},
        {"use_rdrop": True, "use_rgl": True},
        {"preset": "slow"},
        {"preset": []},
    ):
        with pytest.raises(ConfigError):
            FewShotConfig.from_json(values)
