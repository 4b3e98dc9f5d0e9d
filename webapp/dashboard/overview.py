"""Where a project stands: what it holds, how good its last model is, and which step comes next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Q
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from labeling.models import Example, Job, Label, Membership, Project
from labeling.models.jobs import JobKind
from labeling.models.texts import Split, Status
from labeling.permissions import abilities_of
from training.models import Evaluation, Export, TrainingRun

# A class with fewer labelled texts than this to learn from is worth labelling before the first training.
ENOUGH_PER_LABEL = 8


@dataclass(slots=True)
class Standing:
    """The numbers of one project. `accuracy` is the last trained model's on the test texts, else on dev."""

    texts: int = 0
    labelled: int = 0
    skipped: int = 0
    disputed: int = 0
    labels: int = 0
    thin_labels: int = 0
    runs: int = 0
    accuracy: Evaluation | None = None
    run_number: int | None = None
    bundles: int = 0
    active_jobs: int = 0

    @property
    def open(self) -> int:
        return self.texts - self.labelled - self.skipped - self.disputed

    @property
    def share(self) -> float:
        """Labelled texts among all, 0 to 1."""
        return self.labelled / self.texts if self.texts else 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """One of the five steps: `state` is done, now or later; `url` is "" for whoever may not do it."""

    key: str
    title: str
    facts: str
    state: str
    url: str
    button: str


@dataclass(frozen=True, slots=True)
class Card:
    """One project on the list, for one member."""

    project: Project
    role: str
    standing: Standing
    sees_results: bool
    step: Step | None = field(default=None)


def standings_of(projects: Iterable[Project]) -> dict[int, Standing]:
    """{project id: Standing}, in a fixed number of queries however many projects there are."""
    ids = [project.pk for project in projects]
    found = {pk: Standing() for pk in ids}
    per_status = Example.objects.filter(project__in=ids).order_by().values_list("project_id", "status")
    for pk, status, n in per_status.annotate(n=Count("pk")):
        found[pk].texts += n
        if status == Status.LABELLED:
            found[pk].labelled = n
        elif status == Status.SKIPPED:
            found[pk].skipped = n
        elif status == Status.DISPUTED:
            found[pk].disputed = n
    _count_labels(ids, found)
    _find_models(ids, found)
    for pk, n in _per_project(Export.objects.filter(project__in=ids, passed=True)):
        found[pk].bundles = n
    for pk, n in _per_project(Job.objects.active().filter(project__in=ids)):
        found[pk].active_jobs = n
    return found


def _per_project(rows: Any) -> Any:
    return rows.order_by().values_list("project_id").annotate(n=Count("pk"))


def _count_labels(ids: list[int], found: dict[int, Standing]) -> None:
    learnable = Q(examples__split__in=[Split.TRAIN, Split.POOL])
    labels = Label.objects.filter(project__in=ids, archived_at__isnull=True).order_by()
    for pk, n in labels.annotate(n=Count("examples", filter=learnable)).values_list("project_id", "n"):
        found[pk].labels += 1
        found[pk].thin_labels += n < ENOUGH_PER_LABEL


def _find_models(ids: list[int], found: dict[int, Standing]) -> None:
    runs = TrainingRun.objects.succeeded().filter(project__in=ids)
    for pk, n in _per_project(runs):
        found[pk].runs = n
    newest: dict[int, int] = {}
    for run_id, pk, number in runs.order_by("number").values_list("pk", "project_id", "number"):
        newest[pk] = run_id
        found[pk].run_number = number
    # "dev" comes before "test" in the order of names, so the test numbers are the ones that stay.
    for evaluation in (
        Evaluation.objects.filter(run__in=newest.values()).select_related("run").order_by("split")
    ):
        found[evaluation.run.project_id].accuracy = evaluation


def cards_for(user: Any) -> list[Card]:
    """The projects of `user`, those worked on last first."""
    memberships = list(Membership.objects.filter(user=user).select_related("project"))
    standings = standings_of(membership.project for membership in memberships)
    cards = []
    for membership in memberships:
        abilities = abilities_of(membership.role)
        standing = standings[membership.project_id]
        steps = steps_of(membership.project, standing, abilities)
        cards.append(
            Card(
                project=membership.project,
                role=membership.get_role_display(),
                standing=standing,
                sees_results="read" in abilities,
                step=next_step(steps),
            )
        )
    cards.sort(key=lambda card: (-card.standing.active_jobs, -card.project.pk))
    return cards


def steps_of(project: Project, standing: Standing, abilities: frozenset[str]) -> list[Step]:
    """The loop as five steps. Exactly one is `now`: the first that is not done (none when all are)."""
    done = {
        "texts": standing.texts > 0,
        "labels": standing.labels >= 2,
        "label": standing.labels >= 2 and standing.labelled > 0 and not standing.thin_labels,
        "train": standing.runs > 0,
        "take": standing.bundles > 0,
    }
    # What came later cannot have happened without what comes before: a trained project has enough labels.
    now = next((key for key, is_done in done.items() if not is_done and not _overtaken(key, done)), "")
    steps = []
    for key, (title, facts, ability, name, button) in _texts(standing, abilities).items():
        state = "now" if key == now else "done" if done[key] or _overtaken(key, done) else "later"
        url = reverse(name, args=[project.pk]) if ability in abilities else ""
        steps.append(Step(key, title, facts, state, url, button))
    return steps


def next_step(steps: list[Step]) -> Step | None:
    """What this person should do next: the present step, or labelling when that one is not theirs."""
    present = next((step for step in steps if step.state == "now"), None)
    if present is not None and present.url:
        return present
    labelling = next(step for step in steps if step.key == "label")
    return labelling if labelling.url and steps[0].state == steps[1].state == "done" else None


def _overtaken(key: str, done: dict[str, bool]) -> bool:
    return key == "label" and (done["train"] or done["take"])


def _texts(standing: Standing, abilities: frozenset[str]) -> dict[str, tuple[str, str, str, str, str]]:
    """Per step: title, sentence of facts, ability, name of its address, button."""
    numbers = {"texts": standing.texts, "labelled": standing.labelled, "open": standing.open}
    return {
        "texts": (
            pgettext("page", "文本"),
            ngettext("共 %(n)d 条文本。", "共 %(n)d 条文本。", standing.texts) % {"n": standing.texts}
            if standing.texts
            else _("带来一份文件：txt、tsv、csv、xlsx、json 或 jsonl。"),
            "read" if standing.texts else "setup",
            "texts" if standing.texts else "import_new",
            _("看文本") if standing.texts else _("导入文件"),
        ),
        "labels": (
            _("标签与标签词"),
            ngettext("%(n)d 个标签。", "%(n)d 个标签。", standing.labels) % {"n": standing.labels}
            if standing.labels
            else _("给每一类起个名字，再选一个能代表它的词。"),
            "read" if standing.labels >= 2 else "setup",
            "labels",
            _("看标签") if standing.labels >= 2 else _("添加标签"),
        ),
        "label": (
            _("标注"),
            _label_facts(standing, numbers),
            "label",
            "label",
            _("继续标注") if standing.labelled else _("开始标注"),
        ),
        "train": (
            _("训练"),
            _train_facts(standing, sees_results="read" in abilities),
            "read" if standing.runs else "train",
            "train",
            _("看结果") if standing.runs else _("训练模型"),
        ),
        "take": (
            _("带走"),
            ngettext("%(n)d 个可以下载的导出包。", "%(n)d 个可以下载的导出包。", standing.bundles)
            % {"n": standing.bundles}
            if standing.bundles
            else _("下载一个 zip，在别的机器上直接运行。"),
            "download" if standing.bundles else "train",
            "bundles",
            _("去下载") if standing.bundles else _("导出模型"),
        ),
    }


def _label_facts(standing: Standing, numbers: dict[str, int]) -> str:
    if not standing.texts:
        return _("一个按键就是：标注、保存、下一条。")
    facts = _("已标注 %(labelled)d / %(texts)d 条。") % numbers
    if standing.disputed:
        facts += ngettext("%(n)d 条有分歧，待裁决。", "%(n)d 条有分歧，待裁决。", standing.disputed) % {
            "n": standing.disputed
        }
    if standing.thin_labels and standing.labels >= 2:
        facts += _("还有 %(n)d 个标签不到 %(enough)d 条。") % {
            "n": standing.thin_labels,
            "enough": ENOUGH_PER_LABEL,
        }
    return facts


def _train_facts(standing: Standing, *, sees_results: bool) -> str:
    if not standing.runs:
        return _("一个按钮，几分钟，不需要 GPU。")
    found = standing.accuracy
    if found is None or not sees_results:
        return ngettext("训练过 %(n)d 次。", "训练过 %(n)d 次。", standing.runs) % {"n": standing.runs}
    values = {
        "number": standing.run_number,
        "accuracy": f"{found.accuracy * 100:.1f}%",
        "n": found.n,
        "low": f"{(found.accuracy_low or 0) * 100:.0f}%",
        "high": f"{(found.accuracy_high or 0) * 100:.0f}%",
    }
    if found.accuracy_low is None or found.accuracy_high is None:
        return _("第 %(number)s 次训练的准确率 %(accuracy)s（%(n)d 条文本）。") % values
    return _("第 %(number)s 次训练的准确率 %(accuracy)s（%(n)d 条文本，区间 %(low)s–%(high)s）。") % values


def recent_jobs(project: Project, *, limit: int = 8) -> list[dict[str, Any]]:
    """The project's newest jobs, each with the address of what it made ("" while there is none)."""
    related = ("created_by", "import_batch", "training_run", "export", "file_prediction")
    jobs = Job.objects.filter(project=project).select_related(*related)[:limit]
    return [{"job": job, "url": _page_of(job)} for job in jobs]


def _page_of(job: Job) -> str:
    if hasattr(job, "import_batch"):
        return reverse("import_detail", args=[job.project_id, job.import_batch.pk])
    if hasattr(job, "training_run"):
        return reverse("run", args=[job.project_id, job.training_run.number])
    if hasattr(job, "export"):
        return reverse("bundles", args=[job.project_id])
    if hasattr(job, "file_prediction"):
        return reverse("predict", args=[job.project_id])
    if job.kind == JobKind.QUALITY:
        return reverse("quality", args=[job.project_id])
    return ""
