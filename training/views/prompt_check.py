"""The live check under the label words and the prompt: a fragment for what is in the form right now."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from labeling.models.labels import DEFAULT_TEMPLATE
from labeling.permissions import project_for
from labeling.services import words as label_words
from training.services.prompt_check import check_prompt

MAX_TEMPLATE = 2_000
# Previews: the first texts in the project's random order, and the longest of the first hundred, which shows the cut.
N_PREVIEWS = 2
LOOKED_AT = 100


@require_POST
def prompt_check(request: HttpRequest, project_id: int) -> HttpResponse:
    """Tokens of each word beside its label, collisions, unknown characters, and the template filled in.

    Reads the fields `name-<id>`, `words-<id>` and `template`; what is not sent is taken as stored. Stores nothing."""
    project = project_for(request, project_id, "read")
    labels, refused = [], {}
    for label in project.labels.filter(archived_at__isnull=True).prefetch_related("words"):
        name = request.POST.get(f"name-{label.pk}", label.name)[:80]
        typed = request.POST.get(f"words-{label.pk}")
        stored = [word.text for word in label.words.all()]
        try:
            words = stored if typed is None else label_words.parse_words(typed)
        except label_words.WordsRefusedInForm as error:
            words = stored
            refused[str(label.pk)] = str(error)
        labels.append((str(label.pk), name, words))
    template = request.POST.get("template")
    if template is None:
        present = label_words.present_template(project)
        template = present.text if present else DEFAULT_TEMPLATE
    # Never a text that measures: whoever writes the prompt must not fit it to them.
    texts = (project.examples.pool() | project.examples.for_training()).order_by("order", "id")
    found = list(texts.values_list("text", flat=True)[:LOOKED_AT])
    shown = found[:N_PREVIEWS]
    shown += [text for text in [max(found, key=len, default="")] if text and text not in shown]
    check = check_prompt(labels=labels, template=template[: MAX_TEMPLATE + 1], texts=shown)
    return render(
        request, "training/prompt_check.html", {"project": project, "check": check, "refused": refused}
    )
