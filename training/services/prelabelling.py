"""From nothing: an untrained backbone labels the unlabelled texts by the project's words and prompt.

Its probabilities are the scores "zero_shot" of `labeling.services.scores`, which feed the queue and the suggestions.
Several templates are read: the project's own gives the opinion a double voice, the library's others tell where
wording decides (`disagreement`). Texts of dev and test are never scored.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from django.db import transaction

from labeling import jobs
from labeling.models import Job, Project
from labeling.models.jobs import JobKind
from labeling.models.projects import Task
from labeling.services import scores as score_files
from labeling.services.embeddings import EmbeddingIndex, index_of
from training.fewshot import evaluation
from training.fewshot.prompt_comparison import disagreement, hits_of
from training.fewshot.prompt_reader import OnBatch, Prompt, PromptReader
from training.fewshot.templates import relatives_of
from training.fewshot.zero_shot import log_softmax
from training.services import workbench_choice
from training.services.prompt_comparison import Progress, Stopped
from training.services.workbench import Draft, check_draft, draft_of
from training.services.workbench_answers import TEMPERATURES, engine_labels, method_of
from training.services.workbench_texts import CHOOSING_SPLITS, Measured, measured_texts, reference_texts

SOURCE = "zero_shot"
CHUNK_TEXTS = 512
N_REFERENCE = 256
# Other templates beside the project's own: label sentences cost nothing more, a cloze reads every text again.
N_OTHERS = {"label_sentence": 4, "mixed": 2, "cloze": 2}
# From so many labelled texts on the temperature is fitted instead of taken.
MIN_FITTED = 50
REFRESHES = 3


class PrelabellingRefused(Exception):
    """Not started. `code`: no_texts, too_few_labels, or bad_draft with `check`."""

    def __init__(self, code: str, *, check: Any = None) -> None:
        super().__init__(code)
        self.code, self.check = code, check


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """Where a project stands: the scores' number of texts, whether words or prompt have changed since, the last job.

    `held_out`: accuracy on `n_held_out` labelled texts that no suggestion led to, None where there are none."""

    n_texts: int
    stale: bool
    held_out: float | None
    n_held_out: int
    method: str
    job: Job | None


def request_prelabelling(*, project: Project, user: Any) -> Job:
    """A job that scores the pool by the words and the prompt as they are stored; one that waits already is given back.

    Raises PrelabellingRefused, TooManyJobs."""
    draft = stored_draft(project)
    if len(draft.labels) < 2:
        raise PrelabellingRefused("too_few_labels")
    check = check_draft(draft)
    if check.error or check.n_serious:
        raise PrelabellingRefused("bad_draft", check=check)
    if not project.examples.pool().exists():
        raise PrelabellingRefused("no_texts")
    with transaction.atomic():
        # One at a time per project, so that two clicks make one job.
        Project.objects.select_for_update().get(pk=project.pk)
        active = project.jobs.filter(kind=JobKind.ZERO_SHOT).active().first()
        if active is not None:
            return active
        return jobs.create_job(project=project, kind=JobKind.ZERO_SHOT, queue="bulk", user=user)


def refresh_if_stale(project_id: int) -> Job | None:
    """Score again after words or prompt have changed or texts have come, where somebody has had the pool scored before.

    Many changes make few jobs: one that waits takes what is stored when it starts, one that runs looks again at its
    end. Returns the job it started."""
    project = Project.objects.filter(pk=project_id).first()
    if project is None or score_files.read(project_id, SOURCE) is None or not state_of(project).stale:
        return None
    if project.jobs.filter(kind=JobKind.ZERO_SHOT).active().exists():
        return None
    try:
        return request_prelabelling(project=project, user=project.created_by)
    except (PrelabellingRefused, jobs.TooManyJobs):
        return None


def state_of(project: Project) -> State:
    """For the page that starts it."""
    found = score_files.read(project.pk, SOURCE)
    job = project.jobs.filter(kind=JobKind.ZERO_SHOT).first()
    if found is None:
        return State(0, False, None, 0, "", job)
    return State(
        n_texts=len(found),
        stale=found.about.get("signature") != signature_of(stored_draft(project))
        or _has_grown(project, found),
        held_out=found.held_out,
        n_held_out=found.n_held_out,
        method=str(found.about.get("method", "")),
        job=job,
    )


def _has_grown(project: Project, found: score_files.Scores) -> bool:
    """Whether texts came after those that were scored."""
    last = int(found.example_ids[-1]) if len(found) else 0
    return project.examples.pool().filter(pk__gt=last).exists()


def stored_draft(project: Project) -> Draft:
    """Words and prompt as stored, with the backbone and the method chosen for the project."""
    chosen = workbench_choice.choice_of(project)
    return draft_of(project, method=chosen.method, backbone=chosen.backbone)


def signature_of(draft: Draft) -> str:
    """Equal for drafts that give the same scores."""
    values = [[label.id, list(label.words)] for label in draft.labels]
    written = json.dumps([values, draft.template, draft.method, draft.backbone], ensure_ascii=False)
    return hashlib.sha256(written.encode("utf-8", "surrogatepass")).hexdigest()


def run_prelabelling(
    project: Project,
    reader_for: Callable[[str], PromptReader],
    *,
    on_progress: Progress,
    should_stop: Callable[[], bool],
) -> int:
    """Score the pool and write the file; again when words or prompt changed meanwhile. Returns the number of texts.

    Raises Stopped, and the engine's errors for words or a prompt that cannot be read."""
    n = 0
    for _attempt in range(REFRESHES):
        draft = stored_draft(project)
        n = _score_pool(project, draft, reader_for(draft.backbone), on_progress, should_stop)
        if signature_of(stored_draft(project)) == signature_of(draft):
            break
    return n


@dataclasses.dataclass(frozen=True)
class _Panel:
    """Prompts with the same words, the project's own first; each is calibrated by its mean over the pool."""

    reader: PromptReader
    method: str
    prompts: tuple[Prompt, ...]
    reference: tuple[str, ...]

    def opinions(self, texts: list[str], on_batch: OnBatch | None = None) -> list[np.ndarray]:
        """Calibrated scores (n, labels) of each prompt."""
        return [
            self.reader.scored(prompt, self.method, texts, self.reference, on_batch)[1]
            for prompt in self.prompts
        ]


def _score_pool(
    project: Project,
    draft: Draft,
    reader: PromptReader,
    on_progress: Progress,
    should_stop: Callable[[], bool],
) -> int:
    def look(_done: int = 0) -> None:
        if should_stop():
            raise Stopped

    panel = _panel(project, draft, reader)
    ids = [label.id for label in draft.labels]
    held_out = measured_texts(project, ids, splits=CHOOSING_SPLITS, limit=1000)
    together = _together(panel.opinions(list(held_out.texts), look)) if len(held_out) else None
    temperature = _temperature(panel.method, together, held_out)
    total = project.examples.pool().count()
    example_ids: list[int] = []
    chunks, apart = [], []
    started = time.monotonic()
    index = index_of(project, reader.reader.backbone.hash)
    for rows in _pool(project):
        _recall(reader, index, rows)
        opinions = panel.opinions([text for _pk, text in rows], look)
        proba = [evaluation.softmax(one / temperature) for one in opinions]
        chunks.append(evaluation.softmax(_together(opinions) / temperature).astype(np.float16))
        apart.append(disagreement(proba).astype(np.float16))
        example_ids += [pk for pk, _text in rows]
        left = (time.monotonic() - started) / len(example_ids) * max(0, total - len(example_ids))
        on_progress("predict", len(example_ids), max(total, len(example_ids)), left)
    right = 0 if together is None else int(hits_of(together, held_out.right).sum())
    counts = [sum(place in labels for labels in held_out.right) for place in range(len(ids))]
    score_files.write(
        project.pk,
        score_files.Scores(
            source=SOURCE,
            label_ids=tuple(ids),
            example_ids=np.array(example_ids, dtype=np.int64),
            proba=np.concatenate(chunks) if chunks else np.zeros((0, len(ids)), dtype=np.float16),
            disagreement=np.concatenate(apart) if apart else None,
            held_out=right / len(held_out) if len(held_out) else None,
            n_held_out=len(held_out),
            baseline=max(counts, default=0) / len(held_out) if len(held_out) else 0.0,
            multi_label=project.task == Task.MULTI_LABEL,
            about={
                "asked_for": True,
                "signature": signature_of(draft),
                "method": panel.method,
                "backbone": draft.backbone,
                "template": draft.template,
                "templates": len(panel.prompts),
                "temperature": round(temperature, 3),
            },
        ),
    )
    return len(example_ids)


def _recall(reader: PromptReader, index: EmbeddingIndex | None, rows: list[tuple[int, str]]) -> None:
    """Spare the encoder the texts whose vectors lie in the project's files."""
    if index is None:
        return
    texts = dict(rows)
    known = index.rows_of(texts)
    if known:
        vectors = index.vectors[list(known.values())].astype(np.float32)
        reader.remember([texts[pk] for pk in known], vectors)


def _panel(project: Project, draft: Draft, reader: PromptReader) -> _Panel:
    labels = engine_labels(draft)
    own = reader.prompt(labels, draft.template)
    method = method_of(draft, own, reader)
    others = [reader.prompt(labels, text) for text in relatives_of(draft.template)[: N_OTHERS[method]]]
    reference = tuple(reference_texts(project, N_REFERENCE))
    return _Panel(reader, method, (own, *others), reference)


def _together(opinions: list[np.ndarray]) -> np.ndarray:
    """The mean opinion; the project's own template counts as much as all the others together."""
    own, others = log_softmax(opinions[0]), [log_softmax(one) for one in opinions[1:]]
    return (own + np.mean(others, axis=0)) / 2 if others else own


def _temperature(method: str, scores: np.ndarray | None, held_out: Measured) -> float:
    if scores is None or len(held_out) < MIN_FITTED:
        return TEMPERATURES[method]
    first = np.array([min(labels) for labels in held_out.right])
    return evaluation.best_temperature(scores, first)


def _pool(project: Project) -> Iterator[list[tuple[int, str]]]:
    """Chunks of (id, text) of the unlabelled texts of train and pool, in the order of ids."""
    last = 0
    while True:
        rows = list(
            project.examples.pool().filter(pk__gt=last).order_by("pk").values_list("pk", "text")[:CHUNK_TEXTS]
        )
        if not rows:
            return
        last = rows[-1][0]
        yield rows
