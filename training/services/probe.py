"""The fast model behind the labelling page: learnt in a second from cached sentence vectors, after every few labels.

It reads vectors and decisions and writes score and order files; nothing waits for it. Texts of test are never read;
those of dev only measure. Its worker hands in `encode`, the only thing that needs a backbone, and that only when the
labels, their words or the prompt have changed.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from labeling.files.arrays import BadArrays, read_arrays, write_arrays
from labeling.models import ExampleLabel, Project
from labeling.models.projects import Task
from labeling.models.texts import Split, Status, SuggestionUse
from labeling.services import embeddings, scores
from labeling.services.embeddings import EmbeddingIndex
from labeling.services.scores import Scores
from training.fewshot import probe as probes
from training.fewshot import strategies
from training.fewshot.errors import EngineError
from training.fewshot.probe import Probe
from training.fewshot.template import parse
from training.fewshot.zero_shot import label_vectors
from training.services import probe_orders, stopping

LOG = logging.getLogger(__name__)

Encode = Callable[[Sequence[str]], np.ndarray]

LEARNT_AT_MOST = 20_000
SCORED_BLOCK = 16_384
_MEMBERSHIP_SECONDS = 60


@dataclass(frozen=True, eq=False)
class LabelSentences:
    """`label_ids` in the labels' order; `vectors` (templates, labels, H), the project's own prompt first."""

    label_ids: tuple[int, ...]
    vectors: np.ndarray


@dataclass(frozen=True, eq=False)
class Lessons:
    """Labelled texts with vectors. `targets`: columns of the labels (n,), or rows of 0 and 1 (n, labels)."""

    ids: np.ndarray
    vectors: np.ndarray
    targets: np.ndarray
    may_measure: np.ndarray


@dataclass(frozen=True)
class Trained:
    """What one training did, for the log and the bench. `reason`: why nothing was trained, "" otherwise; `coverage`:
    the share of the project's texts that have a vector."""

    reason: str = ""
    n_labelled: int = 0
    n_scored: int = 0
    accuracy: float | None = None
    seconds: float = 0.0
    coverage: float = 0.0


def train(project: Project, encode: Encode) -> Trained:
    """Learn from the labelled texts, score the pool, rank what comes next, and note how the learning goes."""
    began = time.monotonic()
    index = embeddings.index_of(project)
    if index is None or not len(index.ids):
        return Trained("no_vectors")
    sentences = label_sentences(project, encode)
    if len(sentences.label_ids) < 2:
        return Trained("few_labels", coverage=index.coverage)
    multi_label = project.task == Task.MULTI_LABEL
    start = probes.untrained(sentences.vectors[0], multi_label=multi_label)
    labelled = lessons(project, index, sentences.label_ids, [Split.TRAIN, Split.POOL])
    dev = lessons(project, index, sentences.label_ids, [Split.DEV])
    learnt = probes.learn(
        start,
        labelled.vectors,
        labelled.targets,
        may_measure=labelled.may_measure,
        further_vectors=dev.vectors[dev.may_measure],
        further_targets=dev.targets[dev.may_measure],
    )
    prompts = [probes.untrained(one, multi_label=multi_label) for one in sentences.vectors]
    rows = pool_rows(project, index, labelled.ids)
    few = len(labelled.ids) < 3 * len(sentences.label_ids)
    proba, disagreement = answers(learnt.probe, prompts if few else learnt.committee, index.vectors, rows)
    found = Scores(
        "probe",
        sentences.label_ids,
        index.ids[rows],
        proba,
        disagreement=disagreement,
        n_labelled=len(labelled.ids),
        held_out=learnt.accuracy,
        n_held_out=learnt.n_held_out,
        baseline=learnt.baseline,
        multi_label=multi_label,
        about={"calibration_error": learnt.calibration_error},
    )
    scores.write(project.pk, found)
    counts = _counts(labelled.targets, len(sentences.label_ids))
    probe_orders.write_orders(project, found, index.vectors, rows, labelled.vectors, counts)
    seconds = time.monotonic() - began
    # The page has its answers by now; the curve takes a second more, every tenth label or so.
    stopping.note(project, start, labelled.vectors, labelled.targets, labelled.may_measure, found)
    return Trained("", len(labelled.ids), len(rows), learnt.accuracy, seconds, index.coverage)


def label_sentences(project: Project, encode: Encode) -> LabelSentences:
    """Vectors of the sentences that name the labels, read once for each set of labels, words and prompt."""
    labels = list(project.labels.filter(archived_at__isnull=True).prefetch_related("words"))
    newest = project.templates.first()
    own = newest.text if newest is not None else ""
    sentences: list[list[str]] = []
    owners = [place for place, label in enumerate(labels) for _word in label.word_texts]
    for written in (own, *probes.OTHER_TEMPLATES):
        try:
            template = parse(written)
        except EngineError:  # a prompt that cannot be read says nothing; the others stand in
            continue
        sentences.append([template.statement(word) or word for label in labels for word in label.word_texts])
    label_ids = tuple(label.pk for label in labels)
    if not labels:
        return LabelSentences((), np.zeros((len(sentences), 0, 0), np.float32))
    flat = [sentence for group in sentences for sentence in group]
    vectors = _read_sentences(project, flat, encode).reshape(len(sentences), len(owners), -1)
    return LabelSentences(
        label_ids, np.stack([label_vectors(group, owners, len(labels)) for group in vectors])
    )


def lessons(
    project: Project, index: EmbeddingIndex, label_ids: Sequence[int], splits: Sequence[str]
) -> Lessons:
    """The labelled texts of `splits` that have vectors; the newest LEARNT_AT_MOST of them.

    One whose last decision accepted a suggestion may be learnt from and may not measure: it would flatter the model
    that made the suggestion."""
    rows = list(
        project.examples.filter(status=Status.LABELLED, split__in=splits, label__in=label_ids)
        .order_by("-decided_at", "-pk")
        .values_list("pk", "label_id", "suggestion")[:LEARNT_AT_MOST]
    )
    rows.sort()
    ids = np.array([row[0] for row in rows], dtype=np.int64)
    places = rows_in(index, ids)
    known = places >= 0
    column = {label_id: place for place, label_id in enumerate(label_ids)}
    targets = np.array([column[row[1]] for row in rows], dtype=np.int64)[known]
    if project.task == Task.MULTI_LABEL:
        targets = label_matrix(ids[known], targets, column)
    measuring = np.array([row[2] != SuggestionUse.ACCEPTED for row in rows], dtype=bool)[known]
    vectors = np.asarray(index.vectors[places[known]], dtype=np.float32)
    return Lessons(ids[known], vectors, targets, measuring)


def rows_in(index: EmbeddingIndex, ids: np.ndarray) -> np.ndarray:
    """int64 (n,): the row of each text in `index`, −1 where it has no vector."""
    rows = index.rows_of(ids)
    return np.array([rows.get(int(one), -1) for one in ids], dtype=np.int64)


def label_matrix(ids: np.ndarray, first: np.ndarray, column: dict[int, int]) -> np.ndarray:
    """int64 (n, labels) of 0 and 1: all labels of each text; its first one where it has no rows of its own."""
    found = np.zeros((len(ids), len(column)), dtype=np.int64)
    place = {int(one): row for row, one in enumerate(ids)}
    chunk = [int(one) for one in ids]
    for start in range(0, len(chunk), 500):
        rows = ExampleLabel.objects.filter(example__in=chunk[start : start + 500])
        for example_id, label_id in rows.values_list("example_id", "label_id"):
            if label_id in column:
                found[place[example_id], column[label_id]] = 1
    empty = found.sum(axis=1) == 0
    found[np.flatnonzero(empty), first[empty]] = 1
    return found


def pool_rows(project: Project, index: EmbeddingIndex, labelled_ids: np.ndarray) -> np.ndarray:
    """Rows of `index` of texts of train and pool without a label, by ascending text."""
    allowed = _membership(project, index)
    allowed = allowed[~np.isin(index.ids[allowed], labelled_ids)]
    return allowed[np.argsort(index.ids[allowed], kind="stable")]


def answers(
    probe: Probe, committee: Sequence[Probe], vectors: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(n, labels) float16 probabilities and (n,) float16 disagreement of the committee, for `rows` of the index."""
    proba = np.empty((len(rows), len(probe.rows)), dtype=np.float16)
    disagreement = np.zeros(len(rows), dtype=np.float16)
    for start in range(0, len(rows), SCORED_BLOCK):
        block = slice(start, start + SCORED_BLOCK)
        read = vectors[rows[block]]
        proba[block] = probe.predict_proba(read)
        if len(committee) > 1:
            disagreement[block] = strategies.disagreement(
                np.stack([member.predict_proba(read) for member in committee])
            )
    return proba, disagreement


def _counts(targets: np.ndarray, n_labels: int) -> np.ndarray:
    return targets.sum(axis=0) if targets.ndim == 2 else np.bincount(targets, minlength=n_labels)


_members: dict[int, tuple[float, int, np.ndarray]] = {}


def _membership(project: Project, index: EmbeddingIndex) -> np.ndarray:
    """Rows of `index` that are texts of train and pool, asked of the database at most once a minute.

    The queue and the suggestions look at a text's split again: this keeps dev and test out of the files too."""
    now = time.monotonic()
    kept = _members.get(project.pk)
    if kept is not None and now - kept[0] < _MEMBERSHIP_SECONDS and kept[1] == len(index.ids):
        return kept[2]
    ids = np.fromiter(
        project.examples.filter(split__in=[Split.TRAIN, Split.POOL])
        .order_by()
        .values_list("pk", flat=True)
        .iterator(chunk_size=20_000),
        dtype=np.int64,
    )
    rows = np.flatnonzero(np.isin(index.ids, ids))
    if len(_members) > 8:
        _members.clear()
    _members[project.pk] = (now, len(index.ids), rows)
    return rows


def _read_sentences(project: Project, sentences: list[str], encode: Encode) -> np.ndarray:
    """Unit vectors of `sentences`, from the file of the last time where they are the same."""
    digest = hashlib.sha256("\0".join(sentences).encode("utf-8", "surrogatepass")).hexdigest()
    path = scores.folder_of(project.pk) / "label-sentences.npz"
    try:
        arrays, about = read_arrays(path)
        if about.get("digest") == digest and len(arrays["vectors"]) == len(sentences):
            return np.asarray(arrays["vectors"])
    except (FileNotFoundError, BadArrays, KeyError):
        pass
    vectors = np.asarray(encode(sentences), dtype=np.float32)
    write_arrays(path, {"vectors": vectors}, {"digest": digest})
    return vectors
