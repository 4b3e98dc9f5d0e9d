"""Method pair: each text is read as if alone, the comparison is what numpy computes, and order does not matter."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.unit import fewshot_tiny as tiny
from training.fewshot import cli, model
from training.fewshot.config import FewShotConfig
from training.fewshot.data import is_pair
from training.fewshot.data_files import read_folder
from training.fewshot.encoding import plan_pair, plan_sentence
from training.fewshot.errors import DataError, UnsupportedMethod
from training.fewshot.pairs import spread_of_pairs
from training.fewshot.runner import TextEncoder

paddle = pytest.importorskip("paddle")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory):
    return tiny.backbone(tmp_path_factory.mktemp("backbone"))


def settings(**changes: object) -> FewShotConfig:
    values = {
        "method": "pair",
        "train_batch_size": 12,
        "max_steps": 60,
        "learning_rate": 1e-3,
        "ppt_learning_rate": 1e-2,
        "freeze_layers": 0,
        "max_seq_length": 48,
        "device": "cpu",
    }
    return FewShotConfig.from_json({**values, **changes})


def swapped(text: str) -> str:
    first, second = text.split("\t")
    return f"{second}\t{first}"


def test_a_row_holds_both_texts_and_counts_positions_anew():
    plan = plan_pair(tiny.tokenizer(), prefix="", max_length=12, multi_label=False)
    row = TextEncoder(plan.encoding, tiny.tokenizer()).rows(["球赛\t银行股市利率银行股市"])[0]
    assert row["token_type_ids"] == [0] * 4 + [1] * 8
    assert row["position_ids"] == [*range(4), *range(8)]


def test_each_text_is_read_as_it_is_read_alone(backbone):
    """The vectors of a pair's texts are those that reading each by itself gives, whatever stands beside it."""
    from training.fewshot.networks import PairNetwork
    from training.fewshot.text_network import load_backbone, mean_vector

    ernie, _ = load_backbone(backbone.path)
    network = PairNetwork(ernie, 2)
    network.eval()
    made = tiny.tokenizer()
    pair = TextEncoder(plan_pair(made, prefix="", max_length=48, multi_label=False).encoding, made)
    alone = TextEncoder(
        plan_sentence(made, fields=("a",), prefix="", max_length=48, multi_label=False).encoding, made
    )
    first, second = "球赛队员", "银行股市利率abc"

    def arrays(encoder: TextEncoder, texts: list[str]):
        found = encoder.collate(encoder.rows(texts))
        return [paddle.to_tensor(found[name]) for name in encoder.inputs]

    def vector(text: str) -> np.ndarray:
        ids, types, positions, mask = arrays(alone, [text])
        hidden = network.run_layers(ernie.embeddings(ids, types, positions), mask)
        found = mean_vector(hidden, mask).numpy()[0]
        return found / np.linalg.norm(found)

    with paddle.no_grad():
        # The longer second row pads the first.
        ids, types, positions, mask = arrays(pair, [f"{first}\t{second}", "好" * 20 + "\t不差"])
        got = network.read(network.embed(ids, types, positions), network.regions(types, mask)).numpy()[0]
        u, v = vector(first), vector(second)
    np.testing.assert_allclose(got, np.concatenate([[u @ v], u * v, np.abs(u - v)]), atol=1e-5)


def test_features_are_seen_from_their_mean_with_one_spread_for_each_kind():
    features = np.random.default_rng(0).normal(3.0, 2.0, (50, 9))
    middle, spread = spread_of_pairs(features)
    seen = (features - middle) / spread
    np.testing.assert_allclose(seen.mean(axis=0), 0.0, atol=1e-12)
    for block in (seen[:, :1], seen[:, 1:5], seen[:, 5:]):
        np.testing.assert_allclose((block**2).sum(axis=1).mean(), 1.0)
    assert len(set(spread[1:5])) == len(set(spread[5:])) == 1


def test_it_learns_likeness_and_order_changes_nothing(backbone, tmp_path):
    data = tiny.pairs()
    fitted = model.fit(settings(), data, backbone=backbone)
    texts = list(data.test.texts)
    proba = fitted.predict_proba(texts)
    assert (proba.argmax(axis=1) == data.test.labels).mean() > 0.8
    np.testing.assert_allclose(fitted.predict_proba([swapped(text) for text in texts]), proba, atol=1e-5)
    fitted.save(tmp_path / "model")
    np.testing.assert_array_equal(model.load(tmp_path / "model").predict_proba(texts), proba)
    assert np.isfinite(fitted.predict_proba(["", "\t", "只有一句", "甲\t乙\t丙"])).all()


def test_single_texts_are_refused_before_the_weights_are_read(backbone, monkeypatch: pytest.MonkeyPatch):
    from training.fewshot import methods

    def read(bench):
        raise AssertionError("the weights were read")

    monkeypatch.setattr(methods, "load_adapted", read)
    with pytest.raises(UnsupportedMethod, match="36 of 36"):
        model.fit(settings(), tiny.data(), backbone=backbone)


def test_auto_compares_the_two_where_every_text_is_a_pair(backbone):
    found = model.fit(
        settings(method="auto", max_steps=20, time_budget_seconds=600.0, template="{text}{mask}"),
        tiny.pairs(),
        backbone=backbone,
    )
    assert "pair" in found.notes["auto"]["tried"]


def test_preset_quick_compares_the_two_where_every_text_is_a_pair(backbone, tmp_path):
    tiny.write_folder(tmp_path / "single")
    data = tiny.pairs()
    names = [label.name for label in data.labels]
    (tmp_path / "pairs").mkdir()
    lines = [f"{label.name}=={label.words[0]}\n" for label in data.labels]
    (tmp_path / "pairs" / "label.txt").write_text("".join(lines))
    for split in ("train", "test"):
        part = getattr(data, split)
        lines = [f"{text}\t{names[label]}\n" for text, label in zip(part.texts, part.labels, strict=True)]
        (tmp_path / "pairs" / f"{split}.txt").write_text("".join(lines))
    methods = {}
    for folder, source, more in (
        ("single", "single", ()),
        ("pairs", "pairs", ()),
        ("chosen", "pairs", ("--method", "probe")),
    ):
        given = [
            *("--data_dir", str(tmp_path / source), "--output_dir", str(tmp_path / "out" / folder)),
            *(
                "--model_name_or_path",
                str(backbone.path),
                "--preset",
                "quick",
                "--max_steps",
                "2",
                "--do_train",
            ),
            *more,
        ]
        cli.run(vars(cli.parser().parse_args(given)))
        trained = json.loads((tmp_path / "out" / folder / "training_args.json").read_text())
        methods[folder] = trained["method"]
    assert methods == {"single": "label_sentence", "pairs": "pair", "chosen": "probe"}


@pytest.mark.parametrize(
    ("text", "expected"), [("甲\t乙", True), ("甲", False), ("甲\t", False), ("\t乙", False), ("", False)]
)
def test_what_a_pair_is(text: str, expected: bool):
    assert is_pair(text) is expected


def test_json_files_may_name_both_texts(tmp_path):
    rows = [
        {"sentence1": "甲\t子", "sentence2": "乙", "label": "same"},
        {"text_a": "丙", "text_b": "丁", "label": "different"},
    ]
    for name in ("train", "dev"):
        (tmp_path / f"{name}.json").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    (tmp_path / "label.txt").write_text("different\nsame\n", encoding="utf-8")
    assert read_folder(tmp_path).train.texts == ("甲 子\t乙", "丙\t丁")
    (tmp_path / "train.json").write_text(json.dumps({"sentence1": "甲", "label": "same"}), encoding="utf-8")
    with pytest.raises(DataError, match=r"train\.json:1"):
        read_folder(tmp_path)
