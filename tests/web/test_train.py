"""The Train page: what it shows, what its button does, and who may."""

import uuid

import pytest
from django.urls import reverse

from labeling import jobs
from labeling.models.jobs import JobKind, JobStatus
from labeling.models.projects import Role
from tests.factories import make_job, make_label, make_member, make_project, make_user
from tests.training.rows import make_finished_run, make_run, make_trainable_project
from training.models import TrainingRun

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_trainable_project(n_train=2, n_dev=2, n_test=1)[0]


@pytest.fixture
def signed_in(client, project):
    client.force_login(project.created_by)
    return client


def test_button_starts_a_run_and_leads_to_it(signed_in, project):
    response = signed_in.post(reverse("train", args=[project.pk]), {"token": str(uuid.uuid4())})
    run = TrainingRun.objects.get(project=project)
    assert (response.status_code, response["Location"]) == (303, reverse("run", args=[project.pk, 1]))
    assert run.job.status == JobStatus.QUEUED
    assert run.job.created_by == project.created_by


def test_double_click_starts_one_run(signed_in, project):
    token = str(uuid.uuid4())
    for _ in range(2):
        signed_in.post(reverse("train", args=[project.pk]), {"token": token})
    assert TrainingRun.objects.filter(project=project).count() == 1


def test_each_visit_has_a_token_of_its_own(signed_in, project):
    url = reverse("train", args=[project.pk])
    first, second = (signed_in.get(url).context["form"]["token"].value() for _ in range(2))
    assert first != second


def test_blocking_problem_is_shown_before_and_after_the_button(client):
    project = make_project()
    make_label(project, "唯一")
    client.force_login(project.created_by)
    url = reverse("train", args=[project.pk])
    page = client.get(url).content.decode()
    assert "只有一个标签" in page
    assert reverse("import_new", args=[project.pk]) in page
    response = client.post(url, {})
    assert response.status_code == 422
    assert "只有一个标签" in response.content.decode()
    assert not TrainingRun.objects.exists()


def test_bad_setting_keeps_what_was_typed_and_opens_the_fold(signed_in, project):
    response = signed_in.post(
        reverse("train", args=[project.pk]), {"learning_rate": "9", "note": "我的备注", "seed": "123"}
    )
    page = response.content.decode()
    assert response.status_code == 422
    assert 'value="我的备注"' in page
    assert 'value="123"' in page
    assert '<details class="fold" open>' in page
    assert "errorlist" in page


def test_too_many_runs_are_refused_kindly(signed_in, project):
    for _ in range(jobs.HOURLY_LIMITS[JobKind.TRAIN]):
        make_job(project, JobKind.TRAIN, status=JobStatus.FAILED)
    response = signed_in.post(reverse("train", args=[project.pk]), {})
    assert response.status_code == 429
    assert "请稍后再试" in response.content.decode()


def test_runs_so_far_stand_in_a_table(signed_in, project):
    make_finished_run(project, wrong=1, note="第一版")
    make_run(project, status=JobStatus.FAILED)
    page = signed_in.get(reverse("train", args=[project.pk])).content.decode()
    assert "第一版" in page
    assert "83.3%" in page
    assert "badge-failed" in page
    assert reverse("run", args=[project.pk, 2]) in page


def test_running_run_is_shown_with_its_progress(signed_in, project):
    run = make_run(project, status=JobStatus.RUNNING)
    page = signed_in.get(reverse("train", args=[project.pk])).content.decode()
    assert reverse("job_status", args=[project.pk, run.job_id]) in page
    assert reverse("job_cancel", args=[project.pk, run.job_id]) in page


@pytest.mark.parametrize(
    ("role", "get", "post"),
    [(Role.REVIEWER, 200, 303), (Role.VIEWER, 200, 403), (Role.ANNOTATOR, 403, 403)],
)
def test_roles(client, project, role, get, post):
    client.force_login(make_member(project, role))
    url = reverse("train", args=[project.pk])
    assert client.get(url).status_code == get
    assert client.post(url, {}).status_code == post
    assert TrainingRun.objects.filter(project=project).exists() == (post == 303)


def test_viewer_sees_no_button(client, project):
    client.force_login(make_member(project, Role.VIEWER))
    assert "开始训练" not in client.get(reverse("train", args=[project.pk])).content.decode()


def test_strangers_find_nothing(client, project):
    client.force_login(make_user())
    assert client.post(reverse("train", args=[project.pk]), {}).status_code == 404


def test_retry_starts_a_new_run_with_the_same_settings(signed_in, project):
    signed_in.post(reverse("train", args=[project.pk]), {"seed": "9", "method": "prompt"})
    response = signed_in.post(reverse("run_retry", args=[project.pk, 1]), {"token": str(uuid.uuid4())})
    assert response["Location"] == reverse("run", args=[project.pk, 2])
    first, second = TrainingRun.objects.order_by("number")
    assert (second.seed, second.method) == (first.seed, first.method) == (9, "prompt")


def test_retry_of_settings_that_no_longer_hold_says_why(signed_in, project):
    make_run(project, status=JobStatus.FAILED, config={"method": "prompt", "backbone": "gone"})
    response = signed_in.post(reverse("run_retry", args=[project.pk, 1]), {})
    assert response.status_code == 422
    assert "errorlist" in response.content.decode()


def test_delete_is_for_owners_and_finished_runs(client, project, django_capture_on_commit_callbacks):
    run, running = make_finished_run(project), make_run(project, status=JobStatus.RUNNING)
    client.force_login(make_member(project, Role.REVIEWER))
    assert client.post(reverse("run_delete", args=[project.pk, run.number])).status_code == 403
    client.force_login(project.created_by)
    with django_capture_on_commit_callbacks(execute=True):
        assert client.post(reverse("run_delete", args=[project.pk, running.number])).status_code == 303
        assert client.post(reverse("run_delete", args=[project.pk, run.number])).status_code == 303
    assert list(project.runs.all()) == [running]
    assert not run.folder.exists()


def test_note_is_changed(signed_in, project):
    run = make_finished_run(project)
    signed_in.post(reverse("run_note", args=[project.pk, run.number]), {"note": " 最好的一次 "})
    run.refresh_from_db()
    assert run.note == "最好的一次"
