"""The look at a project's labels that a worker takes: label errors, doubles, texts unlike all others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labeling.models import Example, Project, QualityCheck, Suspect
from labeling.models.projects import Task
from labeling.models.quality import SuspectKind
from labeling.models.texts import Split, Status
from labeling.services import embeddings
from labeling.services import quality as lists
from labeling.services.embeddings import EmbeddingIndex
from training.fewshot import probe as probes
from training.fewshot import quality
from training.services.probe import Encode, label_matrix, label_sentences, rows_in

SHOWN_AT_MOST = 500
# A model that is right half of the time doubts half of the labels: only the surest part is worth a person's time.
ERRORS_AT_LEAST, ERROR_SHARE = 10, 0.25
OUTLIERS_AT_MOST = 100
OUTLIER_SHARE = 0.01
REFERENCE_TEXTS = 20_000
REPEATS = 3
FETCH = 5_000

OnProgress = Callable[[str, int, int, float | None], None]


@dataclass(frozen=True, eq=False)
class _Labelled:
    """Labelled texts of train and pool; `targets` are columns of the project's labels, or rows of 0 and 1."""

    ids: np.ndarray
    texts: list[str]
    targets: np.ndarray


def run_check(
    check: QualityCheck, encode: Encode, *, on_progress: OnProgress, should_stop: Callable[[], bool]
) -> Callable[[], None] | None:
    """Look, and return the function that records what was found; None when told to stop.

    Texts without a vector are compared by their words alone. `encode` reads the labels' sentences."""
    project = check.project
    on_progress("prepare", 0, 0, None)
    after = lists.newest_annotation_id(project)
    multi_label = project.task == Task.MULTI_LABEL
    index = embeddings.index_of(project)
    sentences = label_sentences(project, encode)
    label_ids = sentences.label_ids
    labelled = _labelled(project, label_ids, multi_label)
    if should_stop():
        return None
    confirmed = lists.confirmed(project)
    found: list[Suspect] = []
    values: dict[str, Any] = {"n_labelled": len(labelled.ids), "skipped": ""}
    vectors, known = _vectors_of(index, labelled.ids)
    if int(known.sum()) >= lists.MIN_LABELLED and _n_used(labelled.targets[known]) >= 2:
        start = probes.untrained(sentences.vectors[0], multi_label=multi_label)
        errors, accuracy = _label_errors(
            start, labelled.targets[known], vectors[known], on_progress, should_stop
        )
        if errors is None:
            return None
        values["accuracy"] = accuracy
        most = min(SHOWN_AT_MOST, max(ERRORS_AT_LEAST, int(ERROR_SHARE * known.sum())))
        rows = np.flatnonzero(known)[errors.rows]
        for row, suggested, score in zip(rows, errors.suggested, errors.score, strict=True):
            example_id = int(labelled.ids[row])
            if example_id not in confirmed and len(found) < most:
                found.append(
                    Suspect(kind=SuspectKind.ERRORS, example_id=example_id, score=float(score),
                            suggested_label_id=label_ids[int(suggested)])
                )  # fmt: skip
    else:
        values["skipped"] = "few_labels"
    if should_stop():
        return None

    found += _duplicates(labelled, vectors, known, confirmed, multi_label, on_progress)
    if should_stop():
        return None
    outliers, n_texts = _outliers(project, index, on_progress, should_stop)
    if outliers is None:
        return None
    found += outliers
    values["n_texts"] = max(n_texts, len(labelled.ids))
    _rank(found, check, after)
    return lambda: lists.record(check, found, **values)


def _labelled(project: Project, label_ids: Sequence[int], multi_label: bool) -> _Labelled:
    column = {label_id: place for place, label_id in enumerate(label_ids)}
    examples = project.examples.for_training().filter(status=Status.LABELLED)
    ids, texts, targets = [], [], []
    for row in _keyset(examples, "pk", "text", "label_id"):
        if row[2] in column:
            ids.append(row[0])
            texts.append(row[1])
            targets.append(column[row[2]])
    found = _Labelled(np.array(ids, dtype=np.int64), texts, np.array(targets, dtype=np.int64))
    if not multi_label:
        return found
    return _Labelled(found.ids, texts, label_matrix(found.ids, found.targets, column))


def _vectors_of(index: EmbeddingIndex | None, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((n, H) float32, (n,) bool): the vectors of texts, and which texts have one."""
    if index is None or not len(ids):
        return np.zeros((len(ids), 1), dtype=np.float32), np.zeros(len(ids), dtype=bool)
    rows = rows_in(index, ids)
    known = rows >= 0
    vectors = np.zeros((len(ids), index.vectors.shape[1]), dtype=np.float32)
    vectors[known] = index.vectors[rows[known]]
    return vectors, known


def _label_errors(
    start: probes.Probe,
    targets: np.ndarray,
    vectors: np.ndarray,
    on_progress: OnProgress,
    should_stop: Callable[[], bool],
) -> tuple[quality.LabelErrors | None, float | None]:
    """Cross-validated answers, averaged over several ways to fold, against the labels given."""
    proba = np.zeros((len(targets), len(start.rows)))
    began = time.monotonic()
    for repeat in range(REPEATS):
        on_progress("cross_validate", repeat, REPEATS, _left(began, repeat, REPEATS))
        if should_stop():
            return None, None
        proba += probes.learn(start, vectors, targets, seed=repeat).held_out_proba
    proba /= REPEATS
    if targets.ndim == 2:
        right = targets[np.arange(len(targets)), proba.argmax(axis=1)] > 0
        return quality.multi_label_errors(targets, proba), float(right.mean())
    right = proba.argmax(axis=1) == targets
    return quality.label_errors(targets, proba), float(right.mean())


def _duplicates(
    labelled: _Labelled,
    vectors: np.ndarray,
    known: np.ndarray,
    confirmed: set[int],
    multi_label: bool,
    on_progress: OnProgress,
) -> list[Suspect]:
    """Each pair twice, one for either text, so that confirming one leaves the other to be decided."""
    if not len(labelled.ids):
        return []
    keys = labelled.targets
    if multi_label:
        _distinct, keys = np.unique(labelled.targets, axis=0, return_inverse=True)
    masked = np.where(known[:, None], vectors, np.nan) if known.any() else None
    began = time.monotonic()
    pairs = quality.conflicting_doubles(
        labelled.texts,
        keys.ravel(),
        masked,
        limit=SHOWN_AT_MOST // 2,
        on_step=lambda done, total: on_progress("compare", done, total, _left(began, done, total)),
    )
    found: dict[int, Suspect] = {}
    for first, second, likeness in pairs:
        for one, other in ((first, second), (second, first)):
            example_id = int(labelled.ids[one])
            if example_id not in confirmed and example_id not in found:
                found[example_id] = Suspect(
                    kind=SuspectKind.DUPLICATES,
                    example_id=example_id,
                    other_id=int(labelled.ids[other]),
                    score=likeness,
                )
    return list(found.values())


def _outliers(
    project: Project,
    index: EmbeddingIndex | None,
    on_progress: OnProgress,
    should_stop: Callable[[], bool],
) -> tuple[list[Suspect] | None, int]:
    """Of all texts of train and pool, labelled or not: the farthest from their nearest neighbours."""
    if index is None or len(index.ids) < lists.MIN_LABELLED:
        return [], 0
    ids, vectors = index.ids, index.vectors
    random = np.random.default_rng(0)
    n = len(ids)
    reference = np.sort(random.choice(n, min(REFERENCE_TEXTS, n), replace=False))
    began = time.monotonic()

    def step(done: int, total: int) -> None:
        on_progress("neighbours", done, total, _left(began, done, total))
        if should_stop():
            raise _Stopped

    try:
        strange = quality.strangeness(vectors, reference=reference, on_step=step)
    except _Stopped:
        return None, n
    typical = np.median(strange)
    spread = 1.4826 * np.median(np.abs(strange - typical))
    wanted = min(OUTLIERS_AT_MOST, max(5, int(n * OUTLIER_SHARE)))
    order = np.argsort(-strange, kind="stable")[: 4 * wanted]
    # Three robust deviations above the typical text: where no text stands apart, the list is empty.
    order = order[strange[order] > typical + 3 * spread]
    seen = lists.looked_at(project)
    allowed = _of_train_and_pool(project, (int(ids[row]) for row in order))
    rows = [row for row in order if int(ids[row]) in allowed and int(ids[row]) not in seen][:wanted]
    return [
        Suspect(kind=SuspectKind.OUTLIERS, example_id=int(ids[row]), score=float(strange[row]))
        for row in rows
    ], n


class _Stopped(Exception):
    """The work was told to stop."""


def _of_train_and_pool(project: Project, ids: Iterable[int]) -> set[int]:
    return set(
        Example.objects.filter(project=project, pk__in=list(ids), split__in=[Split.TRAIN, Split.POOL])
        .exclude(status=Status.SKIPPED)
        .values_list("pk", flat=True)
    )


def _rank(suspects: list[Suspect], check: QualityCheck, after: int) -> None:
    at: dict[str, int] = {}
    for suspect in suspects:
        suspect.check_run, suspect.project_id = check, check.project_id
        suspect.after_annotation = after
        suspect.rank = at.get(suspect.kind, 0)
        at[suspect.kind] = suspect.rank + 1


def _n_used(targets: np.ndarray) -> int:
    return int((targets.sum(axis=0) > 0).sum()) if targets.ndim == 2 else len(np.unique(targets))


def _keyset(examples: Any, *fields: str) -> Iterator[tuple[Any, ...]]:
    last = 0
    while rows := list(examples.filter(pk__gt=last).order_by("pk").values_list(*fields)[:FETCH]):
        yield from rows
        last = rows[-1][0]


def _left(began: float, done: int, total: int) -> float | None:
    return (time.monotonic() - began) / done * (total - done) if done else None
