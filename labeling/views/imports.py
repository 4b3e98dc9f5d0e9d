"""Bringing texts in: choose a file, see how it was read, start, follow, and read the report."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from django.conf import settings
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods

from labeling.files import Preview, Row
from labeling.jobs import TooManyJobs, check_upload_rate
from labeling.models import ImportBatch, Project
from labeling.models.texts import Split
from labeling.permissions import project_for
from labeling.services import uploads
from labeling.services.import_words import reason_text
from labeling.services.imports import ImportRefused, request_import
from labeling.services.uploads import RECIPE_NAMES, UploadRefused

FORMAT_NAMES = {
    "txt": "TXT",
    "tsv": "TSV",
    "csv": "CSV",
    "xlsx": "Excel (.xlsx)",
    "json": "JSON",
    "jsonl": "JSONL",
    "recipe": gettext_lazy("五个 txt 的文件夹（train、dev、test、data、label）"),
}
ENCODINGS = ("utf-8", "gb18030", "utf-16")
READING = ("encoding", "text_column", "label_column", "split_column", "has_header")
SHOWN_REPORT_LINES = 50


@require_http_methods(["GET", "POST"])
def import_new(request: HttpRequest, project_id: int) -> HttpResponse:
    """Choose a file. What needs no question (the recipe's folder or zip) is imported at once; else the preview."""
    project = project_for(request, project_id, "setup")
    context: dict[str, Any] = {
        "project": project,
        "section": "texts",
        "max_megabytes": settings.UPLOAD_MAX_BYTES // 1024**2,
        "max_bytes": settings.UPLOAD_MAX_BYTES,
    }
    if request.method == "GET":
        return render(request, "labeling/import_new.html", context)
    try:
        check_upload_rate(user=request.user)
        stored = _store(project, request.FILES.getlist("files"))
        try:
            preview = uploads.peek_upload(upload=stored)
        except UploadRefused:
            uploads.forget_upload(upload=stored)
            raise
        if preview.format == "recipe":
            batch = request_import(project=project, user=request.user, token=stored.token)
            return redirect("import_detail", project.pk, batch.pk)
    except UploadRefused as error:
        return render(request, "labeling/import_new.html", context | {"error": error.message}, status=422)
    except TooManyJobs as error:
        return render(request, "labeling/import_new.html", context | {"error": str(error)}, status=429)
    address = reverse("import_preview", args=[project.pk])
    return redirect(f"{address}?{urlencode({'upload': stored.token})}")


@require_http_methods(["GET", "POST"])
def import_preview(request: HttpRequest, project_id: int) -> HttpResponse:
    """How the stored file is read, with choices where they matter. POST starts the import, reads anew or forgets."""
    project = project_for(request, project_id, "setup")
    values = request.POST if request.method == "POST" else request.GET
    try:
        stored = uploads.find_upload(project=project, token=values.get("upload", ""))
    except UploadRefused as error:
        messages.error(request, error.message)
        return redirect("import_new", project.pk)
    if request.method == "POST" and "forget" in request.POST:
        uploads.forget_upload(upload=stored)
        return redirect("import_new", project.pk)
    options = _reading_options(values)
    split = values.get("split", "") if values.get("split", "") in Split.values else ""
    # A box that is not ticked is not sent: only a form that was shown says no.
    add_labels = "add_labels" in values or "shown" not in values
    problem = ""
    status = 200
    try:
        preview = uploads.peek_upload(upload=stored, options=options)
    except UploadRefused as refused:
        problem, status = refused.message, 422
        try:
            preview = uploads.peek_upload(upload=stored)
        except UploadRefused:
            preview = Preview(format="", encoding="")
    if request.method == "POST" and not problem and "reread" not in request.POST:
        if preview.needs_columns:
            problem, status = _("请先选择哪一列是文本。"), 422
        else:
            try:
                batch = request_import(
                    project=project,
                    user=request.user,
                    token=stored.token,
                    options={**options, "split": split, "add_labels": add_labels},
                )
            except TooManyJobs as refused:
                problem, status = str(refused), 429
            except (ImportRefused, UploadRefused) as refused:
                problem, status = refused.message, 422
            else:
                return redirect("import_detail", project.pk, batch.pk)
    context = {
        "project": project,
        "section": "texts",
        "upload": stored,
        "preview": preview,
        "format_name": FORMAT_NAMES.get(preview.format, preview.format),
        "rows": _shown_rows(preview),
        "n_labelled": sum(1 for row in preview.rows if isinstance(row, Row) and row.label is not None),
        "encodings": ENCODINGS,
        "splits": Split.choices,
        "split": split,
        "add_labels": add_labels,
        "options": options,
        "error": problem,
    }
    return render(request, "labeling/import_preview.html", context, status=status)


@require_GET
def import_detail(request: HttpRequest, project_id: int, batch_id: int) -> HttpResponse:
    """Progress while it runs, the report when it has ended."""
    project = project_for(request, project_id, "read")
    batch = get_object_or_404(ImportBatch.objects.select_related("job"), pk=batch_id, project=project)
    context = {
        "project": project,
        "section": "texts",
        "batch": batch,
        "job": batch.job,
        "reasons": sorted(
            ((reason_text(code), n) for code, n in batch.refused_by_reason.items()), key=lambda item: -item[1]
        ),
        "warnings": [
            (item["line"], reason_text(item["code"]), item["excerpt"]) for item in batch.warnings[:10]
        ],
        "lines": _report_lines(batch) if batch.job.is_finished else [],
        "n_reported": batch.rows_refused + batch.rows_duplicate + batch.rows_relabelled,
        "has_labels": project.labels.filter(archived_at__isnull=True).exists(),
        "n_unlabelled": project.examples.unlabelled().exists(),
    }
    return render(request, "labeling/import_detail.html", context)


@require_GET
def import_report(request: HttpRequest, project_id: int, batch_id: int) -> HttpResponseBase:
    """Every row that was not simply added, as tsv with line numbers and reasons."""
    project = project_for(request, project_id, "read")
    batch = get_object_or_404(ImportBatch, pk=batch_id, project=project)
    path = _report_file(batch)
    if path is None:
        raise Http404("no report")
    response = FileResponse(
        path.open("rb"),
        as_attachment=True,
        filename=f"wanxing-import-{batch.pk}.tsv",
        content_type="text/tab-separated-values; charset=utf-8",
    )
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _store(project: Project, files: list[UploadedFile]) -> uploads.Upload:
    """The upload, stored. Several files are a recipe's folder, or too many at once."""
    if not files:
        raise UploadRefused("empty_file", _("还没有选文件。"))
    if len(files) == 1:
        return uploads.keep_upload(project=project, upload=_binary(files[0]), filename=files[0].name or "")
    named: dict[str, UploadedFile] = {}
    for file in files:
        own = PurePosixPath((file.name or "").replace("\\", "/").lower()).name
        if own in RECIPE_NAMES:
            named.setdefault(own, file)
    if not named.keys() - {"label.txt"}:
        raise UploadRefused(
            "several_files",
            _(
                "一次选了 %(n)d 个文件。请一个一个地导入；只有 train、dev、test、data、label 这几个 txt 可以一起选。"
            )
            % {"n": len(files)},
        )
    (name, first), *more = named.items()
    return uploads.keep_upload(
        project=project,
        upload=_binary(first),
        filename=name,
        more=[(own, _binary(file)) for own, file in more],
    )


def _binary(file: UploadedFile) -> BinaryIO:
    """The upload as the services read it: Django's class has the methods but not the type."""
    return cast(BinaryIO, file)


def _reading_options(values: Any) -> dict[str, Any]:
    """How to read the file, as chosen on the page; what was left to us is left out."""
    options: dict[str, Any] = {
        name: values.get(name, "")[:200] for name in READING[:-1] if values.get(name, "")
    }
    if options.get("encoding") and options["encoding"] not in ENCODINGS:
        del options["encoding"]
    if values.get("has_header") in ("yes", "no"):
        options["has_header"] = values["has_header"] == "yes"
    return options


def _shown_rows(preview: Preview) -> list[dict[str, Any]]:
    return [
        {
            "line": row.line,
            "text": row.text,
            "label": ", ".join(map(str, row.label)) if isinstance(row.label, tuple) else row.label,
            "split": row.split,
            "source": row.source,
        }
        if isinstance(row, Row)
        else {"line": row.line, "text": row.excerpt, "reason": reason_text(row.reason), "source": row.source}
        for row in preview.rows[:12]
    ]


def _report_file(batch: ImportBatch) -> Path | None:
    """The report, if it is where our imports put them."""
    if not batch.report_path:
        return None
    path = (Path(settings.WANXING_HOME) / batch.report_path).resolve()
    inside = path.is_relative_to(uploads.imports_folder().resolve())
    return path if inside and path.is_file() else None


def _report_lines(batch: ImportBatch) -> list[list[str]]:
    """The first lines of the report: source, line, outcome, code, reason, excerpt."""
    path = _report_file(batch)
    if path is None:
        return []
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter="\t")
        return [row for row in itertools.islice(rows, 1, SHOWN_REPORT_LINES + 1) if len(row) == 6]
