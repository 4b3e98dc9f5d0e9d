"""Method auto: it says what it chose and why, keeps to its budget, and its choice can be repeated."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.unit import fewshot_tiny as tiny
from training.fewshot import auto, evaluation, methods, model
from training.fewshot import data as datas
from training.fewshot.bench import Order
from training.fewshot.config import PRESETS, FewShotConfig
from training.fewshot.errors import TemplateError

pytest.importorskip("paddle")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory):
    return tiny.backbone(tmp_path_factory.mktemp("backbone"))


def settings(**changes: object) -> FewShotConfig:
    values = {
        "method": "auto",
        "template": "这是一条{mask}新闻。{text}",
        "train_batch_size": 12,
        "max_steps": 20,
        "learning_rate": 1e-3,
        "ppt_learning_rate": 1e-2,
        "max_seq_length": 32,
        "device": "cpu",
        "time_budget_seconds": 600.0,
    }
    return FewShotConfig.from_json({**values, **changes})


def test_it_chooses_by_dev_and_its_choice_can_be_repeated(backbone):
    data = tiny.data()
    fitted = model.fit(settings(), data, backbone=backbone)
    told = fitted.notes["auto"]
    assert set(told["tried"]) == {"probe", "label_sentence", "prompt", "finetune", "mixture"}
    firsts = {method: found[0] for method, found in told["tried"].items()}
    again_tried = [method for method, found in told["tried"].items() if len(found) == 2]
    assert told["method"] in (again_tried or firsts)
    # The tiny backbone is no sentence encoder: the cloze is the usual choice.
    if told["method"] != "prompt":
        assert np.mean(told["tried"][told["method"]]) > np.mean(told["tried"]["prompt"])
    elif max(firsts.values()) > firsts["prompt"] and not again_tried:
        assert told["because"].startswith("the usual choice")
    assert fitted.method == told["method"]
    again = model.fit(settings(method=told["method"]), data, backbone=backbone)
    assert np.array_equal(again.predict_logits(data.test.texts), fitted.predict_logits(data.test.texts))


def test_a_short_budget_leaves_methods_out_and_says_so(backbone, monkeypatch: pytest.MonkeyPatch):
    # As if a later training took a thousand times as long as the first.
    monkeypatch.setattr(auto, "LATER_SHARE", 1e6)
    told = model.fit(settings(time_budget_seconds=60.0), tiny.data(), backbone=backbone).notes["auto"]
    assert set(told["tried"]) == {"probe", "prompt"}
    assert told["left_out"] == [
        {"method": "label_sentence", "because": "no time left"},
        {"method": "finetune", "because": "no time left"},
        {"method": "mixture", "because": "no time left"},
    ]


def test_without_dev_half_of_train_is_held_out_and_the_choice_learns_from_all(backbone):
    data = dataclasses.replace(tiny.data(), dev=datas.empty_split(3, "single"))
    fitted = model.fit(settings(time_budget_seconds=600.0), data, backbone=backbone)
    assert fitted.notes["auto"]["held_out_texts"] == 18
    again = model.fit(settings(method=fitted.method), data, backbone=backbone)
    assert np.array_equal(again.predict_logits(["球赛"]), fitted.predict_logits(["球赛"]))


def test_a_template_without_mask_leaves_what_needs_no_word(backbone):
    fitted = model.fit(settings(template="{text}好"), tiny.data(), backbone=backbone)
    assert fitted.method in ("probe", "finetune")
    assert {entry["method"] for entry in fitted.notes["auto"]["left_out"]} == {
        "label_sentence",
        "prompt",
        "mixture",
    }


def test_the_chosen_method_reads_the_pool_in_the_time_that_is_left(backbone, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(auto, "FOR_LANGUAGE_MODELS", ("label_sentence", "finetune"))
    data = dataclasses.replace(tiny.data(), pool=tuple(tiny.texts(120, 9)[0]))
    config = settings(use_pool=True, ensemble_size=2, pool_texts=60)
    noted = model.fit(config, data, backbone=backbone).notes
    assert noted["pool"]["texts"] == 60
    assert noted["pool"]["teachers"] == 2
    # As if the comparison had eaten the budget: the pool is left, the choice stands.
    gone = methods.fit_method

    def late(order):
        return gone(order.but(spent=order.spent + (599.0 if order.config.use_pool else 0.0)))

    monkeypatch.setattr(methods, "fit_method", late)
    fitted = auto.fit_auto(Order(config, data, backbone), late)
    assert "pool" not in fitted.notes
    assert "no_time_for_pool" in [event["code"] for event in fitted.warnings]


def test_models_that_cannot_be_chosen_any_more_are_let_go(backbone):
    search = auto._Search(Order(settings(), tiny.data(), backbone), methods.fit_method)
    rights = {"probe": 5, "prompt": 4, "label_sentence": 9, "finetune": 7, "mixture": 6}
    trials = []
    for method, n_right in rights.items():
        right = np.arange(10) < n_right
        trials.append(auto.Trial(method, "none", object(), right.astype(float), 1.0, 1.0, [n_right / 10]))
        search._drop_losers(trials)
    # The usual choice and the two best stay: after both have learnt dev and answered train, either may win.
    assert {one.method for one in trials if one.kept is not None} == {"prompt", "label_sentence", "finetune"}


@pytest.mark.parametrize(
    ("usual", "best", "leaves"),
    [
        # One more of 32 is luck (mean 1/32, standard error 0.54/√32 ≈ 0.096); six more with none lost are not.
        ([1] * 20 + [0] * 12, [1] * 16 + [0] * 4 + [1] * 5 + [0] * 7, False),
        ([1] * 20 + [0] * 12, [1] * 26 + [0] * 6, True),
        ([1] * 20 + [0] * 12, [1] * 20 + [0] * 12, False),
    ],
)
def test_the_usual_choice_is_left_for_more_than_a_standard_error(usual, best, leaves):
    assert evaluation.worth_leaving(np.array(usual), np.array(best)) is leaves


def test_the_usual_choice_follows_the_backbone(backbone, tmp_path):
    _texts, _labels = tiny.texts(4, 1)
    encoder = dataclasses.replace(backbone, config={**backbone.config, "sentence_prefix": "query: "})
    made = {
        kind: auto._Search(Order(settings(), data, found), methods.fit_method).candidates[1]
        for kind, found, data in (
            ("language model", backbone, tiny.data()),
            ("sentence encoder", encoder, tiny.data()),
            ("pairs", encoder, tiny.pairs()),
        )
    }
    assert made == {"language model": "prompt", "sentence encoder": "label_sentence", "pairs": "pair"}


def best_settings(**changes: object) -> FewShotConfig:
    values = {**settings().to_json(), "adapt_learning_rate": 1e-3, **changes}
    return FewShotConfig.from_json(
        {
            **values,
            "preset": "best",
            **{
                name: PRESETS["best"][name]
                for name in ("method", "adapt", "refit_on_dev")
                if name not in changes
            },
        }
    )


def test_preset_best_reads_the_pool_compares_methods_and_learns_dev_at_last(
    backbone, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(auto, "FOR_LANGUAGE_MODELS", ("prompt", "finetune"))
    data = dataclasses.replace(tiny.data(), pool=tuple(tiny.texts(120, 9)[0]))
    events: list[dict] = []
    fitted = model.fit(best_settings(), data, None, events.append, backbone=backbone)
    told = fitted.notes["auto"]
    assert told["method"] == fitted.method
    assert fitted.notes["refit"] == {"texts": 66, "dev_texts": 30}
    # The pool is read once, for all candidates and for the last training.
    assert len([e for e in events if e["type"] == "stage" and e["stage"] == "adapt"]) == 1
    # Whoever looks sees which part of the run each stage and each step belongs to.
    trained = [e.get("part") for e in events if e["type"] == "stage" and e["stage"] == "train"]
    assert trained[:2] == ["auto:1:2", "auto:2:2"]
    assert trained[-1] == "refit"
    assert set(trained[2:-1]) == {"auto"}
    assert all("part" in e for e in events if e["type"] == "progress")
    adapt = told["adapt"]
    assert adapt["kept"] == (adapt["accuracy"] >= adapt["accuracy_without"])
    first = fitted.judged_by_dev
    assert first is not fitted
    assert first.method == fitted.method
    assert first.config.adapt == ("mlm" if adapt["kept"] else "none")
    # The last training began where the choice says.
    again = model.fit(
        settings(method=fitted.method, adapt=first.config.adapt, adapt_learning_rate=1e-3),
        data,
        backbone=backbone,
    )
    assert np.array_equal(again.predict_logits(["球赛"]), first.predict_logits(["球赛"]))


def test_preset_best_asks_dev_whether_reading_served_a_method_chosen_by_hand(backbone):
    data = dataclasses.replace(tiny.data(), pool=tuple(tiny.texts(120, 9)[0]))
    events: list[dict] = []
    fitted = model.fit(best_settings(method="finetune"), data, None, events.append, backbone=backbone)
    told = fitted.notes["auto"]
    assert (fitted.method, list(told["tried"]), told["left_out"]) == ("finetune", ["finetune"], [])
    assert told["adapt"]["kept"] == (told["adapt"]["accuracy"] >= told["adapt"]["accuracy_without"])
    assert fitted.judged_by_dev.config.adapt == ("mlm" if told["adapt"]["kept"] else "none")
    stages = [(e.get("part"), e["stage"]) for e in events if e["type"] == "stage"]
    assert [part for part, stage in stages if stage == "train"] == ["auto", "auto", "refit"]
    # What is named beside no preset is done as it is said; without enough of dev there is nobody to ask.
    for config, used in (
        (settings(method="finetune", adapt="mlm", max_steps=2), data),
        (
            best_settings(method="finetune", max_steps=2),
            dataclasses.replace(data, dev=data.dev.take(range(6))),
        ),
    ):
        plain = model.fit(config, used, backbone=backbone)
        assert "auto" not in plain.notes
        assert plain.notes["adapt"]["kind"] == "mlm"
    with pytest.raises(TemplateError):
        model.fit(best_settings(method="prompt", template="没有空{text}"), data, backbone=backbone)


def test_best_without_pool_or_head_says_so_and_goes_on(backbone, tmp_path, monkeypatch: pytest.MonkeyPatch):
    from safetensors.numpy import load_file, save_file

    monkeypatch.setattr(auto, "FOR_LANGUAGE_MODELS", ("label_sentence", "finetune"))
    headless = tiny.backbone(tmp_path)
    weights = load_file(headless.path / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "transform" not in k}, headless.path / "model.safetensors")
    pool = dataclasses.replace(tiny.data(), pool=tuple(tiny.texts(120, 9)[0]))
    for used, data, code in ((backbone, tiny.data(), "pool_too_small"), (headless, pool, "no_masked_head")):
        events: list[dict] = []
        fitted = model.fit(best_settings(max_steps=4), data, None, events.append, backbone=used)
        assert [event["code"] for event in events if event["type"] == "warning"].count(code) == 1
        assert "adapt" not in fitted.notes["auto"]
        assert fitted.notes["refit"]["texts"] == 66
