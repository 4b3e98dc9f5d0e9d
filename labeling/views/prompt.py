"""The prompt template: stored as versions, restored as a new one."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from labeling.permissions import project_for
from labeling.services import words
from labeling.views.labels import render_labels


@require_POST
def template_save(request: HttpRequest, project_id: int) -> HttpResponse:
    """Store the template as a new version; a wrong one comes back with the reason at its place."""
    project = project_for(request, project_id, "setup")
    text = request.POST.get("template", "")
    before = words.present_template(project)
    try:
        saved = words.save_template(project=project, user=request.user, text=text)
    except words.TemplateRefused as error:
        return render_labels(request, project, template_text=text, template_error=str(error), status=422)
    if saved == before:
        messages.info(request, _("提示模板没有变。"))
    else:
        messages.success(request, _("提示模板已存为第 %(n)d 版。") % {"n": saved.version})
    return redirect("labels", project.pk)


@require_POST
def template_restore(request: HttpRequest, project_id: int) -> HttpResponse:
    """An earlier version becomes the newest."""
    project = project_for(request, project_id, "setup")
    asked = request.POST.get("version", "")
    try:
        saved = words.restore_template(
            project=project,
            user=request.user,
            version=int(asked) if asked.isdecimal() and len(asked) < 9 else 0,
        )
    except words.TemplateRefused as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("已恢复，存为第 %(n)d 版。") % {"n": saved.version})
    return redirect("labels", project.pk)
