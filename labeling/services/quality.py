"""Lists of texts to look at once more: asked for here, made by a worker, and shortened by each decision.

A text leaves its list with the next decision about it; undoing the decision brings it back. Texts of dev and test are
on no list: they measure the model, which must not choose which of their labels are looked at again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.utils.translation import gettext as _

from labeling.jobs import check_rate, create_job
from labeling.models import Annotation, Example, Job, Project, QualityCheck, Suspect
from labeling.models.annotations import Action, Source
from labeling.models.jobs import JobKind, JobStatus
from labeling.models.projects import Task
from labeling.models.quality import SuspectKind

QUEUE = "bulk"
MIN_LABELLED = 20
DECISIONS = (Action.LABEL, Action.SKIP, Action.CLEAR, Action.FLAG)


class QualityRefused(Exception):
    """The look cannot be started; the message is for the page."""


def request_check(*, project: Project, user: Any) -> QualityCheck:
    """Start a look at the labels; the one that is going, if there is one. Raises QualityRefused, TooManyJobs."""
    check_rate(user=user, kind=JobKind.QUALITY)
    with transaction.atomic():
        # Two people who press at once: the second finds the first one's.
        Project.objects.select_for_update().get(pk=project.pk)
        going = active_check(project)
        if going is not None:
            return going
        if not project.examples.exists():
            raise QualityRefused(_("还没有文本。先导入一些，再检查。"))
        job = create_job(project=project, kind=JobKind.QUALITY, queue=QUEUE, user=user)
        return QualityCheck.objects.create(project=project, job=job)


def active_check(project: Project) -> QualityCheck | None:
    """The look that is queued or running."""
    jobs = Job.objects.filter(project=project, kind=JobKind.QUALITY).active()
    return QualityCheck.objects.filter(job__in=jobs).select_related("job").first()


def latest_check(project: Project) -> QualityCheck | None:
    """The newest look that ended well: its lists stand."""
    return (
        QualityCheck.objects.filter(project=project, job__status=JobStatus.SUCCEEDED)
        .select_related("job")
        .first()
    )


def failed_check(project: Project) -> QualityCheck | None:
    """The newest look, if it failed."""
    newest = QualityCheck.objects.filter(project=project).select_related("job").first()
    return newest if newest is not None and newest.job.status == JobStatus.FAILED else None


def standing(project: Project, kind: str) -> QuerySet[Suspect]:
    """Those of the newest list of `kind` that nobody has decided about since, the surest first."""
    check = latest_check(project)
    if check is None:
        return Suspect.objects.none()
    return _undecided(check.suspects.filter(kind=kind), project).order_by("rank", "pk")


def counts(project: Project) -> dict[str, int]:
    """{kind: how many stand}, 0 where none does."""
    check = latest_check(project)
    found = dict.fromkeys(SuspectKind.values, 0)
    if check is not None:
        rows = _undecided(check.suspects.all(), project).order_by().values_list("kind").annotate(Count("pk"))
        found |= dict(rows)
    return found


def queue_texts(project: Project, kind: str, *, n: int, have: Iterable[int] = ()) -> list[Example]:
    """The next `n` texts of the list, as a labelling queue serves them."""
    suspects = standing(project, kind).exclude(example__in=list(have)).select_related("example__label")
    return [suspect.example for suspect in suspects[:n]]


def why(project: Project, kind: str, example_ids: Iterable[int]) -> dict[int, str]:
    """{text id: in words, why it is on the list}."""
    suspects = Suspect.objects.filter(
        project=project, kind=kind, example__in=list(example_ids), check_run=latest_check(project)
    ).select_related("example__label", "suggested_label", "other__label")
    return {suspect.example_id: reason(suspect) for suspect in suspects}


def reason(suspect: Suspect) -> str:
    """Why the text is on the list, in words."""
    now = suspect.example.label.name if suspect.example.label else _("没有标签")
    if suspect.kind == SuspectKind.ERRORS and suspect.suggested_label:
        return _("现在是“%(now)s”；没学过这一条的模型更倾向“%(other)s”。") % {
            "now": now,
            "other": suspect.suggested_label.name,
        }
    if suspect.kind == SuspectKind.DUPLICATES and suspect.other:
        return _("现在是“%(now)s”；几乎一样的一条标成了“%(label)s”：%(text)s") % {
            "now": now,
            "label": suspect.other.label.name if suspect.other.label else _("没有标签"),
            "text": suspect.other.text[:200],
        }
    return _("和其他文本都不像：可能是乱码、跑题或另一种语言；也可能只是少见。")


def confirmed(project: Project, example_ids: Iterable[int] | None = None) -> set[int]:
    """Ids of labelled texts whose present label a person confirmed from a list: not to be named again."""
    rows = Annotation.objects.filter(
        project=project,
        source=Source.REVIEW,
        action=Action.LABEL,
        undone_by__isnull=True,
        label=F("example__label"),
    )
    if example_ids is not None:
        rows = rows.filter(example__in=list(example_ids))
    return set(rows.values_list("example_id", flat=True))


def looked_at(project: Project) -> set[int]:
    """Ids of texts about which a person decided anything from a list of this kind or another."""
    return set(
        Annotation.objects.filter(project=project, source=Source.REVIEW, undone_by__isnull=True)
        .exclude(action=Action.UNDO)
        .values_list("example_id", flat=True)
    )


def newest_annotation_id(project: Project) -> int:
    """The number of the newest decision: what comes after it was not known when a list was made."""
    return (
        Annotation.objects.filter(project=project).order_by("-pk").values_list("pk", flat=True).first() or 0
    )


def record(check: QualityCheck, suspects: Iterable[Suspect], **values: Any) -> None:
    """Keep what a look found and drop the lists of earlier ones."""
    for name, value in values.items():
        setattr(check, name, value)
    check.save(update_fields=list(values))
    Suspect.objects.bulk_create(suspects, batch_size=500)
    QualityCheck.objects.filter(project=check.project, pk__lt=check.pk).exclude(
        job__in=Job.objects.filter(project=check.project).active()
    ).delete()


def _undecided(suspects: QuerySet[Suspect], project: Project) -> QuerySet[Suspect]:
    later = Annotation.objects.filter(
        example=OuterRef("example"),
        pk__gt=OuterRef("after_annotation"),
        action__in=DECISIONS,
        undone_by__isnull=True,
    )
    found = suspects.filter(~Exists(later)).exclude(
        kind__in=[SuspectKind.ERRORS, SuspectKind.DUPLICATES], example__label__isnull=True
    )
    if project.task == Task.SINGLE:
        # Its double was corrected: nothing is left to decide here.
        found = found.exclude(Q(kind=SuspectKind.DUPLICATES) & Q(example__label=F("other__label")))
    return found
