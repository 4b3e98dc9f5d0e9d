"""What is asked of a method, and what every method works with."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self

from training.fewshot.backbones import Backbone, sentence_prefix
from training.fewshot.batching import Watch
from training.fewshot.config import FewShotConfig
from training.fewshot.data import FewShotData
from training.fewshot.pool import Lessons
from training.fewshot.template import Template, parse
from training.fewshot.tokenization import load_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from training.fewshot.forward import States
    from training.fewshot.model import FittedModel

Listener = Callable[[dict], None]


@dataclasses.dataclass(eq=False)
class Order:
    """A training that is asked for: settings, data, backbone and the way to speak (see `model.fit`).

    `adapted`: backbones that have read the pool, by what they read (`adapt`), shared by all models of one run. `spent`:
    seconds of the time budget that are gone already. `as_asked`: what makes of a model the one that the caller asked for,
    where the task was told in another way (see `paths`). `settled`: method and reading of the pool are chosen, there is nothing
    to compare.
    """

    config: FewShotConfig
    data: FewShotData
    backbone: Backbone
    emit: Listener = lambda event: None
    should_stop: Callable[[], bool] = lambda: False
    checkpoint_dir: Path | None = None
    whole_checkpoints: bool = False
    adapted: dict = dataclasses.field(default_factory=dict)
    spent: float = 0.0
    as_asked: Callable[[FittedModel], FittedModel] = lambda model: model
    settled: bool = False

    def but(self, **changes) -> Self:
        """The same with other values."""
        return dataclasses.replace(self, **changes)


def within(emit: Listener, part: str) -> Listener:
    """A listener for a training inside another: its stages and progress carry `part`, unless they carry one already."""

    def told(event: dict) -> None:
        if event.get("type") in ("stage", "progress"):
            event = {"part": part, **event}
        emit(event)

    return told


@dataclasses.dataclass(eq=False)
class Bench(Order):
    """An order in work: `config` may have been settled further; the rest is what was learnt and said on the way."""

    tokenizer: Tokenizer = dataclasses.field(init=False)
    notes: dict = dataclasses.field(default_factory=dict)
    seconds: dict = dataclasses.field(default_factory=dict)
    warnings: list[dict] = dataclasses.field(default_factory=list)
    # What the loop trains on where that is not the training texts with their labels: a student's lessons.
    lessons: Lessons | None = None
    # What the frozen layers made of the training texts, one row a text, where it is known already.
    states: States | None = None
    # When the time budget began to run, by time.monotonic.
    began: float = 0.0

    def __post_init__(self) -> None:
        self.began = self.began or time.monotonic() - self.spent
        self.tokenizer = load_tokenizer(self.backbone.path)
        self.train = self.data.train.with_labels()
        self.dev = self.data.dev.with_labels()

    @classmethod
    def of(cls, order: Order) -> Bench:
        """A bench for `order`."""
        return cls(**vars(order))

    @property
    def multi_label(self) -> bool:
        return self.config.task != "single"

    @property
    def max_length(self) -> int:
        return min(self.config.max_seq_length, int(self.backbone.config["max_position_embeddings"]))

    @property
    def prefix(self) -> str:
        return sentence_prefix(self.backbone)

    def watch(self, stage: str) -> Watch:
        """The listener and the stop of this order, for a reading of the stage `stage`."""
        return Watch(stage, self.emit, self.should_stop)

    def stage(self, name: str) -> None:
        self.emit({"type": "stage", "stage": name})

    def warn(self, event: dict) -> None:
        self.warnings.append(event)
        self.emit(event)

    def own_templates(self) -> list[Template]:
        """The templates of the configuration, parsed; empty where it has none."""
        written = [text for text in (self.config.template, *self.config.extra_templates) if text]
        return [
            parse(text, soft_encoder=self.config.soft_encoder, hidden_size=self.config.encoder_hidden_size)
            for text in written
        ]
