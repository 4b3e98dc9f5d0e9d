"""The pool as lessons: which texts, which targets, how many fit the time; and whole runs on a tiny backbone."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

from tests.unit import fewshot_tiny as tiny
from training.fewshot import model, pool
from training.fewshot.config import FewShotConfig
from training.fewshot.errors import Cancelled
from training.fewshot.rates import share_of_start

TEMPLATE = "这是一条{mask}新闻。{text}"


# Which texts


def test_known_texts_and_doubles_stay_out():
    texts = ["A  球赛", "a 球赛", "Ａ 球赛 ", "轮胎", "银行", "", "  ", "利率"]
    chosen = pool.choose_texts(texts, ["银行 "], 100, seed=3)
    assert sorted(pool.normal_form(text) for text in chosen) == sorted(["a 球赛", "轮胎", "利率"])


def test_a_smaller_limit_gives_the_beginning_of_a_larger_one():
    texts = [f"text {number}" for number in range(200)]
    long, short = pool.choose_texts(texts, [], 120, 5), pool.choose_texts(texts, [], 30, 5)
    assert long[:30] == short
    assert len(set(long)) == 120
    assert pool.choose_texts(texts, [], 30, 6) != short


# What is taught


def test_the_target_is_the_mean_of_the_teachers_and_agreement_counts_all_of_them():
    first = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], dtype=np.float32)
    second = np.array([[0.7, 0.3], [0.6, 0.4], [0.8, 0.2]], dtype=np.float32)
    assert np.allclose(pool.taught([first, second]), [[0.8, 0.2], [0.4, 0.6], [0.7, 0.3]])
    assert pool.agreement([first, second]) == pytest.approx(2 / 3)


def test_agreement_of_label_sets():
    first = np.array([[0.9, 0.9], [0.2, 0.8]])
    second = np.array([[0.7, 0.8], [0.6, 0.9]])
    assert pool.agreement([first, second]) == pytest.approx(0.5)


def test_lessons_repeat_the_labelled_texts_and_smooth_them():
    made = pool.lessons(
        ["x", "y"], np.array([1, 0]), 2, ["p"], np.array([[0.3, 0.7]]), label_smoothing=0.1, repeats=2
    )
    assert made.texts == ("x", "y", "x", "y", "p")
    assert np.allclose(made.targets, [[0.05, 0.95], [0.95, 0.05]] * 2 + [[0.3, 0.7]])
    assert made.targets.dtype == np.float32
    other = dataclasses.replace(made, targets=made.targets[::-1].copy())
    assert made.fingerprint() != other.fingerprint()


# How much fits

WANTED = pool.Plan(teachers=3, pool_texts=3000, passes=2.0)
SPEED = {"spent_seconds": 60.0, "teacher_seconds": 50.0, "rows_per_second": 40.0, "labelled_rows": 720}


def cost(plan: pool.Plan) -> float:
    """Seconds of a plan by hand: more teachers, the pool read by each, the student's passes."""
    read = plan.teachers * plan.pool_texts / (3 * 40.0)
    return 60 + (plan.teachers - 1) * 50 + read + plan.passes * (plan.pool_texts + 720) / 40.0


def test_without_a_budget_or_with_a_wide_one_nothing_is_cut():
    assert pool.plan_for(None, **SPEED, wanted=WANTED) == WANTED
    assert pool.plan_for(1800.0, **SPEED, wanted=WANTED) == WANTED


@pytest.mark.parametrize("budget", [200, 260, 320, 400, 440])
def test_a_short_budget_is_kept(budget):
    plan = pool.plan_for(budget, **SPEED, wanted=WANTED)
    assert cost(plan) <= 0.9 * budget
    assert 0 < plan.pool_texts <= 3000


def test_first_the_pool_shrinks_then_the_teachers_go():
    assert pool.plan_for(400, **SPEED, wanted=WANTED).teachers == 3
    assert pool.plan_for(260, **SPEED, wanted=WANTED).teachers < 3
    assert pool.plan_for(100, **SPEED, wanted=WANTED).pool_texts == 0


# Whole runs


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory):
    pytest.importorskip("paddle")
    return tiny.backbone(tmp_path_factory.mktemp("backbone"))


def with_pool(n_pool: int):
    return dataclasses.replace(tiny.data(n_train=36), pool=tuple(tiny.texts(n_pool, 9)[0]))


def settings(**changes: object) -> FewShotConfig:
    values = {
        "method": "label_sentence",
        "template": TEMPLATE,
        "train_batch_size": 8,
        "num_train_epochs": 6.0,
        "learning_rate": 1e-3,
        "ppt_learning_rate": 1e-2,
        "max_seq_length": 32,
        "device": "cpu",
        "use_pool": True,
        "ensemble_size": 2,
    }
    return FewShotConfig.from_json({**values, **changes})


@pytest.mark.parametrize("method", ["label_sentence", "prompt", "finetune"])
def test_a_student_learns_from_the_pool(backbone, method):
    events: list[dict] = []
    # Without dev nothing can speak against the student.
    data = dataclasses.replace(with_pool(120), dev=tiny.data(n_dev=0).dev)
    fitted = model.fit(settings(method=method), data, None, events.append, backbone=backbone)
    noted = fitted.notes["pool"]
    assert noted["teachers"] == 2
    assert 60 <= noted["texts"] <= 120
    assert sum(noted["shares"]) == pytest.approx(1.0, abs=0.01)
    assert fitted.evaluate(data.test)["accuracy"] > 0.7
    taught = [event for event in events if event["type"] == "progress" and event["stage"] == "teach"]
    assert [event["step"] for event in taught] == sorted(event["step"] for event in taught)
    assert taught[-1]["step"] == taught[-1]["total"]
    # The curve is the student's alone.
    steps = [event["step"] for event in events if event["type"] == "metric" and "loss" in event]
    assert steps == sorted(set(steps))
    assert steps[-1] == fitted.notes["steps"]
    assert "kept" not in noted


def test_a_pool_that_misleads_is_given_up(backbone, monkeypatch):
    """Teachers whose answers are turned round: what they teach is wrong, and dev shows it."""
    turned = lambda answers: np.roll(np.mean(np.stack(answers), axis=0), 1, axis=1)  # noqa: E731
    monkeypatch.setattr(pool, "taught", turned)
    events: list[dict] = []
    fitted = model.fit(settings(), with_pool(120), None, events.append, backbone=backbone)
    noted = fitted.notes["pool"]
    assert noted["dev_accuracy"] < noted["dev_accuracy_without"]
    assert noted["kept"] is False
    assert "pool_did_not_help" in [event.get("code") for event in events]
    texts = tiny.texts(10, 4)[0]
    plain = model.fit(settings(use_pool=False), with_pool(120), backbone=backbone)
    assert np.array_equal(fitted.predict_logits(texts), plain.predict_logits(texts))


def test_one_seed_gives_one_student(backbone):
    first, second = (model.fit(settings(), with_pool(80), backbone=backbone) for _ in range(2))
    texts = tiny.texts(10, 4)[0]
    assert np.array_equal(first.predict_logits(texts), second.predict_logits(texts))


def test_start_share_keeps_that_share_of_the_starting_weights(backbone, monkeypatch: pytest.MonkeyPatch):
    from training.fewshot import methods

    # However few the updates, they begin at the label sentences here, as zero_shot does.
    monkeypatch.setattr(methods, "LEAST_UPDATES", 0)
    data = with_pool(60)
    start, blend, end = (
        model.fit(settings(use_pool=False, **changes), data, backbone=backbone).network.arrays()
        for changes in ({"method": "zero_shot"}, {"start_share": 0.3}, {})
    )
    moved = 0.0
    for name, value in end.items():
        assert np.allclose(blend[name], 0.3 * start[name] + 0.7 * value, atol=1e-5), name
        moved = max(moved, float(np.abs(value - start[name]).max()))
    assert moved > 1e-3


@pytest.mark.parametrize(
    ("values", "share"),
    [
        ({"preset": "quick"}, 0.25),
        ({"preset": "best", "method": "label_sentence"}, 0.25),
        ({"preset": "quick", "method": "prompt"}, 0.0),
        ({"preset": "best", "method": "finetune"}, 0.25),
        ({"preset": "quick", "method": "mixture"}, 0.0),
        ({"preset": "quick", "method": "prompt", "start_share": 0.1}, 0.1),
        ({"preset": "quick", "start_share": 0.0}, 0.0),
        ({}, 0.0),
    ],
)
def test_presets_keep_a_share_of_the_start_where_it_served(values, share):
    assert share_of_start(FewShotConfig.from_json(values)) == share


def test_a_multi_label_student(backbone):
    data = with_pool(90)
    names = [label.name for label in data.labels]
    from training.fewshot.data import empty_split, make_split

    def many(n: int, seed: int):
        texts, labels = tiny.texts(n, seed)
        return make_split(
            [a + b for a, b in zip(texts, texts[1:] + texts[:1], strict=True)],
            [sorted({a, b}) for a, b in zip(labels, labels[1:] + labels[:1], strict=True)],
            names,
            "multi_label",
        )

    empty = empty_split(3, "multi_label")
    data = dataclasses.replace(data, train=many(24, 1), dev=many(24, 2), test=empty)
    fitted = model.fit(settings(task="multi_label", num_train_epochs=12.0), data, backbone=backbone)
    assert fitted.notes["pool"]["teachers"] == 2
    assert fitted.evaluate(many(30, 3))["macro_f1"] > 0.6


def test_a_small_pool_is_left_alone_with_a_warning(backbone):
    events: list[dict] = []
    fitted = model.fit(settings(), with_pool(20), None, events.append, backbone=backbone)
    assert "pool" not in fitted.notes
    assert [event["code"] for event in events if event["type"] == "warning"] == ["pool_too_small"]


def test_no_time_means_no_pool(backbone):
    events: list[dict] = []

    def listen(event: dict) -> None:
        events.append(event)
        # A teacher of this size may be ready in less than the smallest budget.
        if event["type"] == "stage" and event["stage"] == "teach":
            time.sleep(1.0)

    config = settings(time_budget_seconds=1.0)
    fitted = model.fit(config, with_pool(80), None, listen, backbone=backbone)
    assert "pool" not in fitted.notes
    assert fitted.notes["steps"] > 0
    assert "no_time_for_pool" in [event.get("code") for event in events]


def test_cancelled_between_teachers(backbone):
    seen: list[dict] = []
    with pytest.raises(Cancelled):
        model.fit(
            settings(),
            with_pool(80),
            None,
            seen.append,
            backbone=backbone,
            should_stop=lambda: any(event.get("stage") == "pool" for event in seen),
        )


def test_a_resumed_run_does_not_teach_again_and_ends_the_same(backbone, tmp_path: Path):
    data, texts = with_pool(80), tiny.texts(10, 4)[0]
    whole = model.fit(settings(), data, tmp_path / "whole", backbone=backbone)
    seen: list[dict] = []

    def stop() -> bool:
        return any(event["type"] == "metric" for event in seen)

    changed = settings(logging_steps=4)
    with pytest.raises(Cancelled):
        model.fit(changed, data, tmp_path / "cut", seen.append, backbone=backbone, should_stop=stop)
    seen.clear()
    again = model.fit(changed, data, tmp_path / "cut", seen.append, backbone=backbone)
    assert not [event for event in seen if event.get("stage") == "teach"]
    assert np.allclose(whole.predict_logits(texts), again.predict_logits(texts), atol=1e-5)
