"""Method auto: a few methods held against each other on texts they did not learn from, within a time budget."""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from training.fewshot import adapt, distil, evaluation
from training.fewshot.backbones import sentence_prefix
from training.fewshot.bench import Order, within
from training.fewshot.data import Split, dev_is_too_small, empty_split, is_pair
from training.fewshot.errors import BackboneError, TemplateError, UnsupportedMethod, VerbalizerError
from training.fewshot.runner import given_labels

if TYPE_CHECKING:
    from training.fewshot.model import FittedModel

# In the order in which they are tried: the seconds-fast probe gives a floor, then the usual choice for such a backbone
# (the cloze is at home on a masked language model, label sentences on a sentence encoder), then the others.
FOR_SENTENCE_ENCODERS = ("probe", "label_sentence", "prompt", "finetune", "mixture")
FOR_LANGUAGE_MODELS = ("probe", "prompt", "label_sentence", "finetune", "mixture")
# Where every text is a pair, what compares the two comes first.
FOR_PAIRS = ("probe", "pair", "label_sentence", "prompt", "finetune")
DEFAULT_BUDGET_SECONDS = 180.0
# A first training also pays for imports; the next ones cost about this share of it.
LATER_SHARE = 0.9


def fit_auto(order: Order, fit: Callable[[Order], FittedModel]) -> FittedModel:
    """The FittedModel of the method that answers held-out texts best; `notes["auto"]` tells all that was tried.

    Each candidate learns from train and answers dev. The usual choice for the backbone is left only for a method that is
    better by more than a standard error of their paired difference: the best of five on a few dozen texts is often best
    by luck. While the two cannot be told apart and time is left, both learn from dev and answer train as well. Where dev
    is too small, half of train stands in for it and the chosen method is trained again on all of train. With `adapt`,
    the chosen method is also tried on the backbone as it came; a method that is named is the only candidate, and tried so.
    With `use_pool`, it then learns from the pool in the time that is left.

    `fit` is `methods.fit_method`. Repeating what `notes["auto"]` names with the same seed gives the same model; the timed
    search itself need not come out the same twice.
    """
    order = order.but(settled=True)
    search = _Search(order, fit)
    best = search.as_it_came(search.best())
    reads_pool = order.config.use_pool and best.method in distil.METHODS
    model = best.model
    if reads_pool or not search.has_dev:
        config = order.config.replace(method=best.method, adapt=best.adapt, use_pool=reads_pool)
        model = fit(order.but(config=config, spent=search.seconds))
    model.notes["auto"] = {"method": best.method, **search.told}
    return model


def asks_dev_of_the_reading(order: Order) -> bool:
    """Whether dev is to say if reading the pool has served a method that was chosen by hand: in preset best, where dev
    is large enough to say it."""
    config = order.config
    return (
        config.preset == "best"
        and config.adapt != "none"
        and not order.settled
        and not dev_is_too_small(order.data, config.task)
    )


@dataclasses.dataclass(eq=False)
class Trial:
    """What is known of one candidate: `right[i]` whether held-out text i was answered rightly, and its log loss.

    `kept`: its model, as long as it may be chosen.
    """

    method: str
    adapt: str
    kept: FittedModel | None
    right: np.ndarray
    loss: float
    seconds: float
    accuracies: list[float]

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())

    @property
    def model(self) -> FittedModel:
        if self.kept is None:
            raise RuntimeError(f"the model of {self.method} was let go")
        return self.kept


class _Search:
    """The trials of one run. `told`: what `notes["auto"]` says of them."""

    def __init__(self, order: Order, fit: Callable[[Order], FittedModel]) -> None:
        config, data, backbone = order.config, order.data, order.backbone
        if config.adapt != "none" and (problem := adapt.obstacle(backbone, data.pool)):
            order.emit(problem)
            config = config.replace(adapt="none")
        self.order, self.fit = order.but(config=config), fit
        self.began = time.monotonic() - order.spent
        self.attempts = 0
        self.budget = config.time_budget_seconds or DEFAULT_BUDGET_SECONDS
        train, dev = data.train.with_labels(), data.dev.with_labels()
        self.has_dev = not dev_is_too_small(data, config.task)
        self.inside, self.outside = train, dev
        if not self.has_dev:
            first, second = next(evaluation.stratified_folds(train.labels, 2, config.seed))
            self.inside, self.outside = train.take(first), train.take(second)
        self.candidates: tuple[str, ...] = FOR_LANGUAGE_MODELS
        if sentence_prefix(backbone):
            self.candidates = FOR_SENTENCE_ENCODERS
        if all(map(is_pair, train.texts)):
            self.candidates = FOR_PAIRS
        if config.method != "auto":
            self.candidates = (config.method,)
        self.told: dict = {"held_out_texts": len(self.outside), "budget_seconds": self.budget}

    @property
    def seconds(self) -> float:
        """Of the budget, gone."""
        return time.monotonic() - self.began

    def best(self) -> Trial:
        """Tries the candidates, as far as the time goes, and chooses. Raises UnsupportedMethod where none fits."""
        trials: dict[str, Trial] = {}
        left_out: list[dict] = []
        for method in self.candidates:
            expected = LATER_SHARE * max(
                (one.seconds for name, one in trials.items() if name != "probe"), default=0.0
            )
            # Without dev, the chosen one is trained once more on twice as many texts.
            reserve = 0.0 if self.has_dev else 2 * expected
            if trials and self.seconds + expected + reserve > self.budget:
                left_out.append({"method": method, "because": "no time left"})
                continue
            try:
                trials[method] = self._attempt(method, self.order.config.adapt)
                self._drop_losers(list(trials.values()))
            except (TemplateError, VerbalizerError, BackboneError, UnsupportedMethod) as error:
                if len(self.candidates) == 1:
                    raise
                left_out.append({"method": method, "because": error.message})
        if not trials:
            raise UnsupportedMethod(
                "no method fits these labels and this template: " + left_out[0]["because"]
            )
        chosen, other, apart = self._choose(list(trials.values()))
        self.told |= {
            "because": "best held-out accuracy"
            if chosen.accuracy >= other.accuracy
            else f"the usual choice; {other.method} is not better by more than the standard error",
            "cannot_be_told_from": None if apart or other is chosen else other.method,
            "tried": {one.method: one.accuracies for one in _ranked(list(trials.values()))},
            "swapped": any(len(one.accuracies) > 1 for one in trials.values()),
            "left_out": left_out,
            "seconds": round(self.seconds, 1),
        }
        return chosen

    def as_it_came(self, best: Trial) -> Trial:
        """`best`, or the same method on the backbone that has not read the pool, where that one answers better."""
        if "adapt" not in best.model.notes or self.seconds + LATER_SHARE * best.seconds > self.budget:
            return best
        plain = self._attempt(best.method, "none")
        kept = best.accuracies[0] >= plain.accuracies[0]
        self.told |= {
            "adapt": {"kept": kept, "accuracy": best.accuracies[0], "accuracy_without": plain.accuracies[0]},
            "seconds": round(self.seconds, 1),
        }
        return best if kept else plain

    def _choose(self, trials: list[Trial]) -> tuple[Trial, Trial, bool]:
        """(the chosen one, the one it was weighed against, whether they can be told apart)."""
        ranked, usual = _ranked(trials), _usual(trials)
        best, other = ranked[0], usual if usual is not ranked[0] else ranked[min(1, len(ranked) - 1)]
        if best is other:
            return best, best, True
        apart = evaluation.compare(other.right, best.right)["tell_apart"]
        time_needed = best.seconds + other.seconds
        if not apart and self.has_dev and self.seconds + time_needed <= self.budget:
            for trial in (best, other):
                self._swap(trial)
            if other.accuracy > best.accuracy:
                best, other = other, best
            apart = evaluation.compare(other.right, best.right)["tell_apart"]
        if other is usual and not evaluation.worth_leaving(other.right, best.right):
            best, other = other, best
        return best, other, bool(apart)

    def _drop_losers(self, trials: list[Trial]) -> None:
        """Lets go of the models that can no longer be chosen: each holds a backbone of its own."""
        may_win = (_usual(trials), *_ranked(trials)[:2])
        for trial in trials:
            if trial not in may_win:
                trial.kept = None
        gc.collect()

    def _swap(self, trial: Trial) -> None:
        """Lets the candidate learn from the held-out texts and answer the others as well."""
        again = self._attempt(trial.method, trial.adapt, self.outside, self.inside, keep=False)
        trial.right = np.concatenate([trial.right, again.right])
        trial.loss = (trial.loss + again.loss) / 2
        trial.accuracies += again.accuracies

    def _attempt(
        self,
        method: str,
        reading: str,
        learn: Split | None = None,
        answer: Split | None = None,
        keep: bool | None = None,
    ) -> Trial:
        learn = self.inside if learn is None else learn
        answer = self.outside if answer is None else answer
        keep = self.has_dev if keep is None else keep
        order = self.order
        config, data, folder = order.config, order.data, order.checkpoint_dir
        self.attempts += 1
        order.emit({"type": "stage", "stage": "auto", "method": method})
        # Beyond the candidates, those that are held against each other once more.
        numbered = 1 < len(self.candidates) >= self.attempts
        part = f"auto:{self.attempts}:{len(self.candidates)}" if numbered else "auto"
        started = time.monotonic()
        empty = empty_split(data.n_labels, config.task)
        name = method if reading == config.adapt else f"{method}-as-it-came"
        model = self.fit(
            order.but(
                config=config.replace(method=method, adapt=reading, use_pool=False),
                data=dataclasses.replace(data, train=learn, dev=answer if keep else empty, test=empty),
                emit=within(order.emit, part),
                checkpoint_dir=folder / name if folder and keep else None,
                whole_checkpoints=False,
                spent=0.0,
            )
        )
        proba = model.predict_proba(answer.texts, should_stop=order.should_stop)
        found = model.evaluate(answer, proba)
        if answer.labels.ndim == 2:
            right = (given_labels(proba, model.calibration) == (answer.labels > 0)).all(axis=1)
        else:
            right = proba.argmax(axis=1) == answer.labels
        right = right.astype(float)
        seconds = time.monotonic() - started
        return Trial(method, reading, model, right, found["loss"], seconds, [round(float(right.mean()), 4)])


def _ranked(trials: list[Trial]) -> list[Trial]:
    return sorted(trials, key=lambda one: (-one.accuracy, one.loss))


def _usual(trials: list[Trial]) -> Trial:
    return next((one for one in trials if one.method != "probe"), trials[0])
