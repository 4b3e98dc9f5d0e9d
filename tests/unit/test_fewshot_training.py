"""Losses, networks and the loop against numpy and PaddleNLP, on a backbone of two narrow layers."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest

from tests.unit import fewshot_tiny as tiny
from training.fewshot import batching, checkpoint, memory, model, verbalizer
from training.fewshot.config import FewShotConfig
from training.fewshot.errors import (
    BadCheckpoint,
    Cancelled,
    DeviceError,
    EngineError,
    NotEnoughMemory,
    TemplateWithoutMask,
    TrainingDiverged,
    VocabularyMismatch,
    WordCollision,
)
from training.fewshot.evaluation import softmax
from training.fewshot.runner import TextEncoder
from training.fewshot.verbalizer import Label

paddle = pytest.importorskip("paddle")

TEMPLATE = "这是一条{mask}新闻。{text}"


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory):
    return tiny.backbone(tmp_path_factory.mktemp("backbone"))


def settings(**changes: object) -> FewShotConfig:
    values = {
        "method": "prompt",
        "template": TEMPLATE,
        "train_batch_size": 12,
        "max_steps": 12,
        "learning_rate": 1e-3,
        "ppt_learning_rate": 1e-2,
        "max_seq_length": 32,
        "device": "cpu",
    }
    return FewShotConfig.from_json({**values, **changes})


def fit(backbone, folder: Path | None = None, on_event=None, data=None, **changes: object):
    options = {name: changes.pop(name) for name in ("should_stop", "whole_checkpoints") if name in changes}
    return model.fit(settings(**changes), data or tiny.data(), folder, on_event, backbone=backbone, **options)


# Losses


def test_cross_entropy_with_weights_and_smoothing():
    from training.fewshot.losses import classification_loss

    random = np.random.default_rng(0)
    logits = random.normal(0, 1, (6, 3)).astype(np.float32)
    targets, weights = np.array([0, 2, 1, 1, 0, 2]), np.array([1.0, 2.0, 0.5], dtype=np.float32)
    log_p = np.log(softmax(logits.astype(np.float64)))
    smooth = 0.9 * np.eye(3)[targets] + 0.1 / 3
    expected = (weights[targets] * -(smooth * log_p).sum(axis=1)).sum() / weights[targets].sum()
    found = classification_loss(
        paddle.to_tensor(logits),
        paddle.to_tensor(targets),
        label_smoothing=0.1,
        class_weights=paddle.to_tensor(weights),
    )
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_rdrop_is_the_mean_symmetric_divergence():
    from training.fewshot.losses import rdrop_divergence

    random = np.random.default_rng(1)
    a, b = (random.normal(0, 2, (5, 4)).astype(np.float32) for _ in range(2))
    p, q = softmax(a.astype(np.float64)), softmax(b.astype(np.float64))
    expected = 0.5 * ((p * np.log(p / q)).sum(1) + (q * np.log(q / p)).sum(1)).mean()
    assert float(rdrop_divergence(paddle.to_tensor(a), paddle.to_tensor(b))) == pytest.approx(
        expected, rel=1e-5
    )


def test_relation_loss_equals_the_loop_over_pairs():
    from training.fewshot.losses import relation_loss

    random = np.random.default_rng(2)
    vectors, labels = random.normal(0, 1, (5, 8)).astype(np.float32), np.array([0, 1, 0, 2, 1])
    losses = []
    for i in range(5):
        for j in range(5):
            if i == j:
                continue
            cosine = vectors[i] @ vectors[j] / np.linalg.norm(vectors[i]) / np.linalg.norm(vectors[j])
            scores = np.array([(1 - cosine) * 50, (1 + cosine) * 50], dtype=np.float64)
            losses.append(-np.log(softmax(scores) + 1e-300)[int(labels[i] == labels[j])])
    found = relation_loss(paddle.to_tensor(vectors), paddle.to_tensor(labels))
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-4)


# Networks


def test_prompt_starts_as_the_masked_language_model_itself(backbone):
    """The first logits are PaddleNLP's own vocabulary logits of the label words (its SoftVerbalizer loses them)."""
    from paddlenlp.transformers import ErnieConfig, ErnieForMaskedLM
    from safetensors.numpy import load_file

    fitted = fit(backbone, learning_rate=0.0, ppt_learning_rate=0.0, max_steps=1, calibration="raw")
    reference = ErnieForMaskedLM(ErnieConfig(**backbone.config))
    weights = load_file(backbone.path / "model.safetensors")
    weights["cls.predictions.decoder.bias"] = weights["cls.predictions.decoder_bias"]
    reference.set_state_dict(weights)
    reference.eval()
    texts = ["球赛进门", "银行abc", "油"]
    arrays = fitted.encode(texts)
    names = ("input_ids", "token_type_ids", "position_ids", "attention_mask")
    with paddle.no_grad():
        scores = reference(**{name: paddle.to_tensor(arrays[name]) for name in names}).numpy()
    built = verbalizer.build(tiny.LABELS, tiny.tokenizer())
    expected = np.zeros((3, 3))
    for row in range(3):
        for label, group in enumerate(built.token_ids):
            words = [
                np.mean([scores[row, arrays["mask_positions"][row, j], token] for j, token in enumerate(ids)])
                for ids in group
            ]
            expected[row, label] = np.mean(words)
    assert np.allclose(fitted.predict_logits(texts), expected, atol=2e-4)


def test_label_sentences_start_as_the_encoders_own_vectors(backbone):
    fitted = fit(backbone, method="zero_shot")
    ernie = fitted.network.ernie
    made = tiny.tokenizer()

    def vector(text: str) -> np.ndarray:
        ids = [1, *made.encode(text, add_special_tokens=False).ids, 2]
        with paddle.no_grad():
            hidden = ernie(paddle.to_tensor([ids]), attention_mask=paddle.ones([1, len(ids)], dtype="int64"))[
                0
            ]
        mean = hidden.numpy()[0].astype(np.float64).mean(axis=0)
        return mean / np.linalg.norm(mean)

    rows = np.stack(
        [np.mean([vector(f"这是一条{word}新闻。") for word in label.words], axis=0) for label in tiny.LABELS]
    )
    middle = rows.mean(axis=0)
    rows = (rows - middle) / np.linalg.norm(rows - middle, axis=1, keepdims=True)
    texts = [vector(text) for text in tiny.data().train.texts]
    centre = (np.sum(texts, axis=0) + 4 * middle) / (len(texts) + 4)
    text = vector("球赛进门") - centre
    expected = 10.0 * rows @ (text / np.linalg.norm(text))
    assert np.allclose(fitted.predict_logits(["球赛进门"])[0], expected, atol=1e-3)


def test_soft_prompt_starts_as_its_words_and_ends_as_constants(backbone, tmp_path: Path):
    hard = fit(backbone, learning_rate=0.0, ppt_learning_rate=0.0, max_steps=1)
    soft = fit(
        backbone,
        template="{soft:这是一条}{mask}{soft:新闻。}{text}",
        soft_encoder="lstm",
        encoder_hidden_size=8,
        learning_rate=0.0,
        ppt_learning_rate=0.0,
        max_steps=1,
    )
    texts = ["球赛进门", "银行"]
    assert np.allclose(hard.predict_logits(texts), soft.predict_logits(texts), atol=1e-5)
    assert soft.network.soft is None
    soft.save(tmp_path / "model")
    assert np.array_equal(model.load(tmp_path / "model").predict_logits(texts), soft.predict_logits(texts))


def test_a_layer_is_paddlenlps_own_and_may_be_asked_for_some_positions(backbone):
    from training.fewshot.encoder_layer import Noise, encoder_layer
    from training.fewshot.text_network import load_backbone

    layer = load_backbone(backbone.path)[0].encoder.layers[0]
    layer.eval()
    random = np.random.default_rng(0)
    hidden = paddle.to_tensor(random.normal(0, 1, (2, 5, tiny.HIDDEN)).astype(np.float32))
    away = paddle.to_tensor(np.array([[0, 0, 0, 0, 0], [0, 0, 0, -1e4, -1e4]], dtype=np.float32))
    away = away.unsqueeze([1, 2])
    only = paddle.to_tensor(np.array([[3, 1], [0, 2]]))
    with paddle.no_grad():
        theirs = layer(hidden, away).numpy()
        assert np.allclose(encoder_layer(layer, hidden, away).numpy(), theirs, atol=1e-6)
        some = encoder_layer(layer, hidden, away, None, only).numpy()
        assert np.allclose(some, np.stack([theirs[0, [3, 1]], theirs[1, [0, 2]]]), atol=1e-6)
        factors = random.choice([0.0, 1.25], (3, 2, 5, tiny.HIDDEN)).astype(np.float32)
        weights = random.choice([0.0, 1.25], (1, 2, 4, 5, 5)).astype(np.float32)
        noise = Noise(paddle.to_tensor(factors), paddle.to_tensor(weights)).of_layer(0)
        whole = encoder_layer(layer, hidden, away, noise).numpy()
        some = encoder_layer(layer, hidden, away, noise, only).numpy()
    assert not np.allclose(whole, theirs, atol=1e-2)
    assert np.allclose(some, np.stack([whole[0, [3, 1]], whole[1, [0, 2]]]), atol=1e-6)


def test_dropouts_noise_keeps_the_mean_and_depends_on_its_numbers_alone(backbone):
    from training.fewshot.encoder_layer import NoiseSource
    from training.fewshot.text_network import load_backbone

    source = NoiseSource(load_backbone(backbone.path)[0], 1)
    hidden, attention = source.draw([42, 3], 6, 40)
    assert hidden.shape == (3, 6, 40, tiny.HIDDEN)
    assert attention.shape == (1, 6, 4, 40, 40)
    assert set(np.unique(hidden).tolist()) == {0.0, float(np.float32(256 / 230))}
    assert hidden.mean() == pytest.approx(1.0, abs=0.01)
    assert (hidden == 0).mean() == pytest.approx(26 / 256, abs=0.01)
    assert np.array_equal(source.draw([42, 3], 6, 40)[0], hidden)
    assert not np.array_equal(source.draw([42, 4], 6, 40)[0], hidden)


# The loop


@pytest.mark.parametrize("method", ["prompt", "label_sentence", "mixture", "finetune", "probe"])
def test_every_method_learns_saves_and_loads(backbone, tmp_path: Path, method: str):
    data = tiny.data()
    fitted = fit(backbone, method=method, max_steps=40, to_static=True)
    assert fitted.evaluate(data.test)["accuracy"] > 0.6
    proba = fitted.predict_proba(data.test.texts)
    assert proba.dtype == np.float32
    assert proba.shape == (30, 3)
    assert np.allclose(proba.sum(axis=1), 1, atol=1e-5)
    fitted.save(tmp_path / "model")
    again = model.load(tmp_path / "model")
    assert np.array_equal(again.predict_proba(data.test.texts), proba)
    assert again.labels == tiny.LABELS


def test_one_seed_one_result_and_a_resumed_run_the_same(backbone, tmp_path: Path):
    options = {
        "use_rdrop": True,
        "ema_decay": 0.9,
        "save_steps": 5,
        "template": "{soft:这是}{mask}{text}",
        "soft_encoder": "mlp",
    }
    texts = tiny.data().test.texts
    whole = fit(backbone, tmp_path / "whole", **options).predict_logits(texts)
    asked = []

    def stop_after_eight() -> bool:
        asked.append(1)
        return len(asked) > 8

    with pytest.raises(Cancelled):
        fit(backbone, tmp_path / "cut", should_stop=stop_after_eight, **options)
    events: list[dict] = []
    resumed = fit(backbone, tmp_path / "cut", events.append, **options).predict_logits(texts)
    assert {"type": "stage", "stage": "resume", "step": 5} in events
    assert np.array_equal(resumed, whole)
    assert not np.array_equal(fit(backbone, seed=7, **options).predict_logits(texts), whole)


def test_a_damaged_checkpoint_is_passed_over_and_a_foreign_one_left_alone(backbone, tmp_path: Path):
    fit(backbone, tmp_path, save_steps=4, save_total_limit=2)
    assert [step for step, _ in checkpoint.found(tmp_path)] == [8, 12]
    arrays = tmp_path / "checkpoint-12" / "state.safetensors"
    content = bytearray(arrays.read_bytes())
    content[-100] ^= 0xFF
    arrays.write_bytes(bytes(content))
    events: list[dict] = []
    fit(backbone, tmp_path, events.append, save_steps=4)
    assert "checkpoint_damaged" in [event.get("code") for event in events]
    assert {"type": "stage", "stage": "resume", "step": 8} in events
    events.clear()
    fit(backbone, tmp_path, events.append, save_steps=4, learning_rate=2e-3)
    assert not [event for event in events if event.get("stage") == "resume"]


def test_whole_checkpoints_hold_a_model_that_loads(backbone, tmp_path: Path):
    fitted = fit(backbone, tmp_path, save_steps=12, whole_checkpoints=True)
    loaded = model.load(tmp_path / "checkpoint-12" / "model")
    texts = tiny.data().test.texts
    assert np.allclose(loaded.predict_logits(texts), fitted.predict_logits(texts), atol=1e-6)


def test_static_graph_and_recompute_change_no_number(backbone):
    texts = tiny.data().test.texts
    plain = fit(backbone, freeze_dropout=True).predict_logits(texts)
    assert np.allclose(
        fit(backbone, freeze_dropout=True, to_static=True).predict_logits(texts), plain, atol=1e-4
    )
    assert np.allclose(
        fit(backbone, freeze_dropout=True, recompute=True).predict_logits(texts), plain, atol=1e-4
    )


def test_accumulated_gradients_equal_the_large_batch(backbone):
    """Without dropout, two half batches make the update that one batch makes (rows of one length: same batches)."""
    from training.fewshot.data import FewShotData, make_split

    names = [label.name for label in tiny.LABELS]
    texts = [a * 4 for group in (tiny.BALL, tiny.CAR, tiny.MONEY) for a in group[:4]]
    split = make_split(texts, [name for name in names for _ in range(4)], names)
    data = FewShotData(tiny.LABELS, split, tiny.data().dev, tiny.data().test)
    options = {"freeze_dropout": True, "max_steps": 3, "max_grad_norm": 0.0, "data": data}
    whole = fit(backbone, train_batch_size=12, **options).predict_logits(texts)
    halves = fit(backbone, train_batch_size=6, gradient_accumulation_steps=2, **options).predict_logits(texts)
    assert np.allclose(whole, halves, atol=5e-3)


def test_frozen_layers_stay_and_cached_states_are_the_networks_own(backbone):
    from training.fewshot.forward import read_states

    fitted = fit(backbone, freeze_layers=1, method="finetune")
    start = fit(backbone, method="finetune", learning_rate=0.0, ppt_learning_rate=0.0, max_steps=1)
    layers, first = fitted.network.ernie.encoder.layers, start.network.ernie.encoder.layers
    assert np.array_equal(layers[0].linear1.weight.numpy(), first[0].linear1.weight.numpy())
    assert not np.array_equal(layers[1].linear1.weight.numpy(), first[1].linear1.weight.numpy())
    assert np.array_equal(fitted.network.words.numpy(), start.network.words.numpy())
    encoder = TextEncoder(start.encoding, start.tokenizer)
    rows = encoder.rows(["球赛", "轮胎发动机油"])
    network = start.network
    states, finished = read_states(
        network,
        encoder,
        rows,
        1,
        lambda hidden, regions: network.classify(network.read(hidden, regions, None, 1)),
    )
    assert states.layers == 1
    assert np.allclose(finished, start.predict_logits(["球赛", "轮胎发动机油"]), atol=1e-5)
    mask = paddle.to_tensor([[1, 1, 1, 1, 0, 0, 0, 0], [1] * 8])
    with paddle.no_grad():
        features = start.network.read(paddle.to_tensor(batching.pad_hidden(states.rows)), mask, first=1)
        logits = start.network.classify(features).numpy()
    assert np.allclose(logits, start.predict_logits(["球赛", "轮胎发动机油"]), atol=1e-5)


def test_embedding_rows_that_do_not_occur_stay(backbone):
    fitted = fit(backbone)
    from safetensors.numpy import load_file

    before = load_file(backbone.path / "model.safetensors")["ernie.embeddings.word_embeddings.weight"]
    after = fitted.network.words.numpy()
    moved = np.flatnonzero(np.abs(after - before).max(axis=1) > 0)
    made = tiny.tokenizer()
    assert made.token_to_id("球") in moved
    assert made.token_to_id("[MASK]") in moved
    assert made.token_to_id("很") not in moved
    assert made.token_to_id("?") not in moved


def test_the_best_weights_are_kept_and_patience_ends_the_run(backbone):
    events: list[dict] = []
    fitted = fit(
        backbone,
        on_event=events.append,
        max_steps=60,
        eval_steps=2,
        learning_rate=0.05,
        load_best_model_at_end=True,
        early_stopping_patience=3,
    )
    looks = [event["dev_accuracy"] for event in events if "dev_accuracy" in event]
    assert fitted.notes["steps"] < 60
    assert fitted.evaluate(tiny.data().dev)["accuracy"] == pytest.approx(max(looks))


def test_multi_label_gets_thresholds(backbone):
    from training.fewshot.data import FewShotData, make_split

    texts, names = tiny.texts(36, 1)
    both = [[name, "car"] if number % 2 else [name] for number, name in enumerate(names)]
    split = make_split(
        [t + ("油" if n % 2 else "") for n, t in enumerate(texts)],
        both,
        [x.name for x in tiny.LABELS],
        "multi_label",
    )
    data = FewShotData(tiny.LABELS, split, split, split)
    fitted = fit(backbone, data=data, task="multi_label", max_steps=80, method="finetune")
    found = fitted.evaluate(split)
    assert found["micro_f1"] > 0.8
    assert len(fitted.calibration["thresholds"]) == 3


# Small pieces


def test_schedules():
    from training.fewshot.rates import schedule, total_steps

    linear = schedule(settings(warmup_steps=2), 10)
    assert [linear(step) for step in (0, 1, 2, 6, 10)] == pytest.approx([0, 0.5, 1, 0.5, 0])
    cosine = schedule(settings(lr_scheduler_type="cosine"), 10)
    assert cosine(5) == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))
    assert schedule(settings(lr_scheduler_type="constant", warmup_ratio=0.1), 10)(9) == 1.0
    epochs = settings(max_steps=-1, num_train_epochs=3, train_batch_size=8, gradient_accumulation_steps=2)
    assert total_steps(epochs, 20) == 5


def test_batches_cover_every_row_once_and_waste_little():
    lengths = np.random.default_rng(0).integers(5, 60, 500)
    batches = batching.epoch_batches(lengths, 16, seed=3, epoch=1)
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    assert [b.tolist() for b in batches] == [b.tolist() for b in batching.epoch_batches(lengths, 16, 3, 1)]
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded / lengths.sum() < 1.25
    order = np.random.default_rng(1).permutation(500)
    plain = sum(16 * lengths[order[at : at + 16]].max() for at in range(0, 500, 16))
    assert padded < 0.75 * plain


def test_memory_guard_halves_the_batch_and_keeps_the_update(backbone):
    asked = settings(train_batch_size=64)
    base = memory.training_bytes(asked, backbone.config, 20, 32)
    smaller, events = memory.guard(asked, backbone.config, 32, available=int(base / memory.USABLE_SHARE))
    assert smaller.train_batch_size <= 20
    assert smaller.train_batch_size * smaller.gradient_accumulation_steps >= 64
    assert events[0]["code"] == "smaller_batch"
    assert memory.guard(asked, backbone.config, 32, available=1 << 40) == (asked, [])
    with pytest.raises(NotEnoughMemory):
        memory.guard(asked, backbone.config, 32, available=1 << 20)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"template": "{text}好"}, TemplateWithoutMask),
        ({"method": "label_sentence", "template": "{text}好"}, TemplateWithoutMask),
        ({"device": "gpu"}, DeviceError),
        ({"class_weights": {"nobody": 1.0}}, EngineError),
        (
            {"learning_rate": 1.0, "max_grad_norm": 0.0, "max_steps": 200, "ppt_learning_rate": 1.0},
            TrainingDiverged,
        ),
    ],
)
def test_what_cannot_work_is_a_named_error(backbone, changes: dict, error: type[EngineError], monkeypatch):
    if error is TrainingDiverged:
        from training.fewshot import losses

        whole = losses.classification_loss
        monkeypatch.setattr(losses, "classification_loss", lambda *a, **k: whole(*a, **k) * float("nan"))
    with pytest.raises(error):
        fit(backbone, **changes)


def test_colliding_words_stop_a_run_at_once(backbone):
    data = tiny.data()
    labels = (Label("sports", ("体育",)), Label("car", ("体育",)), Label("finance", ("财经",)))
    import dataclasses

    for method in ("prompt", "label_sentence"):
        with pytest.raises(WordCollision):
            fit(backbone, method=method, data=dataclasses.replace(data, labels=labels))


def test_a_damaged_model_folder_is_named(backbone, tmp_path: Path):
    fit(backbone, method="probe").save(tmp_path / "model")
    tokens = json.loads((tmp_path / "model" / "tokenizer.json").read_text())
    tokens["model"]["vocab"] |= {f"neu{n}": 1000 + n for n in range(500)}
    (tmp_path / "model" / "tokenizer.json").write_text(json.dumps(tokens))
    with pytest.raises(VocabularyMismatch):
        model.load(tmp_path / "model")
    (tmp_path / "model" / "weights.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(BadCheckpoint):
        model.load(tmp_path / "model")


def test_few_updates_begin_at_the_texts_only_where_held_out_texts_say_so(backbone):
    data = tiny.data()
    labels = np.random.default_rng(3).permutation(data.train.labels)
    without_sense = dataclasses.replace(data, train=dataclasses.replace(data.train, labels=labels))
    settings = {
        "template": "这是一条{mask}新闻。{text}",
        "learning_rate": 0.0,
        "ppt_learning_rate": 0.0,
        "max_seq_length": 32,
    }

    def rows(learnt, **changes) -> np.ndarray:
        config = FewShotConfig.from_json({**settings, "method": "label_sentence", **changes})
        return model.fit(config, learnt, backbone=backbone).network.rows.numpy()

    sentences = rows(data, method="zero_shot")
    assert np.allclose(rows(without_sense, max_steps=2), sentences, atol=1e-6)
    assert not np.allclose(rows(data, max_steps=2), sentences, atol=1e-2)
    assert np.allclose(rows(data, max_steps=60), sentences, atol=1e-6)


def test_fgm_on_frozen_words_says_that_it_does_nothing(backbone):
    events = []
    fit(backbone, on_event=events.append, fgm_epsilon=0.5, freeze_layers=1, max_steps=1)
    assert [event["code"] for event in events if event["type"] == "warning"] == ["fgm_idle"]
    events.clear()
    fit(backbone, on_event=events.append, fgm_epsilon=0.5, freeze_layers=0, max_steps=1)
    assert not [event for event in events if event["type"] == "warning"]
