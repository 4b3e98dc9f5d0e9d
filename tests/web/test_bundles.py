"""The Take away page: nothing leaves without a report that passed."""

import pytest
from django.urls import reverse

from labeling.models.jobs import JobKind, JobStatus
from labeling.models.projects import Role
from tests.factories import make_job, make_member, make_project
from tests.training.rows import make_finished_run, make_trainable_project
from training.models import Export

pytestmark = pytest.mark.django_db


@pytest.fixture
def run():
    return make_finished_run(make_trainable_project(n_train=1, n_dev=2, n_test=1)[0])


@pytest.fixture
def signed_in(client, run):
    client.force_login(run.project.created_by)
    return client


def url(name, run, *args):
    return reverse(name, args=[run.project_id, *args])


def make_export(run, *, passed=True, status=JobStatus.SUCCEEDED, **values) -> Export:
    report = {
        "max_abs_difference": 2.5e-6, "same_label_share": 1.0, "accuracy": 0.81, "reference_accuracy": 0.82,
        "texts_per_second": 133.4, "n_replayed": 9, "refused_because": None if passed else "labels_differ",
        "replayed_on": "held_out",
    }  # fmt: skip
    export = Export.objects.create(
        project=run.project,
        run=run,
        job=make_job(run.project, JobKind.EXPORT, status=status),
        format="onnx",
        passed=passed,
        **{
            "filename": "wanxing-1-run1-onnx.zip",
            "size_bytes": 22,
            "sha256": "ab" * 32,
            "report": report,
            **values,
        },
    )
    export.folder.mkdir(parents=True, exist_ok=True)
    export.path.write_bytes(b"PK\x05\x06" + bytes(18))
    return export


def test_chosen_formats_become_jobs(signed_in, run):
    response = signed_in.post(url("bundles", run), {"run": run.number, "format": ["onnx", "int8", "paddle"]})
    assert response.status_code == 303
    assert sorted(Export.objects.values_list("format", flat=True)) == ["int8", "onnx", "paddle"]
    signed_in.post(url("bundles", run), {"run": run.number, "format": ["onnx"]})
    assert Export.objects.count() == 3


@pytest.mark.parametrize("formats", [[], ["tflite"]])
def test_no_or_unknown_format_is_said(signed_in, run, formats):
    response = signed_in.post(url("bundles", run), {"run": run.number, "format": formats}, follow=True)
    assert "先选一种格式" in response.content.decode()
    assert not Export.objects.exists()


def test_report_and_lines_to_run_are_shown(signed_in, run):
    make_export(run)
    page = signed_in.get(url("bundles", run)).content.decode()
    for words in (
        "2.5e-06",
        "100.00%",
        "81.0%",
        "82.0%",
        "133",
        "9 条留出的文本",
        "ab" * 32,
        "python infer.py",
    ):
        assert words in page
    assert "cd wanxing-1-run1-onnx" in page


def test_passed_bundle_is_an_attachment(signed_in, run):
    export = make_export(run)
    response = signed_in.get(url("export_download", run, export.pk))
    assert response["Content-Disposition"] == 'attachment; filename="wanxing-1-run1-onnx.zip"'
    assert response["X-Content-Type-Options"] == "nosniff"
    assert b"".join(response.streaming_content).startswith(b"PK")


@pytest.mark.parametrize(
    "made",
    [
        {"passed": False},
        {"status": JobStatus.RUNNING},
        {"status": JobStatus.FAILED},
    ],
)
def test_bundle_that_did_not_pass_cannot_be_had(signed_in, run, made):
    export = make_export(run, **made)
    address = url("export_download", run, export.pk)
    assert signed_in.get(address).status_code == 404
    assert address not in signed_in.get(url("bundles", run)).content.decode()


def test_refusal_is_explained(signed_in, run):
    make_export(run, passed=False)
    assert "给出了不同的标签" in signed_in.get(url("bundles", run)).content.decode()


@pytest.mark.parametrize(
    ("code", "words"),
    [("int8_labels_differ", "每十条里有一条以上"), ("int8_less_accurate", "准确率低了 2 个百分点以上")],
)
def test_refused_int8_is_explained_and_names_the_way_out(signed_in, run, code, words):
    export = make_export(run, passed=False)
    Export.objects.filter(pk=export.pk).update(
        format="int8", report=export.report | {"refused_because": code, "same_label_share": 0.71}
    )
    page = signed_in.get(url("bundles", run)).content.decode()
    for said in (words, "请改用 ONNX 格式", "ONNX int8", "71.00%"):
        assert said in page


def test_bundle_replayed_on_training_texts_says_so(signed_in, run):
    export = make_export(run)
    Export.objects.filter(pk=export.pk).update(
        report=export.report | {"n_replayed": 5, "replayed_on": "train"}
    )
    assert "5 条训练过的文本" in signed_in.get(url("bundles", run)).content.decode()


@pytest.mark.parametrize(
    ("role", "page", "start"),
    [(Role.REVIEWER, 200, 303), (Role.VIEWER, 200, 403), (Role.ANNOTATOR, 403, 403)],
)
def test_roles(client, run, role, page, start):
    export = make_export(run)
    client.force_login(make_member(run.project, role))
    assert client.get(url("bundles", run)).status_code == page
    assert client.get(url("export_download", run, export.pk)).status_code == page
    assert client.post(url("bundles", run), {"format": "onnx"}).status_code == start
    assert client.post(url("export_delete", run, export.pk)).status_code == 403


def test_owner_deletes_a_bundle(signed_in, run, django_capture_on_commit_callbacks):
    export = make_export(run)
    with django_capture_on_commit_callbacks(execute=True):
        signed_in.post(url("export_delete", run, export.pk))
    assert not Export.objects.exists()
    assert not export.folder.exists()


def test_without_a_model_the_page_teaches(client):
    project = make_project()
    client.force_login(project.created_by)
    assert "还没有可以带走的模型" in client.get(reverse("bundles", args=[project.pk])).content.decode()
