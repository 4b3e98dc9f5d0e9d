"""The list of projects, a project's home, making, setting up and deleting one."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from labeling.models import Example, ImportBatch, Project
from labeling.models.jobs import JobKind, JobStatus
from labeling.models.projects import Role
from labeling.models.texts import Split
from labeling.permissions import abilities_of
from tests.factories import make_example, make_job, make_label, make_member, make_project, make_user
from tests.web.test_access import make_run, objects_of
from training.models import Export, FilePrediction, TrainingRun
from webapp.dashboard import overview

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def project() -> Any:
    return make_project(name="舆情分类")


@pytest.fixture
def owner(project: Any) -> Client:
    client = Client(headers={"Accept-Language": "zh-hans"})
    client.force_login(project.created_by)
    return client


def label_enough(project: Any, *, per_label: int = overview.ENOUGH_PER_LABEL) -> None:
    for _ in range(2):
        label = make_label(project)
        for _ in range(per_label):
            make_example(project, label=label)


def states(project: Any, role: str = Role.OWNER) -> dict[str, str]:
    standing = overview.standings_of([project])[project.pk]
    return {step.key: step.state for step in overview.steps_of(project, standing, abilities_of(role))}


def what_next(project: Any, role: str = Role.OWNER) -> str | None:
    standing = overview.standings_of([project])[project.pk]
    step = overview.next_step(overview.steps_of(project, standing, abilities_of(role)))
    return step and step.key


# Where a project stands -------------------------------------------------------------------------


def test_the_five_steps_follow_what_is_there(project: Any) -> None:
    later = dict.fromkeys(["texts", "labels", "label", "train", "take"], "later")
    assert states(project) == {**later, "texts": "now"}
    make_example(project)
    assert states(project) == {**later, "texts": "done", "labels": "now"}
    label_enough(project, per_label=overview.ENOUGH_PER_LABEL - 1)
    assert states(project) == {**later, "texts": "done", "labels": "done", "label": "now"}
    for label in project.labels.all():
        make_example(project, label=label)
    assert states(project)["train"] == "now"
    run = make_run(project, 1)
    assert states(project)["take"] == "now"
    Export.objects.create(project=project, run=run, job=make_job(project, JobKind.EXPORT), passed=True)
    assert set(states(project).values()) == {"done"}


def test_texts_kept_for_tests_do_not_count_as_something_to_learn_from(project: Any) -> None:
    for _ in range(2):
        label = make_label(project)
        for _ in range(overview.ENOUGH_PER_LABEL):
            make_example(project, label=label, split=Split.TEST)
    assert states(project)["label"] == "now"


def test_each_role_is_sent_to_what_it_may_do(project: Any) -> None:
    assert what_next(project, Role.OWNER) == "texts"
    assert what_next(project, Role.ANNOTATOR) is None
    label_enough(project)
    assert what_next(project, Role.REVIEWER) == "train"
    assert what_next(project, Role.ANNOTATOR) == "label"
    assert what_next(project, Role.VIEWER) is None


def test_numbers_are_counted_per_project_in_a_fixed_number_of_queries(
    django_assert_num_queries: Any, project: Any
) -> None:
    label_enough(project, per_label=3)
    make_example(project)
    make_run(project, 1)
    newest = make_run(project, 2)
    newest.evaluations.filter(split="test").update(accuracy=0.75)
    others = [make_project() for _ in range(4)]
    with django_assert_num_queries(7):
        found = overview.standings_of([project, *others])
    standing = found[project.pk]
    assert (standing.texts, standing.labelled, standing.open) == (7, 6, 1)
    assert (standing.labels, standing.thin_labels, standing.runs) == (2, 2, 2)
    assert standing.accuracy is not None
    assert (standing.run_number, standing.accuracy.split, standing.accuracy.accuracy) == (2, "test", 0.75)
    assert found[others[0].pk].texts == 0


# The list ---------------------------------------------------------------------------------------


def test_an_empty_house_offers_the_sample_and_a_file(client: Client) -> None:
    client.force_login(make_user())
    page = client.get(reverse("projects")).content.decode()
    assert reverse("project_sample") in page
    assert 'type="file"' in page


def test_the_list_shows_ones_own_projects_with_progress(owner: Client, project: Any) -> None:
    label_enough(project, per_label=1)
    make_example(project)
    make_project(name="别人的项目")
    page = owner.get(reverse("projects")).content.decode()
    assert "舆情分类" in page
    assert "2 / 3" in page
    assert "别人的项目" not in page


def test_annotators_see_progress_but_no_results(client: Client, project: Any) -> None:
    label_enough(project, per_label=1)
    make_run(project, 1)
    client.force_login(make_member(project, Role.ANNOTATOR))
    for url in (reverse("projects"), reverse("project_home", args=[project.pk])):
        assert "50.0%" not in client.get(url).content.decode()
    client.force_login(project.created_by)
    for url in (reverse("projects"), reverse("project_home", args=[project.pk])):
        assert "50.0%" in client.get(url).content.decode()


def test_home_shows_guidelines_escaped_and_the_last_jobs(owner: Client, project: Any) -> None:
    project.guidelines = "汽车：整车与配件\n<b>不</b>含二手车"
    project.save()
    job = make_job(project, JobKind.TRAIN, status=JobStatus.FAILED)
    make_job(make_project(), JobKind.TRAIN)
    page = owner.get(reverse("project_home", args=[project.pk])).content.decode()
    assert "&lt;b&gt;不&lt;/b&gt;含二手车" in page
    assert page.count(str(job.get_status_display())) == 1


# Making -----------------------------------------------------------------------------------------


def test_a_project_by_its_name(owner: Client) -> None:
    answer = owner.post(reverse("project_new"), {"name": "  客服  工单 "})
    made = Project.objects.get(name="客服 工单")
    assert answer["Location"] == reverse("import_new", args=[made.pk])
    assert made.role_of(made.created_by) == Role.OWNER


def test_a_dropped_file_names_the_project_and_its_import_starts(owner: Client) -> None:
    file = SimpleUploadedFile("标题.txt", "一条\n两条\n".encode())
    answer = owner.post(reverse("project_new"), {"name": "", "file": file})
    made = Project.objects.get(name="标题")
    batch = ImportBatch.objects.get(project=made)
    assert answer["Location"] == reverse("import_detail", args=[made.pk, batch.pk])
    assert batch.job.status == JobStatus.QUEUED


def test_an_empty_file_is_refused_in_the_new_project(owner: Client) -> None:
    answer = owner.post(reverse("project_new"), {"name": "空", "file": SimpleUploadedFile("a.txt", b"")})
    made = Project.objects.get(name="空")
    assert answer["Location"] == reverse("import_new", args=[made.pk])
    assert not ImportBatch.objects.exists()


@pytest.mark.parametrize("name", ["", "   ", "长" * 121])
def test_a_bad_name_is_explained(owner: Client, name: str) -> None:
    answer = owner.post(reverse("project_new"), {"name": name})
    assert answer.status_code == 422
    assert "errorlist" in answer.content.decode()
    assert Project.objects.count() == 1


def test_the_sample_is_opened_once_per_person(owner: Client, project: Any) -> None:
    first = owner.post(reverse("project_sample"))["Location"]
    assert owner.post(reverse("project_sample"))["Location"] == first
    sample = Project.objects.get(is_sample=True)
    assert first == reverse("project_home", args=[sample.pk])
    assert sample.examples.count() >= 300
    assert sample.labels.count() >= 6
    assert owner.get(reverse("project_sample")).status_code == 405


# Settings ---------------------------------------------------------------------------------------


def test_name_and_suggestions(owner: Client, project: Any) -> None:
    url = reverse("project_settings", args=[project.pk])
    owner.post(url, {"name": "新名字"})
    project.refresh_from_db()
    assert (project.name, project.show_suggestions) == ("新名字", False)
    answer = owner.post(url, {"name": "", "show_suggestions": "on"})
    assert answer.status_code == 422
    project.refresh_from_db()
    assert (project.name, project.show_suggestions) == ("新名字", False)


def test_proportions_until_the_first_training(owner: Client, project: Any) -> None:
    for number in range(200):
        make_example(project, f"标题{number}")
    url = reverse("project_splits", args=[project.pk])
    owner.post(url, {"dev_percent": 10, "test_percent": 40})
    project.refresh_from_db()
    assert (project.dev_percent, project.test_percent) == (10, 40)
    assert 50 <= Example.objects.filter(project=project, split=Split.TEST).count() <= 110
    for bad in ({"dev_percent": 46, "test_percent": 10}, {"dev_percent": -1, "test_percent": 10}, {}):
        assert owner.post(url, bad).status_code == 422
    make_job(project, JobKind.TRAIN, status=JobStatus.SUCCEEDED)
    assert owner.post(url, {"dev_percent": 20, "test_percent": 20}).status_code == 422
    project.refresh_from_db()
    assert (project.dev_percent, project.test_percent) == (10, 40)
    page = owner.get(reverse("project_settings", args=[project.pk])).content.decode()
    assert "dev_percent" not in page


# Deleting ---------------------------------------------------------------------------------------


def test_deleting_wants_the_name_typed(owner: Client, project: Any) -> None:
    make_example(project)
    url = reverse("project_delete", args=[project.pk])
    for typed in ("", "别的名字"):
        assert owner.post(url, {"name": typed}).status_code == 422
    assert Project.objects.filter(pk=project.pk).exists()
    assert owner.post(url, {"name": "舆情分类"})["Location"] == reverse("projects")
    assert not Project.objects.filter(pk=project.pk).exists()
    assert not Example.objects.exists()
    assert owner.get(url).status_code == 404


def test_deleting_takes_runs_bundles_and_all_files_along(
    owner: Client, project: Any, django_capture_on_commit_callbacks: Any
) -> None:
    make_member(project)
    objects = objects_of(project, number=3)
    other = make_project()
    make_member(other)
    kept = objects_of(other, number=1)
    folders = [
        TrainingRun.objects.get(project=project).folder,
        Export.objects.get(pk=objects["export_id"]).folder,
        FilePrediction.objects.get(pk=objects["prediction_id"]).folder,
        (settings.WANXING_HOME / ImportBatch.objects.get(pk=objects["batch_id"]).path).parent,
    ]
    assert all(folder.is_dir() for folder in folders)
    with django_capture_on_commit_callbacks(execute=True):
        answer = owner.post(reverse("project_delete", args=[project.pk]), {"name": project.name})
    assert answer["Location"] == reverse("projects")
    assert [folder for folder in folders if folder.exists()] == []
    assert not TrainingRun.objects.filter(project_id=project.pk).exists()
    assert Export.objects.get().pk == kept["export_id"]
    assert Export.objects.get().path.is_file()


def test_a_project_with_a_running_job_is_deleted_once_that_has_stopped(owner: Client, project: Any) -> None:
    job = make_job(project, JobKind.TRAIN, status=JobStatus.RUNNING)
    url = reverse("project_delete", args=[project.pk])
    assert owner.post(url, {"name": project.name}).status_code == 422
    job.refresh_from_db()
    assert job.cancel_requested_at is not None
    assert job.cancelled()
    assert owner.post(url, {"name": project.name}).status_code == 302
