"""The two pages that need both rooms: all projects, and one project's home; and a project's settings."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from labeling.models import Job, Project
from labeling.models.jobs import JobKind
from labeling.permissions import project_for
from labeling.services import guidelines, overlap, splits, tasks
from webapp import disk
from webapp.dashboard import overview
from webapp.dashboard.forms import OverlapForm, ProjectForm, SplitsForm, TaskForm


@require_GET
def projects(request: HttpRequest) -> HttpResponse:
    """Every project of the person: how far it is and what comes next."""
    return render(request, "dashboard/projects.html", {"cards": overview.cards_for(request.user)})


@require_GET
def project_home(request: HttpRequest, project_id: int) -> HttpResponse:
    """What next? Five steps with their state; guidelines; what happened lately."""
    project = project_for(request, project_id, "open")
    abilities: frozenset[str] = request.abilities  # type: ignore[attr-defined]
    standing = overview.standings_of([project])[project.pk]
    steps = overview.steps_of(project, standing, abilities)
    context = {
        "project": project,
        "section": "home",
        "standing": standing,
        "steps": steps,
        "next_step": overview.next_step(steps),
        "activity": overview.recent_jobs(project) if "read" in abilities else [],
    }
    return render(request, "dashboard/home.html", context)


@require_http_methods(["GET", "POST"])
def project_settings(request: HttpRequest, project_id: int) -> HttpResponse:
    """Name and suggestions; the doors to the guidelines, to proportions and to deletion."""
    project = project_for(request, project_id, "manage")
    # The form writes into its instance even when invalid: the page's own header must not show that.
    form = ProjectForm(request.POST or None, instance=Project.objects.get(pk=project.pk))
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, _("已保存。"))
        return redirect("project_settings", project.pk)
    return _settings_page(request, project, form=form)


@require_POST
def project_splits(request: HttpRequest, project_id: int) -> HttpResponse:
    """Change what is kept for dev and test, until the first training."""
    project = project_for(request, project_id, "manage")
    form = SplitsForm(request.POST)
    if form.is_valid():
        try:
            counts = splits.resplit(project=project, **form.cleaned_data)
        except splits.SplitRefused as error:
            form.add_error(None, str(error))
        else:
            words = {"dev": counts["dev"], "test": counts["test"]}
            messages.success(request, _("已重新划分：验证集 %(dev)d 条，测试集 %(test)d 条。") % words)
            return redirect("project_settings", project.pk)
    return _settings_page(request, project, splits_form=form)


@require_POST
def project_overlap(request: HttpRequest, project_id: int) -> HttpResponse:
    """Change how many people decide each text; what was decided is folded anew, and the page says what came of it."""
    project = project_for(request, project_id, "manage")
    form = OverlapForm(request.POST)
    if not form.is_valid():
        return _settings_page(request, project, overlap_form=form)
    changed = overlap.change_overlap(project=project, overlap=form.cleaned_data["overlap"])
    words = {
        "people": project.overlap,
        "texts": changed.texts,
        "opened": changed.opened,
        "labelled": changed.labelled,
        "disputed": changed.disputed,
    }
    messages.success(
        request,
        _(
            "现在每条文本由 %(people)d 个人标注。重新看了 %(texts)d 条有人标过的文本：%(opened)d 条变为待标注，"
            "%(disputed)d 条待裁决，%(labelled)d 条变为已标注。没有丢掉任何决定。"
        )
        % words,
    )
    return redirect("project_settings", project.pk)


@require_POST
def project_task(request: HttpRequest, project_id: int) -> HttpResponse:
    """One label a text, or several; where the decisions so far stand in the way, the page says how many."""
    project = project_for(request, project_id, "manage")
    form = TaskForm(request.POST)
    if form.is_valid():
        try:
            moved = tasks.change_task(project=project, task=form.cleaned_data["task"])
        except tasks.TaskRefused as error:
            form.add_error(None, str(error))
        else:
            messages.success(
                request, _("已改。%(n)d 个标签照原样保留。") % {"n": moved} if moved else _("已保存。")
            )
            return redirect("project_settings", project.pk)
    return _settings_page(request, project, task_form=form)


def _settings_page(
    request: HttpRequest,
    project: Project,
    *,
    form: ProjectForm | None = None,
    splits_form: SplitsForm | None = None,
    overlap_form: OverlapForm | None = None,
    task_form: TaskForm | None = None,
) -> HttpResponse:
    failed = any(one is not None and one.errors for one in (form, splits_form, overlap_form, task_form))
    proportions = {"dev_percent": project.dev_percent, "test_percent": project.test_percent}
    context = {
        "project": project,
        "section": "settings",
        "form": form or ProjectForm(instance=project),
        "splits_form": splits_form or SplitsForm(initial=proportions),
        "overlap_form": overlap_form or OverlapForm(initial={"overlap": project.overlap}),
        "task_form": task_form or TaskForm(initial={"task": project.task}),
        "splits_locked": Job.objects.filter(project=project, kind=JobKind.TRAIN).exists(),
        "guideline_version": guidelines.newest_version(project),
        "size_bytes": disk.project_bytes(project),
        "n_texts": project.examples.count(),
    }
    return render(request, "dashboard/settings.html", context, status=422 if failed else 200)
