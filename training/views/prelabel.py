"""From nothing: the model guesses the texts that nobody has labelled, and says how sure it is."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from labeling.jobs import TooManyJobs
from labeling.permissions import project_for
from training.services import prelabelling
from training.services.prelabel_state import standing


@require_http_methods(["GET", "POST"])
def prelabel(request: HttpRequest, project_id: int) -> HttpResponse:
    """GET: where it stands, as a fragment. POST: start it."""
    if request.method == "GET":
        project = project_for(request, project_id, "read")
        if not request.htmx:  # type: ignore[attr-defined]
            return redirect("labels", project.pk)
        return render(
            request, "training/workbench/prelabel.html", {"project": project, "pre": standing(project)}
        )
    project = project_for(request, project_id, "train")
    try:
        prelabelling.request_prelabelling(project=project, user=request.user)
    except prelabelling.PrelabellingRefused as error:
        words = {
            "no_texts": _("没有未标注的训练文本可以猜。先导入一些。"),
            "too_few_labels": _("至少要有两个标签，模型才有得选。"),
        }
        messages.error(
            request, words.get(error.code) or error.check.error or _("先改好标红的词，再让模型猜。")
        )
    except TooManyJobs as error:
        messages.error(request, str(error))
    return redirect("labels", project.pk)
