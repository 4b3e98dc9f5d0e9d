"""The backbone reads the pool before the labels; what dev is learnt for, once all is chosen."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.unit import fewshot_tiny as tiny
from training.fewshot import model
from training.fewshot.config import FewShotConfig
from training.fewshot.errors import BackboneError

paddle = pytest.importorskip("paddle")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory):
    return tiny.backbone(tmp_path_factory.mktemp("backbone"))


@pytest.fixture(scope="module")
def data():
    return dataclasses.replace(tiny.data(), pool=tuple(dict.fromkeys(tiny.texts(160, 8)[0])))


def fit(backbone, data, folder=None, events=None, **changes):
    values = {
        "template": "这是一条{mask}新闻。{text}",
        "max_seq_length": 40,
        "max_steps": 4,
        "device": "cpu",
        "adapt_learning_rate": 1e-3,
        **changes,
    }
    listen = None if events is None else events.append
    return model.fit(FewShotConfig.from_json(values), data, folder, listen, backbone=backbone)


def test_masked_words_by_hand():
    from training.fewshot.adapt import masked

    row = {"input_ids": [1, *range(10, 30), 2], "maskable": np.arange(1, 21)}
    random = np.random.default_rng(0)
    fates = {"masked": 0, "kept": 0, "other": 0}
    for _ in range(400):
        found, positions, answers = masked(row, random, 4, 50, 8)
        assert len(positions) == 5  # a quarter of 20
        assert found["mask_positions"].tolist()[5:] == [0, 0, 0]
        assert answers.tolist() == [row["input_ids"][p] for p in positions]
        rest = np.setdiff1d(np.arange(22), positions)
        assert [found["input_ids"][p] for p in rest] == [row["input_ids"][p] for p in rest]
        for position, answer in zip(positions, answers, strict=True):
            now = found["input_ids"][position]
            fates["masked" if now == 4 else "kept" if now == answer else "other"] += 1
    assert fates["masked"] / 2000 == pytest.approx(0.8, abs=0.04)
    assert fates["other"] / 2000 == pytest.approx(0.1, abs=0.03)
    nothing = masked({"input_ids": [1, 2], "maskable": np.zeros(0, dtype=int)}, random, 4, 50, 6)
    assert nothing[1].tolist() == []


def test_a_sentence_encoder_keeps_its_vectors_while_it_reads(backbone, data, monkeypatch: pytest.MonkeyPatch):
    from training.fewshot import adapt

    encoder = dataclasses.replace(backbone, config={**backbone.config, "sentence_prefix": "query: "})
    texts = list(data.test.texts)

    def vectors(**changes) -> np.ndarray:
        # With no learning the network's own reading of the texts is what the pool left of it.
        network = fit(encoder, data, method="label_sentence", learning_rate=0.0, **changes)
        with paddle.no_grad():
            ids, types, positions, mask = (
                paddle.to_tensor(array) for array in list(network.encode(texts).values())[:4]
            )
            found = network.network
            hidden = found.run_layers(found.embed(ids, types, positions), mask)
            vector = ((hidden * mask.unsqueeze(-1).astype("float32")).sum(axis=1)).numpy()
        return vector / np.linalg.norm(vector, axis=1, keepdims=True)

    before = vectors()
    held = (vectors(adapt="mlm", adapt_passes=4.0) * before).sum(axis=1).mean()
    monkeypatch.setattr(adapt, "ANCHOR", 0.0)
    free = (vectors(adapt="mlm", adapt_passes=4.0) * before).sum(axis=1).mean()
    assert free < held < 0.99999
    # The words, frozen while it reads, are free again for the labels.
    fitted = fit(encoder, data, method="finetune", adapt="mlm")
    assert not fitted.network.words.stop_gradient


@pytest.mark.parametrize("kind", ["mlm", "pcp"])
@pytest.mark.parametrize("method", ["label_sentence", "prompt"])
def test_a_backbone_that_read_the_pool_trains_saves_and_loads(backbone, data, tmp_path, kind, method):
    events: list[dict] = []
    fitted = fit(backbone, data, events=events, method=method, adapt=kind, adapt_passes=3.0)
    assert {"type": "stage", "stage": "adapt"} in events
    losses = [event["loss"] for event in events if "loss" in event]
    assert fitted.notes["adapt"]["kind"] == kind
    assert losses[0] > losses[len(losses) - 2] or len(losses) < 3
    plain = fit(backbone, data, method=method)
    lower = "ernie.encoder.layers.0.linear1.weight"
    assert not np.array_equal(fitted.network.arrays()[lower], plain.network.arrays()[lower])
    texts = list(data.test.texts)
    fitted.save(tmp_path / "model")
    assert np.array_equal(model.load(tmp_path / "model").predict_logits(texts), fitted.predict_logits(texts))


def test_long_texts_are_read_in_several_passes_an_update(backbone, data, monkeypatch: pytest.MonkeyPatch):
    from training.fewshot import adapt

    seen: list[int] = []
    read = adapt.MaskedWords.read

    def counted(self, hidden, *rest, **options):
        seen.append(hidden.shape[0] * hidden.shape[1])
        return read(self, hidden, *rest, **options)

    monkeypatch.setattr(adapt.MaskedWords, "read", counted)
    whole = fit(backbone, data, method="probe", adapt="mlm", to_static=False).notes["adapt"]
    assert len(seen) == whole["steps"]
    most = max(seen)
    seen.clear()
    monkeypatch.setattr(adapt, "TOKENS_A_PASS", most // 2)
    parts = fit(backbone, data, method="probe", adapt="mlm", to_static=False).notes["adapt"]
    assert parts == whole
    assert max(seen) <= most // 2
    assert len(seen) > whole["steps"]


def test_reading_the_pool_lowers_the_loss_on_it(backbone, data):
    events: list[dict] = []
    fit(backbone, data, events=events, method="prompt", adapt="mlm", adapt_passes=20.0, logging_steps=10)
    losses = [event["loss"] for event in events if event.get("type") == "metric"]
    assert losses[-2] < 0.8 * losses[0]


def test_a_resumed_run_reads_what_was_read_and_gives_the_same_numbers(backbone, data, tmp_path):
    options = {"method": "prompt", "adapt": "pcp", "save_steps": 2}
    whole = fit(backbone, data, tmp_path / "run", **options)
    events: list[dict] = []
    again = fit(backbone, data, tmp_path / "run", events, **options)
    assert {"type": "stage", "stage": "adapt"} not in events
    assert {"type": "stage", "stage": "resume", "step": 4} in events
    texts = list(data.test.texts)
    assert np.array_equal(again.predict_logits(texts), whole.predict_logits(texts))
    assert np.array_equal(fit(backbone, data, **options).predict_logits(texts), whole.predict_logits(texts))


def test_pseudo_labels_are_written_in_the_masks(backbone, data):
    from training.fewshot.adapt import _labelled_rows
    from training.fewshot.bench import Bench, Order
    from training.fewshot.text_network import load_backbone

    config = FewShotConfig(method="prompt", template="{soft}这是{mask}新闻。{text}", max_seq_length=40)
    bench = Bench.of(Order(config, data, backbone))
    ernie = load_backbone(backbone.path)[0]
    rows = _labelled_rows(bench, ernie, data.pool[:30])
    made = tiny.tokenizer()
    written = ["".join(made.id_to_token(i) for i in row["input_ids"]) for row in rows]
    words = {label.words[0] for label in tiny.LABELS}
    for text, line in zip(data.pool, written, strict=False):
        assert line.startswith("[CLS]这是")
        assert line[7:9] in words
        assert "[MASK]" not in line
        assert line.endswith(f"新闻。{text.replace(',', ',')}[SEP]")


def test_a_small_pool_or_no_head_is_said(backbone, data, tmp_path):
    few = dataclasses.replace(data, pool=data.pool[:10])
    fitted = fit(backbone, few, method="prompt", adapt="mlm")
    assert "pool_too_small" in [event["code"] for event in fitted.warnings]
    assert "adapt" not in fitted.notes
    from safetensors.numpy import load_file, save_file

    headless = tiny.backbone(tmp_path)
    weights = load_file(headless.path / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "transform" not in k}, headless.path / "model.safetensors")
    with pytest.raises(BackboneError):
        fit(headless, data, method="label_sentence", adapt="mlm")


def test_the_time_budget_ends_the_reading(backbone, data):
    fitted = fit(
        backbone,
        data,
        method="prompt",
        adapt="mlm",
        adapt_passes=1000.0,
        time_budget_seconds=4.0,
        max_steps=1,
    )
    assert 4 < fitted.notes["adapt"]["steps"] < 5000


def test_teachers_and_candidates_share_one_reading(backbone, data):
    events: list[dict] = []
    fit(
        backbone,
        data,
        events=events,
        method="label_sentence",
        adapt="mlm",
        use_pool=True,
        ensemble_size=2,
        pool_texts=60,
    )
    assert len([event for event in events if event.get("stage") == "adapt" and event["type"] == "stage"]) == 1
    events.clear()
    fit(backbone, data, events=events, method="auto", adapt="mlm", template="")
    assert len([event for event in events if event.get("stage") == "adapt" and event["type"] == "stage"]) == 1


def test_layer_wise_rates():
    from training.fewshot.rates import layers_above

    assert layers_above("ernie.embeddings.layer_norm.weight", 12) == 12
    assert layers_above("ernie.encoder.layers.0.linear1.weight", 12) == 11
    assert layers_above("ernie.encoder.layers.11.norm2.bias", 12) == 0
    assert layers_above("mask_head.transform.weight", 12) == 0


def test_layer_wise_rates_move_lower_layers_less(backbone, data):
    def moved(decay: float) -> list[float]:
        start = fit(backbone, data, method="finetune", learning_rate=0.0, max_steps=1).network
        end = fit(
            backbone, data, method="finetune", layer_decay=decay, max_steps=3, learning_rate=1e-3
        ).network
        return [
            float(np.abs(a.linear1.weight.numpy() - b.linear1.weight.numpy()).mean())
            for a, b in zip(end.ernie.encoder.layers, start.ernie.encoder.layers, strict=True)
        ]

    even, decayed = moved(1.0), moved(0.2)
    assert decayed[0] / decayed[1] == pytest.approx(0.2 * even[0] / even[1], rel=0.1)


def test_dev_is_learnt_when_all_is_chosen_and_judges_the_model_before(backbone, data):
    options = {"method": "mixture", "max_steps": 20, "learning_rate": 1e-3, "template": ""}
    plain = fit(backbone, data, **options)
    fitted = fit(backbone, data, refit_on_dev=True, **options)
    n_train, n_dev = len(data.train), len(data.dev)
    assert fitted.notes["refit"] == {"texts": n_train + n_dev, "dev_texts": n_dev}
    assert fitted.notes["steps"] == round(20 * (n_train + n_dev) / n_train)
    # As sure of unlabelled texts as the model that dev has calibrated.
    sure = [float(one.predict_proba(data.pool).max(axis=1).mean()) for one in (fitted, plain)]
    assert sure[0] == pytest.approx(sure[1], abs=0.01)
    assert {**fitted.calibration, "temperature": 0} == {**plain.calibration, "temperature": 0}
    alone = fit(backbone, dataclasses.replace(data, pool=()), refit_on_dev=True, **options)
    assert alone.calibration == alone.judged_by_dev.calibration
    assert fitted.notes["mixture_weight"] == plain.notes["mixture_weight"]
    texts = list(data.dev.texts)
    assert np.array_equal(fitted.judged_by_dev.predict_logits(texts), plain.predict_logits(texts))
    assert not np.array_equal(fitted.predict_logits(texts), plain.predict_logits(texts))
