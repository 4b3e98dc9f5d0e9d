"""The table of methods: what it runs, what it does not run again, what it says; derived tasks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.unit import fewshot_tiny as tiny
from training.fewshot import benchmark, benchmark_table, derived
from training.fewshot.config import FewShotConfig
from training.fewshot.data import parents_of


def test_every_row_is_a_valid_configuration():
    for row in benchmark.ROWS:
        assert isinstance(benchmark.settings_of(row, {}, "single", "x", 1), FewShotConfig)


def test_intervals_and_differences_of_seeds_and_texts():
    random = np.random.default_rng(0)
    first = (random.random((5, 400)) < 0.5).astype(float)
    assert benchmark_table.interval(first)[0] < first.mean() < benchmark_table.interval(first)[1]
    same = benchmark_table.compare(first, first[::-1])
    assert same["difference"] == 0.0
    assert not same["tell_apart"]
    better = np.maximum(first, random.random((5, 400)) < 0.3)
    told = benchmark_table.compare(first, better)
    assert told["difference"] == pytest.approx(better.mean() - first.mean())
    assert told["tell_apart"]
    assert told["interval"][0] < told["difference"] < told["interval"][1]


def test_the_scrambled_start_is_paddlenlps():
    """PaddleNLP takes the words' embeddings [words·tokens, H] and reshapes them to [H, words, tokens]."""
    paddle = pytest.importorskip("paddle")

    class Network:
        rows = paddle.to_tensor(np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4))
        bias = paddle.ones([2, 3])

    own = Network.rows.numpy().transpose(1, 0, 2).reshape(6, 4)
    theirs = own.reshape(4, 3, 2)
    benchmark.scrambled(Network)
    for token in range(2):
        for word in range(3):
            assert Network.rows.numpy()[token, word].tolist() == theirs[:, word, token].tolist()


def test_labels_get_parents_and_texts_several_labels():
    data = tiny.data()
    tree = derived.with_parents(data, [[0, 1], [2]])
    assert [label.name for label in tree.labels] == [
        "体育汽车",
        "体育汽车##sports",
        "体育汽车##car",
        "财经",
        "财经##finance",
    ]
    assert parents_of([label.name for label in tree.labels]) == [-1, 0, 0, -1, 3]
    rows = {0: [1, 1, 0, 0, 0], 1: [1, 0, 1, 0, 0], 2: [0, 0, 0, 1, 1]}
    assert tree.train.labels.tolist() == [rows[int(label)] for label in data.train.labels]
    assert derived.groups_of(9) == [[0, 1, 2, 3], [4, 5, 6], [7, 8]]
    several = derived.with_several_labels(data)
    counts = several.train.labels.sum(axis=1)
    assert set(counts.tolist()) == {1.0, 2.0}
    parts = [part for text in several.train.texts for part in text.split(" ")]
    assert sorted(parts) == sorted(data.train.texts)
    assert several.train.texts == derived.with_several_labels(data).train.texts


def test_a_table_grows_and_says_what_it_compares(tmp_path, capsys):
    pytest.importorskip("paddle")
    tiny.write_folder(tmp_path / "tnews")
    backbone = tiny.backbone(tmp_path / "backbone")
    arguments = ["--model", str(backbone.path), "--data_dir", str(tmp_path / "tnews"), "--seeds", "1,2"]
    arguments += ["--output", str(tmp_path / "table.json")]
    short = ["--set", "max_steps=6", "max_seq_length=40", "template={text}是{mask}"]
    assert benchmark.main([*arguments, "--methods", "finetune,zero_shot_label_sentence", *short]) == 0
    first = capsys.readouterr()
    assert "| zero_shot_label_sentence | 1 |" in first.out
    assert "| finetune | 2 |" in first.out
    assert "50.46" in first.out
    assert "56.25" in first.out
    assert first.err.count("seed") == 3
    more = "finetune,zero_shot_label_sentence,prompt_scrambled"
    assert benchmark.main([*arguments, "--methods", more, *short]) == 0
    second = capsys.readouterr()
    assert second.err.count("seed") == 2
    whole = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))
    assert {run["row"] for run in whole["runs"]} == set(more.split(","))
    assert all(len(run["right"]) == 30 for run in whole["runs"])
    assert whole["table"] == second.out.strip()
    assert "cannot be told apart" in second.out or "(" in second.out


def test_judged_by_folds_the_test_texts_are_not_read(tmp_path, capsys):
    pytest.importorskip("paddle")
    tiny.write_folder(tmp_path / "data")
    (tmp_path / "data" / "test.txt").unlink()
    backbone = tiny.backbone(tmp_path / "backbone")
    arguments = ["--model", str(backbone.path), "--data_dir", str(tmp_path / "data"), "--seeds", "1"]
    arguments += ["--methods", "probe", "--judge", "folds", "--output", str(tmp_path / "t.json")]
    assert benchmark.main([*arguments, "--set", "max_seq_length=40", "template={text}是{mask}"]) == 0
    run = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))["runs"][0]
    assert len(run["right"]) == 36 + 30
    capsys.readouterr()
    assert benchmark.main([*arguments, "--methods", "nothing"]) == 1
    assert "nothing" in capsys.readouterr().err
