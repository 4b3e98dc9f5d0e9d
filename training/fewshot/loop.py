"""The training loop. `Loop.run` is the loop itself; what it does at each step stands in small pieces below it."""

from __future__ import annotations

import contextlib
import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import paddle
from paddle import nn

from training.fewshot import checkpoint, distributed, loop_state, losses
from training.fewshot.batching import Watch, epoch_batches, pad_hidden
from training.fewshot.config import FewShotConfig
from training.fewshot.encoder_layer import NoiseSource
from training.fewshot.errors import Cancelled, TrainingDiverged
from training.fewshot.forward import States, read_states
from training.fewshot.rates import parameter_groups, schedule, total_steps
from training.fewshot.runner import TextEncoder
from training.fewshot.step import make_step
from training.fewshot.text_network import TextNetwork
from training.fewshot.used_words import UsedWords

Listener = Callable[[dict], None]
HALF_PRECISION: dict[str, Literal["float16", "bfloat16"]] = {"fp16": "float16", "bf16": "bfloat16"}


class Loop:
    """Trains a network on encoded rows.

    `targets`: int64 [rows] class ids, or float32 [rows, labels] (soft targets, or 0/1 for multi-label). `evaluate`
    gives {"accuracy", "macro_f1", "loss", …} on dev and is called with the whole vocabulary in place.
    `states`, of these very rows, saves reading them again where that many layers are frozen.
    `run_id` is the fingerprint by which a checkpoint knows its run. With one seed, the numbers are the same whether
    the run was resumed or not: order, dropout and noise depend on (seed, step) alone.
    """

    # Whether what frozen layers give may be computed once for all.
    caches = True
    # Ids that rows come to use besides their own.
    also_used: tuple[int, ...] = ()

    def __init__(
        self,
        network: TextNetwork,
        config: FewShotConfig,
        encoder: TextEncoder,
        rows: Sequence[dict],
        targets: np.ndarray,
        *,
        multi_label: bool = False,
        class_weights: np.ndarray | None = None,
        evaluate: Callable[[], dict] | None = None,
        checkpoint_dir: str | Path | None = None,
        run_id: str = "",
        on_event: Listener | None = None,
        should_stop: Callable[[], bool] | None = None,
        save_model: Callable[[Path], None] | None = None,
        stage: str = "train",
        states: States | None = None,
    ) -> None:
        self.network = network
        self.config = config
        self.encoder = encoder
        self.rows = list(rows)
        self.lengths = [len(row["input_ids"]) for row in self.rows]
        self.targets = targets
        self.multi_label = multi_label
        self.class_weights = (
            None if class_weights is None else paddle.to_tensor(class_weights.astype(np.float32))
        )
        self.evaluate = evaluate
        self.checkpoint_dir = checkpoint_dir
        self.run_id = run_id
        self.emit = on_event or (lambda event: None)
        self.should_stop = should_stop or (lambda: False)
        self.save_model = save_model
        self.stage = stage
        self.states = states
        self.total = total_steps(config, len(self.rows))
        self.factor = schedule(config, self.total)
        self.step = 0
        self.best: tuple[float, int] | None = None
        self.best_arrays: dict[str, np.ndarray] | None = None
        self.since_best = 0
        self.history: list[dict] = []
        self._prepare()

    def run(self) -> None:
        """Trains to the end (or to an early stop) and leaves the network with the weights to keep."""
        self._resume()
        config, began, first = self.config, time.monotonic(), self.step
        running: list[float] = []
        last_progress = 0.0
        for batches in self._updates(self.step):
            if self.should_stop():
                raise Cancelled(f"stopped after {self.step} of {self.total} steps")
            running.append(self._update(batches))
            self.step += 1
            seconds = time.monotonic() - began
            if seconds - last_progress > 0.5 or self.step == self.total or self.step == first + 1:
                last_progress = seconds
                eta = seconds / (self.step - first) * (self.total - self.step)
                self.emit(
                    {
                        "type": "progress",
                        "stage": self.stage,
                        "step": self.step,
                        "total": self.total,
                        "eta_seconds": round(eta, 1),
                    }
                )
            if self.step % config.logging_steps == 0 or self.step == self.total:
                self._metric(
                    loss=sum(running) / len(running), learning_rate=self._rate() * config.learning_rate
                )
                running = []
            if self._due(config.eval_steps) and self.evaluate and not self._improves(self.evaluate):
                break
            if self._due(config.save_steps) and self.checkpoint_dir:
                self._save(self.checkpoint_dir)
        self._finish()

    def shorten(self, total: int) -> None:
        """Ends the run, and its schedule, after `total` updates."""
        self.total = total
        self.factor = schedule(self.config, total)

    def _updates(self, done: int) -> Iterator[list[np.ndarray]]:
        """The micro-batches of each update from number `done` on."""
        accumulate = self.config.gradient_accumulation_steps
        waiting: list[np.ndarray] = []
        number = epoch = 0
        while number < self.total:
            for batch in epoch_batches(self.lengths, self.config.train_batch_size, self.config.seed, epoch):
                waiting.append(batch)
                if len(waiting) < accumulate:
                    continue
                if number >= done:
                    yield waiting
                number, waiting = number + 1, []
                if number >= self.total:
                    return
            epoch += 1

    def _update(self, batches: list[np.ndarray]) -> float:
        paddle.seed((self.config.seed * 1_000_003 + self.step * 7919 + 1) % (2**31 - 1))
        self.network.train()
        total = 0.0
        for part, batch in enumerate(batches):
            mine, weight = distributed.share_of(batch), distributed.weight_of(batch) / len(batches)
            loss = self._loss(mine, [part]) * weight
            value = distributed.average(float(loss))
            if not math.isfinite(value):
                raise TrainingDiverged(f"the loss is {value} at step {self.step + 1}", step=self.step + 1)
            total += value
            self.scaler.scale(loss).backward()
            if self.config.fgm_epsilon:
                with self._disturbed_words():
                    self.scaler.scale(self._loss(mine, [part, 1]) * weight).backward()
        distributed.average_gradients(list(self.trained.values()))
        self.optimizer.set_lr(self._rate())
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.clear_grad()
        if self.config.ema_decay:
            decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
            with paddle.no_grad():
                for name, parameter in self.trained.items():
                    self.ema[name] = self.ema[name] * decay + parameter * (1.0 - decay)
        return total

    def _loss(self, batch: np.ndarray, draw: list[int]) -> paddle.Tensor:
        """The loss of a micro-batch; `draw` numbers its dropout within the update."""
        config = self.config
        chosen = np.concatenate([batch, batch]) if config.use_rdrop else batch
        targets = paddle.to_tensor(self.targets[chosen])
        with paddle.amp.auto_cast(
            enable=self.autocast is not None, dtype=self.autocast or "float16", level="O1"
        ):
            logits, features = self.forward(*self._arrays(chosen, draw))
        logits = logits.astype("float32")
        loss = losses.classification_loss(
            logits,
            targets,
            multi_label=self.multi_label,
            label_smoothing=config.label_smoothing if targets.ndim == 1 or self.multi_label else 0.0,
            class_weights=self.class_weights,
        )
        if config.use_rdrop:
            # One pass over the doubled batch: dropout differs between the halves.
            first, second = logits[: len(batch)], logits[len(batch) :]
            diverge = losses.bernoulli_divergence if self.multi_label else losses.rdrop_divergence
            loss = loss + config.alpha_rdrop * diverge(first, second)
        if config.use_rgl and targets.ndim == 1:
            vectors = features.astype("float32").reshape([len(chosen), -1])
            loss = loss + config.alpha_rgl * losses.relation_loss(vectors, targets)
        return loss

    def _arrays(self, chosen: np.ndarray, draw: list[int]) -> list[paddle.Tensor | None]:
        cached = [self.states.rows[i] for i in chosen] if self.states else None
        return self._arrays_of([self.rows[i] for i in chosen], draw, cached)

    def _arrays_of(
        self, rows: list[dict], draw: list[int], cached: list[np.ndarray] | None = None
    ) -> list[paddle.Tensor | None]:
        arrays = self.encoder.collate(rows)
        if cached is not None:
            start = pad_hidden(cached)
        else:
            start = self.words.padded(arrays["input_ids"], arrays["attention_mask"])
        masks = arrays.get("mask_positions")
        if masks is None:
            masks = np.zeros((len(rows), 1), dtype=np.int64)
        names = ("token_type_ids", "position_ids", "attention_mask")
        noise: tuple[np.ndarray | None, ...] = (None, None)
        if self.noise is not None:
            numbers = [self.config.seed, self.step, *draw, distributed.rank()]
            noise = self.noise.draw(numbers, *start.shape[:2])
        return [
            None if value is None else paddle.to_tensor(value)
            for value in (start, *(arrays[name] for name in names), masks, *noise)
        ]

    def _prepare(self) -> None:
        """Freezes, caches, cuts the vocabulary to what the rows use, and makes optimiser and step."""
        config, network = self.config, self.network
        network.recompute = config.recompute
        frozen = config.frozen_layers(network.depth)
        if frozen:
            for parameter in network.ernie.embeddings.parameters():
                parameter.stop_gradient = True
            for layer in network.ernie.encoder.layers[:frozen]:
                for parameter in layer.parameters():
                    parameter.stop_gradient = True
        if config.freeze_dropout:
            for layer in network.sublayers():
                if isinstance(layer, nn.Dropout):
                    layer.p = 0.0
                elif isinstance(layer, nn.MultiHeadAttention):
                    layer.dropout = 0.0
        # Frozen layers run once, without dropout; soft prompts below them would need their gradient.
        self.first_layer = frozen if network.soft is None and self.caches else 0
        if not self.first_layer:
            self.states = None
        elif self.states is None or self.states.layers != frozen:
            watch = Watch("prepare", self.emit, self.should_stop)
            self.states, _ = read_states(network, self.encoder, self.rows, frozen, watch=watch)
        self.words = UsedWords(network, self.rows, (self.encoder.pad_id, *self.also_used))
        self.rows = self.words.rows
        self.trained = {name: p for name, p in network.named_parameters() if not p.stop_gradient}
        groups = parameter_groups(config, network, self.trained)
        clip = nn.ClipGradByGlobalNorm(config.max_grad_norm) if config.max_grad_norm else None
        # The base rate carries the schedule; each group's own rate multiplies it.
        self.optimizer = paddle.optimizer.AdamW(1.0, parameters=groups, grad_clip=clip)
        on_gpu = paddle.get_device().startswith("gpu")
        self.autocast = HALF_PRECISION.get(config.precision) if on_gpu else None
        self.scaler = paddle.amp.GradScaler(enable=self.autocast == "float16")
        self.ema = {name: p.clone().detach() for name, p in self.trained.items()} if config.ema_decay else {}
        own_dropout = on_gpu or config.freeze_dropout
        self.noise = None if own_dropout else NoiseSource(network.ernie, self.first_layer)
        self.forward = make_step(
            network, self.first_layer, self.noise, static=config.to_static and not config.recompute
        )

    @contextlib.contextmanager
    def _disturbed_words(self) -> Iterator[None]:
        """FGM (arXiv 1605.07725): the word embeddings moved by ε along their gradient."""
        words = self.network.words
        with paddle.no_grad():
            if words.grad is None:
                yield
                return
            kept = words.clone()
            norm = paddle.sqrt((words.grad**2).sum())
            words.set_value(words + self.config.fgm_epsilon * words.grad / (norm + 1e-12))
        try:
            yield
        finally:
            words.set_value(kept)

    def _rate(self) -> float:
        return self.factor(self.step)

    def _due(self, every: int) -> bool:
        return bool(every) and (self.step % every == 0 or self.step == self.total)

    def _metric(self, **values: float) -> None:
        epoch = (
            self.step
            * self.config.gradient_accumulation_steps
            * self.config.train_batch_size
            / len(self.rows)
        )
        entry = {"type": "metric", "step": self.step, "epoch": round(epoch, 3), **values}
        self.history.append(entry)
        self.emit(entry)

    def _improves(self, evaluate: Callable[[], dict]) -> bool:
        """Evaluates on dev; False when patience is at its end."""
        config = self.config
        with self._averaged(), self.words.whole_table():
            self.network.eval()
            found = evaluate()
        self._metric(**{f"dev_{name}": value for name, value in found.items()})
        score = (
            -found["loss"] if config.metric_for_best_model == "loss" else found[config.metric_for_best_model]
        )
        if self.best is None or score > self.best[0]:
            self.best, self.since_best = (score, self.step), 0
            if config.load_best_model_at_end:
                with self._averaged():
                    self.best_arrays = {name: p.numpy().copy() for name, p in self.trained.items()}
        else:
            self.since_best += 1
        return config.early_stopping_patience is None or self.since_best < config.early_stopping_patience

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """The moving average of the weights in place of the weights, where one is kept."""
        kept = {name: p.clone() for name, p in self.trained.items()} if self.ema else {}
        for name, value in self.ema.items():
            self.trained[name].set_value(value)
        try:
            yield
        finally:
            for name, value in kept.items():
                self.trained[name].set_value(value)

    def _save(self, folder: str | Path) -> None:
        if distributed.rank() == 0:
            self._write(folder)
        distributed.wait()

    def _write(self, folder: str | Path) -> None:
        arrays = loop_state.to_arrays(self.trained, self.ema, self.best_arrays, self.optimizer)
        state = {"best": self.best, "since_best": self.since_best, "history": self.history}
        checkpoint.write(
            folder,
            checkpoint.Checkpoint(self.step, arrays, state),
            self.run_id,
            keep=self.config.save_total_limit,
            also=self._save_whole,
        )
        self.emit({"type": "checkpoint", "step": self.step})

    def _save_whole(self, folder: Path) -> None:
        if self.save_model is not None:
            with self._averaged(), self.words.whole_table():
                self.save_model(folder)

    def _resume(self) -> None:
        if not self.checkpoint_dir:
            return
        found, damaged = checkpoint.newest(self.checkpoint_dir, self.run_id)
        for path in damaged:
            self.emit(
                {
                    "type": "warning",
                    "code": "checkpoint_damaged",
                    "message": f"{path.name} is damaged and was passed over",
                }
            )
        if found is None:
            return
        self.best_arrays = loop_state.put_back(found.arrays, self.trained, self.ema, self.optimizer)
        self.step = found.step
        best = found.state["best"]
        self.best = (best[0], best[1]) if best else None
        self.since_best = found.state["since_best"]
        self.history = found.state["history"]
        self.emit({"type": "stage", "stage": "resume", "step": self.step})

    def _finish(self) -> None:
        for name, average in self.ema.items():
            self.trained[name].set_value(average)
        for name, best in (self.best_arrays or {}).items():
            self.trained[name].set_value(best)
        self.words.put_back()
        self.network.recompute = False
        self.network.eval()
        del self.forward, self.optimizer
        if self.config.to_static:
            # Paddle keeps what a static graph ran with, 0.3 GB a training, until it is told.
            gc.collect()
            paddle.base.core.clear_executor_cache()
