"""Labels and their words: one form for all of them, with a box to add many at once."""

from __future__ import annotations

from typing import Any, BinaryIO, cast

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST

from labeling.models import Label, Project
from labeling.models.labels import DEFAULT_TEMPLATE, PALETTE
from labeling.permissions import project_for
from labeling.services import labels as service
from labeling.services import words as label_words
from labeling.services.words_file import WordsRefused, merge_words, words_file

FIELDS = ("name", "words", "color", "key")
# From here on the rows get a box to find one.
MANY_LABELS = 20


@require_http_methods(["GET", "POST"])
def labels(request: HttpRequest, project_id: int) -> HttpResponse:
    """The page. POST stores all rows and the prompt together, or nothing; the button may also move a row."""
    if request.method == "GET":
        project = project_for(request, project_id, "read")
        return render_labels(request, project)
    project = project_for(request, project_id, "setup")
    edits = [
        service.LabelEdit(
            label_id=label.pk,
            **{field: request.POST.get(f"{field}-{label.pk}", "") for field in FIELDS},
        )
        for label in service.present_labels(project)
        if f"name-{label.pk}" in request.POST
    ]
    template = request.POST.get("template")
    before = label_words.present_template(project)
    version_before = before.version if before else 0
    template_error = ""
    with transaction.atomic():
        errors = service.edit_labels(project=project, edits=edits)
        try:
            saved = (
                None
                if template is None
                else label_words.save_template(project=project, user=request.user, text=template)
            )
        except label_words.TemplateRefused as error:
            template_error = str(error)
        if errors or template_error:
            transaction.set_rollback(True)
    if errors or template_error:
        typed = {(edit.label_id, field): getattr(edit, field) for edit in edits for field in FIELDS}
        return render_labels(
            request,
            project,
            typed=typed,
            errors=errors,
            template_text=template,
            template_error=template_error,
            status=422,
        )
    if "order" in request.POST:
        order = [
            int(word) for word in request.POST["order"].split(",") if word.isdecimal() and len(word) < 19
        ]
        if order:
            service.reorder_labels(project=project, order=order)
    direction, _colon, label_id = request.POST.get("move", "").partition(":")
    if direction in ("up", "down") and label_id.isdecimal() and len(label_id) < 19:
        service.move_label(project=project, label_id=int(label_id), by=-1 if direction == "up" else 1)
    elif saved is not None and saved.version > version_before:
        messages.success(request, _("已保存；提示模板存为第 %(n)d 版。") % {"n": saved.version})
    else:
        messages.success(request, _("已保存。"))
    return redirect("labels", project.pk)


@require_POST
def labels_add(request: HttpRequest, project_id: int) -> HttpResponse:
    """Add labels, one a line. Lines that were refused come back into the box with the reason."""
    project = project_for(request, project_id, "setup")
    lines = request.POST.get("lines", "")
    added = service.add_labels(project=project, lines=lines)
    if added.labels:
        n = len(added.labels)
        messages.success(request, ngettext("加了 %(n)d 个标签。", "加了 %(n)d 个标签。", n) % {"n": n})
    if added.changed:
        messages.success(
            request,
            _("给已有的标签加了词：%(names)s") % {"names": "、".join(one.name for one in added.changed)},
        )
    if added.refused or not lines.strip():
        return render_labels(
            request,
            project,
            lines="\n".join(line for _number, line, _reason in added.refused),
            refused=added.refused or [(1, "", _("每行写一个标签"))],
            status=422,
        )
    return redirect("labels", project.pk)


@require_http_methods(["GET", "POST"])
def labels_file(request: HttpRequest, project_id: int) -> HttpResponse:
    """GET: the `label==word` file. POST: read one into the project."""
    if request.method == "GET":
        project = project_for(request, project_id, "read")
        response = HttpResponse(words_file(project=project), content_type="text/plain; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="label.txt"'
        response["X-Content-Type-Options"] = "nosniff"
        return response
    project = project_for(request, project_id, "setup")
    file = request.FILES.get("file")
    if file is None:
        return render_labels(request, project, file_error=_("还没有选文件。"), status=422)
    try:
        report = merge_words(project=project, file=cast(BinaryIO, file))
    except WordsRefused as error:
        return render_labels(request, project, file_error=str(error), status=422)
    messages.success(
        request,
        _("标签文件已读入：新增 %(added)d 个，改了 %(changed)d 个的词，%(same)d 个没有变。")
        % {"added": len(report.added), "changed": len(report.changed), "same": len(report.same)},
    )
    if report.warnings:
        messages.warning(
            request,
            _("有 %(n)d 行写法不标准，已按 == 读取或略过重复：%(lines)s")
            % {
                "n": len(report.warnings),
                "lines": _("；").join(f"{one.line}: {one.excerpt}" for one in report.warnings[:5]),
            },
        )
    return redirect("labels", project.pk)


@require_http_methods(["GET", "POST"])
def label_delete(request: HttpRequest, project_id: int, label_id: int) -> HttpResponse:
    """Ask, and delete; texts that carry the label go to another one first."""
    project = project_for(request, project_id, "setup")
    label = get_object_or_404(Label, pk=label_id, project=project, archived_at__isnull=True)
    error = ""
    if request.method == "POST":
        asked = request.POST.get("move_to", "")
        name = label.name
        try:
            moved = service.delete_label(
                project=project,
                user=request.user,
                label_id=label.pk,
                move_to_id=int(asked) if asked.isdecimal() and len(asked) < 19 else None,
            )
        except service.LabelRefused as refused:
            error = str(refused)
        else:
            messages.success(
                request,
                _("标签“%(name)s”已删除，%(n)d 条文本改到了别的标签。") % {"name": name, "n": moved}
                if moved
                else _("标签“%(name)s”已删除。") % {"name": name},
            )
            return redirect("labels", project.pk)
    context = {
        "project": project,
        "section": "labels",
        "label": label,
        "n_texts": label.examples.count(),
        "others": project.labels.filter(archived_at__isnull=True).exclude(pk=label.pk),
        "error": error,
    }
    return render(request, "labeling/label_delete.html", context, status=422 if error else 200)


def render_labels(
    request: HttpRequest,
    project: Project,
    *,
    typed: dict[tuple[int, str], str] | None = None,
    errors: dict[tuple[int, str], str] | None = None,
    template_text: str | None = None,
    template_error: str = "",
    status: int = 200,
    **more: Any,
) -> HttpResponse:
    """The labels page with what was typed and what is wrong with it, each at its place."""
    typed, errors = typed or {}, errors or {}
    present = label_words.present_template(project)
    stored = present.text if present else DEFAULT_TEMPLATE
    rows = []
    for label in service.present_labels(project):
        values = {
            "name": label.name,
            "words": label_words.join_words([word.text for word in label.words.all()]),
            "color": label.color,
            "key": label.key,
        }
        rows.append(
            {
                "label": label,
                **{field: typed.get((label.pk, field), values[field]) for field in FIELDS},
                "errors": {
                    field: errors[(label.pk, field)] for field in FIELDS if (label.pk, field) in errors
                },
            }
        )
    context = {
        "project": project,
        "section": "labels",
        "rows": rows,
        "palette": PALETTE,
        "typed": bool(typed or template_text is not None),
        "may_edit": "setup" in request.abilities,  # type: ignore[attr-defined]
        "template": present,
        "template_text": stored if template_text is None else template_text,
        "template_error": template_error,
        "versions": label_words.template_versions(project),
        "many": len(rows) > MANY_LABELS,
        **more,
    }
    return render(request, "labeling/labels.html", context, status=status)
