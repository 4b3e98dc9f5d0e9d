"""Comparing prompts: several templates and word sets on the same labelled texts of train and dev, in one job."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from django.db import IntegrityError, transaction

from labeling import jobs
from labeling.models import Example, Project
from labeling.models.jobs import JobKind
from labeling.services import words as label_words
from labeling.services.new_labels import set_words
from labeling.services.prompt_changes import prompt_changed
from training.fewshot.prompt_comparison import MAX_TOGETHER, compare_prompts
from training.fewshot.prompt_reader import PromptReader
from training.models import PromptComparison
from training.services.workbench import Draft, DraftLabel, check_draft
from training.services.workbench_answers import engine_labels, measured, method_of, share
from training.services.workbench_texts import CHOOSING_SPLITS, Measured, measured_texts, reference_texts

MAX_CANDIDATES = 12
N_TEXTS = 1000
N_REFERENCE = 128
Progress = Callable[[str, int, int, float | None], None]


class ComparisonRefused(Exception):
    """The comparison was not started. `code`: too_few, too_many, no_texts, labels_differ or bad_candidate (`place`,
    and `check` with what is wrong)."""

    def __init__(self, code: str, *, place: int | None = None, check: Any = None) -> None:
        super().__init__(code)
        self.code, self.place, self.check = code, place, check


class Stopped(Exception):
    """The work was told to stop."""


def request_comparison(
    *,
    project: Project,
    user: Any,
    candidates: Sequence[tuple[str, Draft]],
    token: uuid.UUID | None = None,
) -> PromptComparison:
    """A queued comparison of (name, draft)s; backbone and method are the first one's. The same token twice gives the
    same one. Raises ComparisonRefused, TooManyJobs."""
    if token and (earlier := _with_token(project, token)):
        return earlier
    if len(candidates) < 2:
        raise ComparisonRefused("too_few")
    if len(candidates) > MAX_CANDIDATES:
        raise ComparisonRefused("too_many")
    ids = [label.id for label in candidates[0][1].labels]
    for place, (_name, draft) in enumerate(candidates):
        if [label.id for label in draft.labels] != ids:
            raise ComparisonRefused("labels_differ", place=place)
        check = check_draft(draft)
        if check.error or check.n_serious:
            raise ComparisonRefused("bad_candidate", place=place, check=check)
    if not len(measured_texts(project, ids, splits=CHOOSING_SPLITS, limit=1)):
        raise ComparisonRefused("no_texts")
    first = candidates[0][1]
    stored = [
        {
            "name": name[:80],
            "template": draft.template,
            "labels": [
                {"id": label.id, "name": label.name, "words": list(label.words)} for label in draft.labels
            ],
        }
        for name, draft in candidates
    ]
    try:
        with transaction.atomic():
            return PromptComparison.objects.create(
                project=project,
                job=jobs.create_job(project=project, kind=JobKind.COMPARE, queue="bulk", user=user),
                backbone=first.backbone,
                method=first.method,
                candidates=stored,
                request_token=token,
            )
    except IntegrityError:
        if token and (earlier := _with_token(project, token)):
            return earlier
        raise


def run_comparison(
    comparison: PromptComparison,
    reader: PromptReader,
    *,
    on_progress: Progress,
    should_stop: Callable[[], bool],
) -> dict[str, Any]:
    """The result: `{"n", "n_by_split", "label_ids", "prompts", "agreement", "pairs", "groups", "together"}`.

    "prompts"[i] has "method", "raw" and "calibrated" (accuracy with interval) and "per_label". Raises Stopped, and the
    engine's errors for a prompt that the backbone cannot read."""
    drafts = drafts_of(comparison)
    ids = [label.id for label in drafts[0].labels]
    texts = measured_texts(comparison.project, ids, splits=CHOOSING_SPLITS, limit=N_TEXTS)
    reference = reference_texts(comparison.project, N_REFERENCE)
    total = len(drafts) * (len(texts) + len(reference))
    rows, scores = [], []
    for place, draft in enumerate(drafts):
        begun = place * (len(texts) + len(reference))

        def on_batch(done: int, begun: int = begun) -> None:
            if should_stop():
                raise Stopped
            on_progress("predict", min(begun + done, total), total, None)

        prompt = reader.prompt(engine_labels(draft), draft.template)
        method = method_of(draft, prompt, reader)
        raw, calibrated = reader.scored(prompt, method, texts.texts, reference, on_batch)
        rows.append(measured(method, raw, calibrated, texts, ids))
        scores.append(calibrated)
        on_batch(len(texts) + len(reference))
    result = {
        "n": len(texts),
        "n_by_split": _by_split(texts),
        "label_ids": ids,
        "prompts": rows,
        **compare_prompts(scores, texts.right),
    }
    if result["together"]:
        result["together"] |= {"accuracy": share(result["together"]["right"], len(texts))}
    return result


def record_comparison(comparison: PromptComparison, result: dict[str, Any]) -> None:
    """Keep the result."""
    comparison.result = result
    comparison.save(update_fields=["result"])


def drafts_of(comparison: PromptComparison) -> list[Draft]:
    """The candidates as drafts."""
    return [
        Draft(
            project_id=comparison.project_id,
            labels=tuple(
                DraftLabel(label["id"], label["name"], tuple(label["words"])) for label in one["labels"]
            ),
            template=one["template"],
            method=comparison.method,
            backbone=comparison.backbone,
        )
        for one in comparison.candidates
    ]


def adopt(*, comparison: PromptComparison, place: int, user: Any) -> None:
    """The words and the template of one candidate become the project's.

    Labels that were deleted meanwhile are left aside. Raises IndexError, TemplateRefused."""
    candidate = comparison.candidates[place]
    labels = {label.pk: label for label in comparison.project.labels.filter(archived_at__isnull=True)}
    with transaction.atomic():
        for one in candidate["labels"]:
            if one["id"] in labels:
                set_words(label=labels[one["id"]], words=one["words"])
        prompt_changed(comparison.project_id)
        label_words.save_template(project=comparison.project, user=user, text=candidate["template"])


def ensemble_of(comparison: PromptComparison) -> list[str]:
    """Up to four templates of the best group, the best first and each once: what a run can be trained with together.

    A run takes the project's words, so candidates with other words than the best one's are left out."""
    if not comparison.result:
        return []
    best = comparison.result["groups"][0]
    words = comparison.candidates[best[0]]["labels"]
    templates = list(
        dict.fromkeys(
            comparison.candidates[place]["template"]
            for place in best
            if comparison.candidates[place]["labels"] == words
        )
    )
    return templates[:MAX_TOGETHER]


def _by_split(texts: Measured) -> dict[str, int]:
    counts: dict[str, int] = {}
    for split in Example.objects.filter(pk__in=texts.ids).values_list("split", flat=True):
        counts[split] = counts.get(split, 0) + 1
    return counts


def _with_token(project: Project, token: uuid.UUID) -> PromptComparison | None:
    return project.prompt_comparisons.filter(request_token=token).first()
