"""Data that nobody tuned to, and input that cannot work: trained as it is, or named before time is spent."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from tests.unit import fewshot_tiny as tiny
from training.fewshot import model
from training.fewshot.config import FewShotConfig
from training.fewshot.data import FewShotData, empty_split, make_split
from training.fewshot.encoding import count_truncated
from training.fewshot.errors import (
    EngineError,
    TemplateTooLong,
    TemplateWithoutMask,
    TooFewLabels,
    TooFewTexts,
    UnknownWord,
    WordCollision,
)
from training.fewshot.runner import TextEncoder
from training.fewshot.verbalizer import Label

paddle = pytest.importorskip("paddle")

TEMPLATE = "这是一条{mask}新闻。{text}"


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory):
    return tiny.backbone(tmp_path_factory.mktemp("backbone"))


def settings(**changes) -> FewShotConfig:
    values = {"template": TEMPLATE, "max_steps": 2, "max_seq_length": 48, "device": "cpu"}
    return FewShotConfig.from_json({**values, **changes})


def whole(labels, texts, names) -> FewShotData:
    split = make_split(texts, names, [label.name for label in labels])
    return FewShotData(labels, split, empty_split(len(labels), "single"), split)


@pytest.mark.parametrize("n_labels", [67, 119])
@pytest.mark.parametrize("method", ["label_sentence", "prompt", "mixture", "probe"])
def test_many_classes_with_words_of_one_to_three_tokens(backbone, method: str, n_labels: int):
    characters = tiny.BALL + tiny.CAR + tiny.MONEY
    words = itertools.chain(
        characters[:9],
        map("".join, itertools.permutations(characters[:8], 2)),
        map("".join, itertools.permutations(characters[8:13], 3)),
    )
    labels = tuple(Label(f"c{i}", (word,)) for i, word in enumerate(itertools.islice(words, n_labels)))
    texts = [f"{label.words[0]}{other}" for label in labels for other in ("abc", "好")]
    data = whole(labels, texts, [label.name for label in labels for _ in range(2)])
    fitted = model.fit(settings(method=method), data, backbone=backbone)
    proba = fitted.predict_proba(texts)
    assert proba.shape == (2 * n_labels, n_labels)
    assert np.allclose(proba.sum(axis=1), 1.0, atol=1e-4)


@pytest.mark.parametrize("method", ["label_sentence", "prompt", "mixture"])
def test_long_texts_are_cut_at_the_text_and_counted(backbone, method: str):
    texts, names = tiny.texts(24, 1)
    texts = [text * (60 if number % 2 else 1) for number, text in enumerate(texts)]
    fitted = model.fit(settings(method=method), whole(tiny.LABELS, texts, names), backbone=backbone)
    assert count_truncated(fitted.encoding, fitted.tokenizer, texts) == 12
    encoder = TextEncoder(fitted.encoding, fitted.tokenizer)
    rows = encoder.rows(texts[1:2])
    for view, row in zip(encoder.views, rows, strict=True):
        assert len(row["input_ids"]) == 48
        fixed = [i for segment in view if "ids" in segment for i in segment["ids"]]
        kept = list(row["input_ids"])
        for token in fixed:
            assert token in kept
    assert np.isfinite(fitted.predict_logits(["球" * 3000, "", " ", "\u2028\ufeff", "𝒜" * 40])).all()


@pytest.mark.parametrize("method", ["label_sentence", "prompt", "mixture", "finetune", "probe"])
def test_two_classes_of_sixteen_texts_in_english(backbone, method: str):
    labels = (Label("good", ("abc",)), Label("bad", ("fgh",)))
    random = np.random.default_rng(0)
    texts = [
        " ".join("".join(random.choice(list(own), 3)) for _ in range(4))
        for own in ("abcd", "efgh")
        for _ in range(16)
    ]
    data = whole(labels, texts, ["good"] * 16 + ["bad"] * 16)
    config = settings(
        method=method, template="{text} a {mask}.", max_steps=40, learning_rate=2e-3, ppt_learning_rate=1e-2
    )
    assert model.fit(config, data, backbone=backbone).evaluate(data.test)["accuracy"] > 0.8


def test_half_precision_on_the_cpu_is_said_and_changes_nothing(backbone):
    data = tiny.data()
    asked = model.fit(settings(method="finetune", precision="bf16"), data, backbone=backbone)
    assert "precision_ignored" in [event["code"] for event in asked.warnings]
    plain = model.fit(settings(method="finetune"), data, backbone=backbone)
    assert np.array_equal(asked.predict_logits(["球赛"]), plain.predict_logits(["球赛"]))


def few(n_texts: int) -> FewShotData:
    data = tiny.data()
    return dataclasses.replace(data, train=data.train.take(range(n_texts)))


def labelled(*words: str) -> FewShotData:
    labels = tuple(
        dataclasses.replace(label, words=(word,)) for label, word in zip(tiny.LABELS, words, strict=True)
    )
    return dataclasses.replace(tiny.data(), labels=labels)


def one_class() -> FewShotData:
    return whole(tiny.LABELS[:1], ["球赛", "球"], ["sports", "sports"])


@pytest.mark.parametrize(
    ("make", "changes", "error"),
    [
        (tiny.data, {"template": "{text}好"}, TemplateWithoutMask),
        (lambda: labelled("体育", "𪚥𪚥", "财经"), {}, UnknownWord),
        (lambda: labelled("体育", "汽车", "体育"), {}, WordCollision),
        (one_class, {}, TooFewLabels),
        (lambda: few(1), {}, TooFewTexts),
    ],
    ids=["no mask", "unknown word", "one word twice", "one class", "one text"],
)
@pytest.mark.parametrize("method", ["label_sentence", "prompt", "mixture"])
def test_what_cannot_work_is_named_before_the_weights_are_read(
    backbone, monkeypatch, method: str, make, changes: dict, error: type[EngineError]
):
    from training.fewshot import methods

    def read(bench):
        raise AssertionError("the weights were read")

    monkeypatch.setattr(methods, "load_adapted", read)
    with pytest.raises(error):
        model.fit(
            settings(method=method, **changes),
            make(),
            backbone=backbone,
        )


@pytest.mark.parametrize("method", ["prompt", "mixture"])
def test_a_prompt_that_leaves_no_room_is_named(backbone, method: str):
    """Label sentences put no prompt beside the text, so any length will do for them."""
    with pytest.raises(TemplateTooLong):
        model.fit(
            settings(method=method, template="好" * 60 + "{mask}{text}"), tiny.data(), backbone=backbone
        )
