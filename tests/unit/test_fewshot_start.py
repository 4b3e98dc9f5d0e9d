"""The start of training: calibration of the cloze, the mixture's two halves and its weight."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.unit import fewshot_tiny as tiny
from training.fewshot import model, start, zero_shot
from training.fewshot.config import FewShotConfig
from training.fewshot.derived import derive

paddle = pytest.importorskip("paddle")

TEMPLATE = "这是一条{mask}新闻。{text}"


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory):
    return tiny.backbone(tmp_path_factory.mktemp("backbone"))


def fit(backbone, data=None, **changes):
    values = {"template": TEMPLATE, "max_seq_length": 32, "device": "cpu", **changes}
    return model.fit(FewShotConfig.from_json(values), data or tiny.data(), backbone=backbone)


@pytest.mark.parametrize("calibration", ["raw", "empty", "pool"])
def test_the_zero_shot_cloze_is_the_pure_functions_own(backbone, calibration: str):
    data = dataclasses.replace(tiny.data(), pool=tuple(tiny.texts(40, 5)[0]))
    texts = list(data.test.texts)
    raw = fit(backbone, method="zero_shot", zero_shot_by="cloze", calibration="raw")
    found = fit(
        backbone, data, method="zero_shot", zero_shot_by="cloze", calibration=calibration
    ).predict_logits(texts)
    reference = {"raw": None, "empty": [""], "pool": list(data.pool)}[calibration]
    expected = raw.predict_logits(texts)
    if reference is not None:
        expected = zero_shot.calibrated_by(expected, raw.predict_logits(reference))
    assert raw.method == "zero_shot"
    assert np.allclose(found, expected, atol=1e-4)


def test_words_of_several_tokens_and_several_words_shift_as_one(backbone):
    """What is taken away from a label is taken away whatever its words look like."""
    from training.fewshot.verbalizer import Label

    labels = (
        Label("sports", ("体育", "球")),
        Label("car", ("汽",)),
        Label("finance", ("财经", "钱", "银行")),
    )
    fitted = fit(
        backbone,
        dataclasses.replace(tiny.data(), labels=labels),
        method="zero_shot",
        zero_shot_by="cloze",
        calibration="raw",
    )
    texts = ["球赛", "油"]
    before = fitted.predict_logits(texts)
    fitted.network.shift(np.array([1.0, -2.0, 0.5]))
    assert np.allclose(fitted.predict_logits(texts), before - [1.0, -2.0, 0.5], atol=1e-4)


def test_the_mixture_is_the_weighed_mean_of_its_halves(backbone):
    texts = list(tiny.data().test.texts)
    options = {"method": "zero_shot", "calibration": "raw", "extra_templates": ("{text}主题是{mask}。",)}
    read = fit(backbone, zero_shot_by="label_sentence", **options).predict_logits(texts)
    completed = fit(backbone, zero_shot_by="cloze", **options).predict_logits(texts)
    for weight in (0.0, 0.3, 1.0):
        mixed = fit(backbone, zero_shot_by="mixture", mixture_weight=weight, **options)
        assert np.allclose(mixed.predict_logits(texts), (1 - weight) * read + weight * completed, atol=1e-3)


def test_the_weight_is_chosen_by_texts_that_were_not_learnt(backbone):
    data = tiny.data()
    fitted = fit(backbone, method="mixture", max_steps=30, learning_rate=1e-3, ppt_learning_rate=1e-2)
    assert fitted.notes["mixture_weight"] in [round(0.1 * number, 1) for number in range(11)]
    assert fitted.evaluate(data.test)["accuracy"] > 0.6
    few = dataclasses.replace(data, dev=data.dev.take(range(5)))
    assert fit(backbone, few, method="mixture", max_steps=1).notes["mixture_weight"] == 0.5


def test_both_halves_of_the_mixture_learn(backbone):
    still = fit(backbone, method="zero_shot", zero_shot_by="mixture", calibration="raw").network
    trained = fit(backbone, method="mixture", calibration="raw", max_steps=3).network
    for name in ("rows", "sentence_rows", "bias", "sentence_bias"):
        assert not np.allclose(getattr(still, name).numpy(), getattr(trained, name).numpy(), atol=1e-5), name


def test_a_pool_asked_for_and_absent_is_said(backbone):
    fitted = fit(backbone, method="zero_shot", zero_shot_by="cloze", calibration="pool")
    assert [event["code"] for event in fitted.warnings] == ["no_pool_to_calibrate"]


def test_logits_are_moved_to_the_labels_shares():
    logits = np.random.default_rng(0).normal(3.0, 4.0, (200, 3))
    shares = np.array([0.02, 0.5, 0.97])
    moved = logits - start.to_shares(logits, shares)
    assert np.allclose((1.0 / (1.0 + np.exp(-moved))).mean(axis=0), shares, atol=1e-9)


@pytest.mark.parametrize(
    "kind",
    [{}, {"zero_shot_by": "cloze"}, {"zero_shot_by": "mixture"}, {"method": "finetune", "max_steps": 1}],
)
def test_with_several_labels_each_begins_as_probable_as_it_is_frequent(backbone, kind: dict):
    data, task = derive("several", tiny.data())
    values = {"method": "zero_shot", "learning_rate": 1e-9, "ppt_learning_rate": 1e-9, **kind}
    fitted = fit(backbone, data, task=task, **values)
    shares = (data.train.labels.sum(axis=0) + 0.5) / (len(data.train) + 1.0)
    assert fitted.predict_proba(data.train.texts).mean(axis=0) == pytest.approx(shares, abs=0.02)
