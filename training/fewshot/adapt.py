"""The backbone reads the unlabelled pool before it learns the labels: masked words, with or without pseudo-labels.

`mlm`: domain-adaptive masked language modelling (arXiv 2004.10964); a sentence encoder's vectors are meanwhile held to
what they were, lest it forget what it was made for. `pcp`: prompt-based continued pre-training
(arXiv 2305.01711): each text of the pool gets the template with the word of its pseudo-label in place of the mask, and
the masked words are drawn from all of it. Either way the result is a backbone like the one before, so that every
method trains, saves and exports as without it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from training.fewshot import checkpoint, encoding, linear, pool, verbalizer
from training.fewshot.backbones import Backbone
from training.fewshot.bench import Bench
from training.fewshot.data import warning
from training.fewshot.encoder_layer import at_positions
from training.fewshot.errors import BackboneError
from training.fewshot.loop import Loop
from training.fewshot.memory import guard
from training.fewshot.networks import LabelSentenceNetwork
from training.fewshot.runner import TextEncoder
from training.fewshot.sentences import text_vectors
from training.fewshot.template import parse
from training.fewshot.templates import DEFAULT_TEMPLATE
from training.fewshot.text_network import MaskHead, TextNetwork, load_backbone, mean_vector
from training.fewshot.tokenization import special_ids
from training.fewshot.zero_shot import unit

# Words asked for (more than BERT's 15 %: arXiv 2202.08005); of these replaced by [MASK], by any word, or left.
ASKED, MASKED, OTHER = 0.25, 0.8, 0.1
# Texts an update; fewer where the pool is small, so that a pass makes LEAST_UPDATES.
BATCH, LEAST_UPDATES = 32, 20
# An update of more tokens is made of several passes, whose activations need not be held together.
TOKENS_A_PASS = 2_048
# Weight of 1 − cos(vector of the masked text, vector that the backbone as it came gives the whole text).
ANCHOR = 10.0
# 20,000 taught tnews no more than these.
MOST_TEXTS = 8_000
WARMUP, WEIGHT_DECAY = 0.06, 0.01
# The rest of the time budget is for the labels.
BUDGET_SHARE = 0.4
STEPS_TO_JUDGE_SPEED = 4
HEADLESS = "the backbone has no masked-language-model head"

Weights = dict[str, np.ndarray]


def load_adapted(bench: Bench) -> tuple[nn.Layer, Weights]:
    """`load_backbone`, after reading the pool where `bench.config.adapt` asks for it.

    A run reads the pool once: what came of it is kept in `bench.adapted` for further models of the run, and beside the
    checkpoints for a resumed one. Raises BackboneError where there is no masked-language-model head to read with.
    """
    ernie, head = load_backbone(bench.backbone.path)
    config = bench.config
    if config.adapt == "none":
        return ernie, head
    known = (*bench.data.train.texts, *bench.data.dev.texts, *bench.data.test.texts)
    texts = pool.choose_texts(bench.data.pool, known, config.adapt_texts or MOST_TEXTS, config.seed)
    if len(texts) < pool.MIN_POOL_TEXTS:
        bench.warn(_too_small(len(texts)))
        return ernie, head
    if "transform.weight" not in head:
        raise BackboneError(HEADLESS, hint="Choose adapt none.")
    kept = _Kept(bench, texts)
    found = kept.read()
    if found is None:
        began = time.monotonic()
        bench.stage("adapt")
        rows = _pool_rows(bench, texts) if config.adapt == "mlm" else _labelled_rows(bench, ernie, texts)
        network = MaskedWords(ernie, head)
        if config.adapt == "mlm" and bench.prefix:
            network.hold(TextNetwork(load_backbone(bench.backbone.path)[0], 0))
        loop = _MaskedLoop(network, rows, head, bench)
        loop.run()
        network.words.stop_gradient = False
        found = network.backbone_arrays(), {"kind": config.adapt, "steps": loop.step, "texts": len(texts)}
        kept.write(*found)
        bench.seconds["adapt"] = time.monotonic() - began
    arrays, bench.notes["adapt"] = found
    for name, parameter in ernie.named_parameters():
        parameter.set_value(arrays[f"ernie.{name}"])
    return ernie, {
        **head,
        **{name.removeprefix("head."): a for name, a in arrays.items() if name[:5] == "head."},
    }


def obstacle(backbone: Backbone, texts: Sequence[str]) -> dict | None:
    """The warning that says why the backbone cannot read these texts; None where it can."""
    from safetensors import safe_open

    if len(texts) < pool.MIN_POOL_TEXTS:
        return _too_small(len(texts))
    with safe_open(Path(backbone.path) / "model.safetensors", framework="np") as weights:
        if "cls.predictions.transform.weight" not in weights.keys():  # noqa: SIM118 - it is no mapping
            return warning("no_masked_head", f"{HEADLESS}: it does not read the pool")
    return None


def _too_small(n: int) -> dict:
    return warning(
        "pool_too_small",
        f"the pool has {n} usable texts, fewer than {pool.MIN_POOL_TEXTS}: the backbone did not read it",
        n=n,
    )


class MaskedWords(TextNetwork):
    """A backbone under its own masked-language-model head; the decoder is the table of embeddings in use."""

    def __init__(self, ernie: nn.Layer, head: Weights) -> None:
        super().__init__(ernie, 0)
        self.mask_head = MaskHead(int(self.words.shape[1]), ernie.config.hidden_act)
        for name, parameter in self.mask_head.named_parameters():
            parameter.set_value(head[name].astype(np.float32))
        self.words.stop_gradient = True
        self.bias: paddle.Tensor | None = None
        self.as_it_came: TextNetwork | None = None

    def read(self, hidden, attention_mask, mask_positions=None, first=0, noise=None):
        """[n, M, H] at the masks; where vectors are held, also the texts' unit mean vectors [n, H]."""
        if self.as_it_came is None:
            return self.mask_head(
                self.run_layers(hidden, attention_mask, first, noise=noise, only=mask_positions)
            )
        hidden = self.run_layers(hidden, attention_mask, first, noise=noise)
        vectors = F.normalize(mean_vector(hidden, attention_mask), axis=-1)
        return self.mask_head(at_positions(hidden, mask_positions)), vectors

    def classify(self, features):
        at_masks = features if self.as_it_came is None else features[0]
        return paddle.matmul(at_masks, self.words, transpose_y=True) + self.bias

    def hold(self, as_it_came: TextNetwork) -> None:
        """Keeps the texts' vectors near those of `as_it_came`, which does not learn."""
        as_it_came.eval()
        # A plain attribute: its parameters are not this network's.
        object.__setattr__(self, "as_it_came", as_it_came)

    def backbone_arrays(self) -> Weights:
        """`ernie.<name>` and `head.<name>`: everything that was trained."""
        found = {f"ernie.{name}": p.numpy() for name, p in self.ernie.named_parameters()}
        return found | {f"head.{name}": p.numpy() for name, p in self.mask_head.named_parameters()}


class _MaskedLoop(Loop):
    """The training loop with masked words as targets, drawn anew by (seed, step) at each update."""

    caches = False

    def __init__(self, network: MaskedWords, rows: list[dict], head: Weights, bench: Bench) -> None:
        size = max(8, min(BATCH, len(rows) // LEAST_UPDATES))
        longest = max(len(row["input_ids"]) for row in rows)
        passes = math.ceil(size * longest / TOKENS_A_PASS)
        config = bench.config.replace(
            learning_rate=bench.config.adapt_learning_rate,
            weight_decay=WEIGHT_DECAY,
            max_steps=-1,
            num_train_epochs=bench.config.adapt_passes,
            train_batch_size=math.ceil(size / passes),
            gradient_accumulation_steps=passes,
            warmup_ratio=WARMUP,
            warmup_steps=0,
            freeze_plm=False,
            freeze_layers=0,
            use_rdrop=False,
            use_rgl=False,
            fgm_epsilon=0.0,
            ema_decay=0.0,
            layer_decay=1.0,
            eval_steps=0,
            save_steps=0,
            load_best_model_at_end=False,
        )
        config, events = guard(config, bench.backbone.config, longest)
        for event in events:
            bench.warn(event)
        special = special_ids(bench.tokenizer)
        self.mask_id = special.mask
        self.also_used = (special.mask,)
        plan = encoding.plan_sentence(
            bench.tokenizer, fields=("a",), prefix="", max_length=bench.max_length, multi_label=False
        )
        self.columns = max(1, math.ceil(1.6 * ASKED * longest))
        inner = {**plan.encoding, "inputs": list(encoding.INPUTS), "n_masks": self.columns}
        budget = bench.config.time_budget_seconds
        self.seconds = None if budget is None else BUDGET_SHARE * budget - (time.monotonic() - bench.began)
        self.started = self.judged = 0.0
        self.whole = rows
        super().__init__(
            network,
            config,
            TextEncoder(inner, bench.tokenizer),
            rows,
            np.zeros(len(rows), dtype=np.int64),
            on_event=bench.emit,
            should_stop=bench.should_stop,
            stage="adapt",
        )
        bias = head.get("decoder_bias", np.zeros(int(self.words.table.shape[0]))).astype(np.float32)
        network.bias = paddle.to_tensor(bias[self.words.used])
        self.mask_id = self.words.place_of(special.mask)

    def _update(self, batches: list[np.ndarray]) -> float:
        if self.seconds is not None and self.step == STEPS_TO_JUDGE_SPEED:
            # The first updates also pay for the static graph; the schedule then ends where the time does.
            a_step = (time.monotonic() - self.started) / (STEPS_TO_JUDGE_SPEED - 1)
            left = max(0, int((self.seconds - a_step * STEPS_TO_JUDGE_SPEED) / a_step))
            self.shorten(min(self.total, self.step + max(1, left)))
        loss = super()._update(batches)
        if self.step == 0:
            self.started = time.monotonic()
        return loss

    def _loss(self, batch: np.ndarray, draw: list[int]) -> paddle.Tensor:
        random = np.random.default_rng([self.config.seed, self.step, *draw])
        rows, targets = [], np.full((len(batch), self.columns), -1, dtype=np.int64)
        for place, index in enumerate(batch):
            row, positions, answers = masked(
                self.rows[index], random, self.mask_id, len(self.words.used), self.columns
            )
            rows.append(row)
            targets[place, : len(positions)] = answers
        with paddle.amp.auto_cast(
            enable=self.autocast is not None, dtype=self.autocast or "float16", level="O1"
        ):
            logits, features = self.forward(*self._arrays_of(rows, draw))
        logits = logits.astype("float32").reshape([len(batch) * self.columns, -1])
        loss = F.cross_entropy(logits, paddle.to_tensor(targets.reshape(-1)), ignore_index=-1)
        if self.network.as_it_came is None:
            return loss
        likeness = (features[1].astype("float32") * self._vectors_before(self.network.as_it_came, batch)).sum(
            axis=-1
        )
        return loss + ANCHOR * (1.0 - likeness).mean()

    def _vectors_before(self, network: TextNetwork, batch: np.ndarray) -> paddle.Tensor:
        """[n, H]: the unit mean vectors that `network` gives the whole texts."""
        rows = [{**self.whole[index], "mask_positions": [0] * self.columns} for index in batch]
        arrays = self.encoder.collate(rows)
        ids, types, positions, mask = (paddle.to_tensor(arrays[name]) for name in encoding.INPUTS[:4])
        with paddle.no_grad():
            hidden = network.run_layers(network.embed(ids, types, positions), mask)
            return F.normalize(mean_vector(hidden, mask), axis=-1)


def masked(
    row: dict, random: np.random.Generator, mask_id: int, n_words: int, most: int
) -> tuple[dict, np.ndarray, np.ndarray]:
    """A row with some of its words hidden, the positions asked for (at least one, at most `most`) and their words.

    `row["maskable"]`: positions of words that may be asked for. `mask_positions` is filled up with zeros to `most`.
    """
    ids = np.array(row["input_ids"])
    may = np.asarray(row["maskable"])
    n = min(most, max(1, round(ASKED * len(may)))) if len(may) else 0
    positions = np.sort(random.choice(may, n, replace=False)) if n else np.zeros(0, dtype=np.int64)
    answers = ids[positions]
    fate = random.random(n)
    ids[positions[fate < MASKED]] = mask_id
    other = positions[(fate >= MASKED) & (fate < MASKED + OTHER)]
    ids[other] = random.integers(0, n_words, len(other))
    filled = np.zeros(most, dtype=np.int64)
    filled[:n] = positions
    return {**row, "input_ids": ids, "mask_positions": filled}, positions, answers


def _pool_rows(bench: Bench, texts: Sequence[str]) -> list[dict]:
    """The texts as the sentence methods read them."""
    plan = encoding.plan_sentence(
        bench.tokenizer,
        fields=("a", "b") if all("\t" in text for text in texts) else ("a",),
        prefix=bench.prefix,
        max_length=bench.max_length,
        multi_label=False,
    )
    lead = len(plan.encoding["views"][0][0]["ids"])
    return [
        _with_maskable(row, lead, bench) for row in TextEncoder(plan.encoding, bench.tokenizer).rows(texts)
    ]


def _labelled_rows(bench: Bench, ernie: nn.Layer, texts: Sequence[str]) -> list[dict]:
    """The texts in the template, the first word of their likeliest label in its masks."""
    template = (bench.own_templates() or [parse(DEFAULT_TEMPLATE)])[0]
    words = verbalizer.build(bench.data.labels, bench.tokenizer)
    vocabulary = int(bench.backbone.config["vocab_size"])
    plan = encoding.plan_prompt(
        bench.tokenizer,
        [template],
        n_masks=max(words.n_masks, sum(part.length or 1 for part in template.parts if part.kind == "mask")),
        vocab_size=vocabulary,
        max_length=bench.max_length,
        multi_label=False,
    )
    rows: list[dict] = [{}] * len(texts)
    guessed = _pseudo_labels(bench, ernie, texts)
    for label, group in enumerate(words.token_ids):
        view = [
            {"ids": list(group[0]), "type": segment["type"]} if segment.get("mask") else segment
            for segment in plan.encoding["views"][0]
            # Soft prompts have no vectors yet.
            if segment.get("mask") or "text" in segment or max(segment["ids"]) < vocabulary
        ]
        encoder = TextEncoder({**plan.encoding, "views": [view], "n_masks": 0}, bench.tokenizer)
        chosen = np.flatnonzero(guessed == label)
        for index, row in zip(chosen, encoder.rows([texts[i] for i in chosen]), strict=True):
            rows[index] = _with_maskable(row, 1, bench)
    return rows


def _pseudo_labels(bench: Bench, ernie: nn.Layer, texts: Sequence[str]) -> np.ndarray:
    """int64 [n]: the likeliest label by a linear classifier that learnt the training texts' frozen vectors."""
    plan = encoding.plan_sentence(
        bench.tokenizer, fields=("a",), prefix=bench.prefix, max_length=bench.max_length, multi_label=False
    )
    encoder = TextEncoder(plan.encoding, bench.tokenizer)
    width = int(bench.backbone.config["hidden_size"])
    blank = np.zeros((bench.data.n_labels, width), dtype=np.float32)
    reader = LabelSentenceNetwork(ernie, blank, blank[:, 0], blank[0], bench.config.scale)
    learnt = text_vectors(bench, reader, encoder, bench.train.texts)
    centre = learnt.mean(axis=0)
    rows, bias, _ = linear.fit_cross_validated(
        bench.config.scale * unit(learnt - centre),
        bench.train.labels,
        bench.data.n_labels,
        seed=bench.config.seed,
    )
    found = text_vectors(bench, reader, encoder, texts)
    return (bench.config.scale * unit(found - centre) @ rows.T + bias).argmax(axis=1)


def _with_maskable(row: dict, lead: int, bench: Bench) -> dict:
    special = special_ids(bench.tokenizer)
    ids = np.asarray(row["input_ids"])
    may = np.arange(len(ids)) >= lead
    for token in (special.cls, special.sep, special.pad, special.unk):
        may &= ids != token
    return {**row, "maskable": np.flatnonzero(may)}


class _Kept:
    """What came of reading the pool: in the run's memory, and beside its checkpoints where it has some."""

    def __init__(self, bench: Bench, texts: Sequence[str]) -> None:
        config = bench.config
        # Another seed reads the same pool: the backbone it finds is the run's, not the teacher's.
        settings = [getattr(config, f"adapt{rest}") for rest in ("", "_texts", "_passes", "_learning_rate")]
        self.name = checkpoint.fingerprint(
            settings,
            bench.backbone.hash,
            config.max_seq_length,
            [label.to_json() for label in bench.data.labels],
            config.template if config.adapt == "pcp" else "",
            list(bench.train.texts) if config.adapt == "pcp" else [],
            bench.train.labels.tolist() if config.adapt == "pcp" else [],
            sorted(texts)[: pool.MIN_POOL_TEXTS],
        )[:24]
        self.memory: dict[str, Any] = bench.adapted
        self.folder = Path(bench.checkpoint_dir) / "adapted" if bench.checkpoint_dir else None

    def read(self) -> tuple[Weights, dict] | None:
        from safetensors.numpy import load_file

        if self.name in self.memory:
            return self.memory[self.name]
        if self.folder is None:
            return None
        try:
            notes = json.loads((self.folder / f"{self.name}.json").read_text(encoding="utf-8"))
            self.memory[self.name] = load_file(self.folder / f"{self.name}.safetensors"), notes
        except Exception:  # absent or half written: the pool is read again
            return None
        return self.memory[self.name]

    def write(self, arrays: Weights, notes: dict) -> None:
        from safetensors.numpy import save_file

        self.memory[self.name] = arrays, notes
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self.folder / f".writing-{self.name}"
        save_file(arrays, beside)
        beside.replace(self.folder / f"{self.name}.safetensors")
        # The line that vouches for the arrays comes last.
        (self.folder / f"{self.name}.json").write_text(json.dumps(notes), encoding="utf-8")
