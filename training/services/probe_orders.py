"""Rankings of the pool after each training of the probe: what comes next by each order, written as files."""

from __future__ import annotations

import numpy as np

from labeling.models import Project
from labeling.services import queue_orders
from labeling.services.queue_orders import WHY, Ranking
from labeling.services.scores import Scores
from training.fewshot import ranking
from training.fewshot.ranking import Pool


def write_orders(project: Project, scores: Scores, vectors: np.ndarray, rows: np.ndarray, known: np.ndarray,
                 counts: np.ndarray) -> None:  # fmt: skip
    """Write every order of `queue_orders.ORDERS`.

    `scores` are those of `rows` of the index `vectors`, in this order; `known` (m, H): vectors of labelled texts;
    `counts` (labels,): how many there are of each label."""
    proba = np.asarray(scores.proba, dtype=np.float32)
    disagreement = np.zeros(len(proba)) if scores.disagreement is None else scores.disagreement.astype(float)
    pool = Pool(proba, disagreement, vectors, known, counts, rows, scores.multi_label)
    orders = {name: ranking.order(name, pool) for name in ranking.NAMES}
    leading = ranking.leading(
        accuracy=scores.held_out,
        n_held_out=scores.n_held_out,
        baseline=scores.baseline,
        n_labels=len(counts),
    )
    for name, order in {**orders, "auto": orders[leading]}.items():
        why = leading if name == "auto" else name
        queue_orders.write(project.pk, _ranking(name, why, order, scores, proba))


def _ranking(name: str, why: str, order: np.ndarray, scores: Scores, proba: np.ndarray) -> Ranking:
    chosen = proba[order]
    best = np.argsort(-chosen, axis=1, kind="stable")[:, :2]
    named = best.shape[1]
    label_ids = np.full((len(order), 2), -1, dtype=np.int64)
    shares = np.zeros((len(order), 2), dtype=np.float16)
    label_ids[:, :named] = np.array(scores.label_ids, dtype=np.int64)[best]
    shares[:, :named] = np.take_along_axis(chosen, best, axis=1)
    return Ranking(
        name,
        np.asarray(scores.example_ids)[order],
        np.full(len(order), WHY.index(why), dtype=np.uint8),
        label_ids,
        shares,
        scores.n_labelled,
    )
