"""Notes after a training of the probe: how good it is, how much it still changes, what more labels would bring."""

from __future__ import annotations

import dataclasses

import numpy as np

from labeling.models import Project
from labeling.services import learning as notes
from labeling.services.learning import Learning, Round
from labeling.services.scores import Scores
from training.fewshot import evaluation, stopping
from training.fewshot import probe as probes
from training.fewshot.probe import Probe

WATCHED = 2_000


def note(
    project: Project,
    start: Probe,
    vectors: np.ndarray,
    targets: np.ndarray,
    may_measure: np.ndarray,
    scores: Scores,
) -> Learning | None:
    """Add a round, where enough was labelled since the last one, and judge anew. Returns the note that was written.

    `vectors`, `targets`, `may_measure`: what was learnt; `scores`: what it then said of the pool."""
    before = notes.read(project.pk) or Learning()
    last_at = before.newest.n_labelled if before.newest else 0
    n = scores.n_labelled
    if n < 2 or not stopping.is_due(n, last_at, share=0.05, fewest=5):
        return None
    if n < last_at:  # labels went away: what was seen before says nothing of now
        before = Learning()
    agreement, watched, answers = _agreement(before, scores)
    rounds = (*before.rounds, Round(n, scores.held_out, scores.n_held_out, agreement))
    learning = dataclasses.replace(before, rounds=rounds, watched_ids=watched, answers=answers)
    if stopping.is_due(n, before.curve_at, share=0.1, fewest=15):
        learning = _with_curve(learning, start, vectors, targets, may_measure, n)
    verdict = stopping.judge(
        n_labelled=n,
        n_labels=len(scores.label_ids),
        gain=learning.gain,
        low=learning.low,
        high=learning.high,
        agreements=[one.agreement for one in rounds if one.agreement is not None],
    )
    learning = dataclasses.replace(
        learning, enough=verdict.enough, agreement=verdict.agreement, more=stopping.MORE
    )
    notes.write(project.pk, learning)
    return learning


def _agreement(before: Learning, scores: Scores) -> tuple[float | None, np.ndarray, np.ndarray]:
    """κ with the last round on the texts that both answered, and the texts to watch with their present answers.

    Watched texts that were labelled since are gone from the pool; they are replaced once a quarter is."""
    label_ids = np.array(scores.label_ids, dtype=np.int64)
    agreement, now = None, np.zeros(0, dtype=np.int64)
    places = scores.rows_of(int(one) for one in before.watched_ids)
    still = np.array([int(one) in places for one in before.watched_ids], dtype=bool)
    kept = before.watched_ids[still]
    if len(kept):
        now = label_ids[scores.proba[[places[int(one)] for one in kept]].argmax(axis=1)]
    if len(kept) >= 20:
        agreement = stopping.kappa(before.answers[still], now)
    if len(kept) < 0.75 * min(WATCHED, len(scores)):
        random = np.random.default_rng(0)
        rows = np.sort(random.choice(len(scores), min(WATCHED, len(scores)), replace=False))
        return agreement, np.array(scores.example_ids[rows]), label_ids[scores.proba[rows].argmax(axis=1)]
    return agreement, kept, now


def _with_curve(
    learning: Learning,
    start: Probe,
    vectors: np.ndarray,
    targets: np.ndarray,
    may_measure: np.ndarray,
    n_labelled: int,
) -> Learning:
    sizes = stopping.curve_sizes(len(targets))
    if len(sizes) < 3:
        return learning
    found = probes.learning_curve_points(start, vectors, targets, sizes, may_measure=may_measure, repeats=6)
    if any(len(group) < 3 for group in found):
        return learning
    curve = evaluation.learning_curve(sizes, found, stopping.MORE, at=n_labelled)
    return dataclasses.replace(
        learning,
        gain=curve["gain"],
        low=curve["interval"][0],
        high=curve["interval"][1],
        curve_at=n_labelled,
        curve=tuple(zip(curve["sizes"], curve["means"], strict=True)),
    )
