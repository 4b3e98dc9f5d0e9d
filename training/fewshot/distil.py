"""Learning from the unlabelled pool: teachers trained on the labels, one student trained on what they say of the pool.

iPET's distillation (arXiv 2001.07676) with one generation: several models from different seeds label the pool with
probabilities, their mean is the target, and a fresh model learns it beside the labelled texts. One network comes out,
so that prediction and export cost what they cost without a pool.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from training.fewshot import checkpoint, evaluation, pool
from training.fewshot.data import warning
from training.fewshot.errors import Cancelled
from training.fewshot.rates import total_steps

METHODS = ("label_sentence", "prompt", "mixture", "pair", "finetune")

# Several seeds of one start answer almost alike (see the research notes), a third one adds time alone.
TEACHERS = 2
POOL_TEXTS = 4000
POOL_PASSES = 2.0
# The labelled texts are read this often in one pass over the pool.
LABELLED_REPEATS = 3
# Dev must be this large to say whether the pool helped.
MIN_DEV_TEXTS = 20

Listener = Callable[[dict], None]


def fit_with_pool(bench, make: Callable):
    """The FittedModel of the student. `make(bench)` trains one model of the method (see `methods.py`).

    Without a pool worth reading, or without time for it, the model that `make` gives, and a warning that says so.
    """
    config = bench.config
    known = (*bench.data.train.texts, *bench.data.dev.texts, *bench.data.test.texts)
    texts = pool.choose_texts(bench.data.pool, known, config.pool_texts or POOL_TEXTS, config.seed)
    if len(texts) < pool.MIN_POOL_TEXTS:
        bench.warn(
            warning(
                "pool_too_small",
                f"the pool has {len(texts)} usable texts, fewer than {pool.MIN_POOL_TEXTS}: trained without it",
                n=len(texts),
            )
        )
        return make(bench)
    wanted = pool.Plan(
        config.ensemble_size if config.ensemble_size > 1 else TEACHERS, len(texts), POOL_PASSES
    )
    probabilities, on_dev, plan = _teach(bench, make, texts, wanted)
    if not plan.pool_texts:
        bench.warn(
            warning("no_time_for_pool", "the time budget leaves no room for the pool: trained without it")
        )
        return make(bench)
    texts = texts[: plan.pool_texts]
    train = bench.train
    lessons = pool.lessons(
        train.texts,
        train.labels,
        bench.data.n_labels,
        texts,
        pool.taught(probabilities),
        label_smoothing=config.label_smoothing,
        repeats=LABELLED_REPEATS,
    )
    steps = total_steps(
        config.replace(max_steps=-1, num_train_epochs=plan.passes), len(lessons.texts) * config.rows_per_text
    )
    bench.notes["pool"] = {
        "texts": len(texts),
        "teachers": plan.teachers,
        "passes": plan.passes,
        "agreement": round(pool.agreement(probabilities), 4),
        "shares": [round(float(share), 4) for share in lessons.targets[-len(texts) :].mean(axis=0)],
    }
    student = bench.but(
        config=config.replace(
            max_steps=max(steps, total_steps(config, len(train))),
            eval_steps=min(config.eval_steps, steps),
            save_steps=_spread(config.save_steps, steps),
        ),
        lessons=lessons,
    )
    model = make(student)
    model.config = config
    return model if _learnt(bench, model, on_dev[0]) else make(bench)


def _learnt(bench, model, teacher: np.ndarray) -> bool:
    """Whether the student is to be kept: not when the first teacher, which is the model without the pool, is as
    accurate on dev. Where dev is too small to say, or for multi-label, the student is kept.

    Measured reason in docs/research/2026-11-few-shot.md: on a good sentence encoder the pool is as likely to cost
    accuracy as to give it.
    """
    dev = bench.dev
    if bench.multi_label or len(dev) < MIN_DEV_TEXTS:
        return True
    own = model.predict_proba(dev.texts, should_stop=bench.should_stop).argmax(axis=1) == dev.labels
    before = teacher.argmax(axis=1) == dev.labels
    kept = bool(own.mean() > before.mean())
    compared = evaluation.compare(before, own)
    bench.notes["pool"] |= {
        "kept": kept,
        "dev_accuracy": round(float(own.mean()), 4),
        "dev_accuracy_without": round(float(before.mean()), 4),
        "tell_apart": compared["tell_apart"],
    }
    if not kept:
        bench.warn(
            warning(
                "pool_did_not_help",
                f"on dev, learning from the pool gave {own.mean():.1%} and doing without {before.mean():.1%}: "
                "trained without the pool",
            )
        )
    return kept


def _teach(
    bench, make: Callable, texts: tuple[str, ...], wanted: pool.Plan
) -> tuple[list[np.ndarray], list[np.ndarray], pool.Plan]:
    """What each teacher says of the pool texts that the plan keeps and of dev: arrays [n, labels], calibrated."""
    config, plan = bench.config, wanted
    found: list[np.ndarray] = []
    on_dev: list[np.ndarray] = []
    began = time.monotonic()
    for number in range(wanted.teachers):
        if number >= plan.teachers:
            break
        if bench.should_stop():
            raise Cancelled(f"stopped before teacher {number + 1} of {plan.teachers}")
        own = config.replace(
            # The first teacher is the model that there would be without a pool.
            seed=(config.seed + 7919 * number) % (2**31 - 1),
            eval_steps=0,
            save_steps=0,
            load_best_model_at_end=False,
            early_stopping_patience=None,
        )
        answers = _Answers(bench, own, texts)
        kept = answers.read()
        if kept is not None:
            # A resumed run keeps the plan that it made by the clock the first time.
            proba, dev, plan = kept
            found.append(proba)
            on_dev.append(dev)
            continue
        emit = _as_part(bench.emit, number, plan.teachers)
        started = time.monotonic()
        teacher = make(
            bench.but(
                config=own,
                emit=emit,
                checkpoint_dir=None,
                whole_checkpoints=False,
                notes={},
                seconds={},
            )
        )
        if number == 0:
            rows = teacher.notes.get("steps", 0) * own.train_batch_size * own.gradient_accumulation_steps
            labelled = LABELLED_REPEATS * len(bench.train)
            plan = pool.plan_for(
                config.time_budget_seconds,
                spent_seconds=time.monotonic() - bench.began,
                teacher_seconds=time.monotonic() - started,
                rows_per_second=max(rows, 1) / max(teacher.seconds.get("train", 0.0), 1e-3),
                wanted=wanted,
                labelled_rows=labelled,
                rows_per_text=len(teacher.encoding["views"]),
            )
            if not plan.pool_texts:
                return [], [], plan
        bench.emit({"type": "stage", "stage": "pool", "step": number + 1, "total": plan.teachers})
        proba = teacher.predict_proba(
            texts[: plan.pool_texts],
            on_event=_as_part(bench.emit, number, plan.teachers, "pool"),
            should_stop=bench.should_stop,
        )
        dev = teacher.predict_proba(bench.dev.texts)
        answers.write(proba, dev, plan)
        found.append(proba)
        on_dev.append(dev)
        del teacher
        gc.collect()
    bench.seconds["teach"] = time.monotonic() - began
    return found, on_dev, plan


class _Answers:
    """A teacher's answers on disk beside the checkpoints, so that a resumed run does not train it again."""

    def __init__(self, bench, config, texts: tuple[str, ...]) -> None:
        self.folder = Path(bench.checkpoint_dir) / "teachers" if bench.checkpoint_dir else None
        settings = config.to_json()
        for name in (
            "logging_steps",
            "time_budget_seconds",
            "save_total_limit",
            "ensemble_size",
            "pool_texts",
        ):
            settings.pop(name)
        train = bench.train
        self.n_dev = len(bench.dev)
        self.name = checkpoint.fingerprint(
            settings,
            bench.backbone.hash,
            [label.to_json() for label in bench.data.labels],
            list(train.texts),
            train.labels.tolist(),
            list(bench.dev.texts),
            list(texts[: pool.MIN_POOL_TEXTS]),
        )[:24]

    def read(self) -> tuple[np.ndarray, np.ndarray, pool.Plan] | None:
        """float32 [n, labels] of the pool and of dev, and their plan; None where there are none, or not whole ones."""
        if self.folder is None:
            return None
        try:
            described = json.loads((self.folder / f"{self.name}.json").read_text(encoding="utf-8"))
            found = np.load(self.folder / f"{self.name}.npy", allow_pickle=False)
            plan = pool.Plan(**described["plan"])
            first, rest = found[: plan.pool_texts], found[plan.pool_texts :]
        except (OSError, ValueError, EOFError, KeyError, TypeError):
            return None
        return (first, rest, plan) if len(rest) == self.n_dev else None

    def write(self, answers: np.ndarray, dev: np.ndarray, plan: pool.Plan) -> None:
        """The array first, then the line that vouches for it."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, put in (
            (f"{self.name}.npy", lambda path: np.save(path, np.concatenate([answers, dev]))),
            (
                f"{self.name}.json",
                lambda path: path.write_text(json.dumps({"plan": dataclasses.asdict(plan)})),
            ),
        ):
            beside = self.folder / f".writing-{name}"
            put(beside)
            beside.replace(self.folder / name)


def _as_part(emit: Listener, number: int, parts: int, stage: str = "teach") -> Listener:
    """A listener that tells one teacher's progress as a part of all teachers'; its curve stays untold."""

    def listen(event: dict) -> None:
        kind = event.get("type")
        if kind == "warning" or event.get("stage") == "adapt":
            emit(event)
        elif kind == "progress" and event["stage"] in ("train", "predict"):
            total = max(1, event["total"])
            # The teachers to come take about as long as this one.
            eta = event["eta_seconds"]
            done = event["step"] / total
            if 0 < done < 1:
                eta += (parts - number - 1) * eta / (1 - done)
            emit(
                {
                    "type": "progress",
                    "stage": stage,
                    "step": number * total + event["step"],
                    "total": parts * total,
                    "eta_seconds": round(eta, 1),
                }
            )
        elif kind == "stage" and event["stage"] == "train":
            emit({"type": "stage", "stage": stage, "step": number + 1, "total": parts})

    return listen


def _spread(save_steps: int, steps: int) -> int:
    """Checkpoints where any were asked for: at least four over the student's run."""
    return min(save_steps, max(1, math.ceil(steps / 4))) if save_steps else 0
