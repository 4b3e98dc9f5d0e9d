"""What a time budget has room for, reckoned by hand beside it."""

from __future__ import annotations

import dataclasses
import math

import pytest

from tests.unit import fewshot_tiny as tiny
from training.fewshot import budget, model
from training.fewshot.config import FewShotConfig
from training.fewshot.data import empty_split, make_split
from training.fewshot.errors import EngineError

pytest.importorskip("paddle")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory):
    return tiny.backbone(tmp_path_factory.mktemp("backbone"))


LAPTOP = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 12}


def test_a_budget_shortens_long_trainings_and_leaves_short_ones_alone():
    def epochs(n: int, length: int, **changes: object) -> float:
        config = FewShotConfig.from_json({"preset": "quick", "freeze_layers": 8, **changes})
        return budget.epochs_within(config, LAPTOP, [length] * n)

    assert epochs(240, 30) == 8.0
    assert epochs(400, 40) == 8.0
    # A token in a layer takes 3.54 million operations. 0.8 * 180 s less one reading of 12 layers are left, and a pass
    # over 4 layers, there and back, takes 12 of them.
    token = 3_538_944
    room = 0.8 * 180 - 12 * 400 * 100 * token / 85e9
    assert epochs(400, 100) == math.floor(4 * room / (12 * 400 * 100 * token / 50e9)) / 4 == 3.5
    assert epochs(500, 128) == 2.0
    # 119 labels of 8 long texts have no room for two passes, but at least 60 updates of 16 texts are made.
    assert epochs(952, 128) == 1.25
    assert epochs(500, 128, freeze_layers=0) == 2.0
    assert epochs(100, 128, freeze_layers=0, time_budget_seconds=1.0) == 8.0
    assert epochs(952, 128, time_budget_seconds=None) == 8.0
    assert epochs(952, 128, max_steps=300) == 8.0


def test_a_shortened_run_says_so_and_begins_at_rows_fitted_to_the_texts(backbone, monkeypatch):
    monkeypatch.setattr(budget, "TRAINING_SPEED", 1.0)
    data, events = tiny.data(), []
    settings = {"method": "label_sentence", "template": "这是一条{mask}新闻。{text}", "learning_rate": 0.0}
    config = FewShotConfig.from_json(
        {**settings, "ppt_learning_rate": 0.0, "max_seq_length": 32, "seed": 1, "num_train_epochs": 100.0}
    )
    still = model.fit(config, data, backbone=backbone)
    spread = {"save_steps": 50, "eval_steps": 150, "time_budget_seconds": 60.0}
    short = model.fit(config.replace(**spread), data, None, events.append, backbone=backbone)
    said = next(event for event in events if event.get("code") == "shortened")
    assert said["detail"] == {"asked": 100.0, "epochs": 26.75, "seconds": 60}
    assert short.config.num_train_epochs == short.notes["epochs"] == 26.75
    # Of three hundred updates 81 are left: checkpoints come as often in the run as before, and of the looks at dev the
    # last one stays.
    assert (short.config.save_steps, short.config.eval_steps) == (14, 81)
    # Nothing learns in either, so that what differs is where they begin.
    train = data.train

    def loss(fitted) -> float:
        return fitted.evaluate(train, fitted.predict_proba(train.texts))["loss"]

    assert loss(short) < loss(still)


# The tiny backbone: a token in a layer takes 2 * (4 * 32² + 2 * 32 * 64) operations. The label sentences leave one of
# two layers to be trained, and a made text has N_TOKENS characters, each a token.
TOKEN, LAYERS, TRAINED, N_TEXTS = 16_384, 2, 1, 36


def judging(
    backbone, seconds: float | None, n_dev: int, *, dev_labels: int = 3, **changes: object
) -> budget.Judging:
    """For 36 training texts of one length and `n_dev` of dev, as many passes as asked where `seconds` allows it."""
    names = [label.name for label in tiny.LABELS]

    def split(n: int, of: int):
        return make_split(["球赛队员进门"] * n, [names[i % of] for i in range(n)], names, "single")

    data = dataclasses.replace(tiny.data(), train=split(N_TEXTS, 3), dev=split(n_dev, dev_labels))
    values = {
        "time_budget_seconds": seconds,
        "train_batch_size": 12,
        "num_train_epochs": 40.0,
        "device": "cpu",
    }
    return budget.judging_within(FewShotConfig.from_json({**values, **changes}), data, backbone)


@pytest.fixture
def slow(monkeypatch):
    """A machine on which one pass over the 36 texts of six tokens takes a second, and reading takes no time."""
    monkeypatch.setattr(budget, "TRAINING_SPEED", 3.0 * TRAINED * N_TEXTS * 6 * TOKEN)
    monkeypatch.setattr(budget, "READING_SPEED", 1e30)


def test_cross_validation_takes_as_many_folds_as_the_run_leaves_time_for(backbone, slow):
    # 40 passes take 40 s of the run; without dev, four folds take 3 * 40 s, three 2 * 40 s, two 40 s.
    for seconds, folds in ((210.0, 4), (190.0, 3), (140.0, 2)):
        found = judging(backbone, seconds, 0)
        assert found.folds == folds
        assert found.fold.num_train_epochs == 40.0
        assert found.fold.time_budget_seconds is None
        assert found.run.time_budget_seconds == seconds
    # With as many dev texts as training texts a fold learns twice as many: two folds take 80 s beside the run's 40.
    assert judging(backbone, 160.0, 36).folds == 2
    assert judging(backbone, None, 0).folds == 4
    assert judging(backbone, 1.0, 0, method="probe").folds == 4


def test_no_training_text_is_left_to_be_refused_by_name(backbone):
    data = dataclasses.replace(tiny.data(), train=empty_split(3, "single"), dev=empty_split(3, "single"))
    config = FewShotConfig.from_json({"preset": "quick", "device": "cpu"})
    assert budget.judging_within(config, data, backbone).run == config
    with pytest.raises(EngineError):
        model.fit(config, data, backbone=backbone)


def test_a_run_without_time_for_folds_is_judged_by_dev_or_leaves_them_room(backbone, slow):
    # 0.8 * 80 s are 64: the run's 40 leave no room for two folds.
    assert judging(backbone, 80.0, 120).folds == 0
    assert judging(backbone, 80.0, 120).run.time_budget_seconds == 80.0
    # Of a label that dev lacks only folds can tell.
    assert judging(backbone, 80.0, 120, dev_labels=2).folds == 2
    without = judging(backbone, 80.0, 0)
    assert (without.folds, without.run.time_budget_seconds) == (2, 40.0)
    # 60 updates of 12 texts are 20 passes, the least; 0.8 * 40 s have room for 32.
    assert without.fold.num_train_epochs == 32.0
    few = judging(backbone, 80.0, 36)
    assert (few.folds, few.run.time_budget_seconds) == (2, pytest.approx(80 / 3))
    assert few.fold.num_train_epochs == 21.25


def test_a_number_of_steps_takes_as_long_in_every_fold(backbone, slow):
    # 30 steps of 12 texts are ten passes: 10 s for the run and each fold.
    assert judging(backbone, 63.0, 0, max_steps=30).folds == 4
    assert judging(backbone, 60.0, 0, max_steps=30).folds == 3
    assert judging(backbone, 10.0, 0, max_steps=30).folds == 2


def test_looks_at_dev_take_what_the_training_leaves(monkeypatch):
    # A token in a layer takes 3.54 million operations; reading dev's 400 * 100 tokens in 12 layers takes 20 s here.
    monkeypatch.setattr(budget, "READING_SPEED", 400 * 100 * 12 * 3_538_944 / 20.0)
    monkeypatch.setattr(budget, "TRAINING_SPEED", 240 * 30 * 12 * 3_538_944 / 10.0)
    config = FewShotConfig.from_json({"preset": "quick", "freeze_layers": 8, "eval_steps": 15})

    def between(dev_tokens: int, **changes: object) -> int:
        lengths = [30] * 240
        return budget.steps_between_looks(config.replace(**changes), LAPTOP, lengths, dev_tokens)

    # Eight passes of 15 updates take 80 s, one reading 240 * 30 / 40000 of 20 s = 3.6 s: of 0.9 * 180 s are 78.4 left,
    # three looks.
    assert between(40_000) == 40
    assert between(10_000) == 15
    assert between(400_000) == 120
    assert between(0) == 15
    assert between(40_000, eval_steps=0) == 0
    assert between(40_000, time_budget_seconds=None) == 15
    assert between(40_000, load_best_model_at_end=True) == 15
    assert between(40_000, early_stopping_patience=2) == 15


def test_looks_at_dev_leave_room_for_the_folds(backbone, slow, monkeypatch):
    # Half of all texts are dev's, a look at them takes a second, a run 41 s: two folds take 82 s.
    monkeypatch.setattr(budget, "READING_SPEED", LAYERS * N_TEXTS * 6 * TOKEN / 1.0)
    looking = judging(backbone, 152.0, 36, eval_steps=15)
    # 0.8 * 152 s less the run's 41 and the last look leave 79.6 s: not even two folds fit, and dev is too small to do without.
    assert (looking.folds, looking.run.eval_steps) == (2, 120)
    # 0.8 * 160 s leave 86 s, and after the folds four looks besides the last.
    assert judging(backbone, 160.0, 36, eval_steps=15).folds == 2
    assert judging(backbone, 160.0, 36, eval_steps=15).run.eval_steps == 24
    assert judging(backbone, 160.0, 36).run.eval_steps == 0


def test_a_run_that_looks_at_the_clock_shares_its_time_with_its_folds(backbone, slow):
    found = judging(backbone, 80.0, 36, method="auto")
    assert (found.run.time_budget_seconds, found.fold.time_budget_seconds, found.folds) == (40.0, 40.0, 4)
