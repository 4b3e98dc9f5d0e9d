"""The quality pages: empty states, a look that is going, the lists, and taking a text off."""

from __future__ import annotations

import pytest
from django.urls import reverse

from labeling.models import Annotation, QualityCheck, Suspect
from labeling.models.annotations import Source
from labeling.models.jobs import JobKind, JobStatus
from labeling.models.projects import Role
from labeling.models.quality import SuspectKind
from labeling.services import quality
from tests import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    project = make.make_project()
    for name in ("财经", "体育"):
        make.make_label(project, name)
    return project


@pytest.fixture
def owner(client, project):
    client.force_login(project.created_by)
    return client


def look(project, status=JobStatus.SUCCEEDED, **values) -> QualityCheck:
    return QualityCheck.objects.create(
        project=project, job=make.make_job(project, JobKind.QUALITY, status=status), **values
    )


def suspect(check, text: str, kind: str = SuspectKind.ERRORS, **values) -> Suspect:
    labels = list(check.project.labels.all())
    example = make.make_example(check.project, text, label=labels[0])
    values.setdefault("suggested_label", labels[1] if kind == SuspectKind.ERRORS else None)
    return Suspect.objects.create(
        check_run=check, project=check.project, kind=kind, example=example, score=0.1,
        rank=check.suspects.count(), after_annotation=quality.newest_annotation_id(check.project), **values,
    )  # fmt: skip


def read(client, name, *args) -> str:
    return client.get(reverse(name, args=args)).content.decode()


def test_a_project_without_texts_says_where_to_begin(owner, project):
    assert "还没有文本" in read(owner, "quality", project.pk)
    owner.post(reverse("quality", args=[project.pk]))
    assert not QualityCheck.objects.exists()
    assert "先导入一些，再检查" in read(owner, "quality", project.pk)


def test_before_the_first_look(owner, project):
    make.make_example(project)
    page = read(owner, "quality", project.pk)
    assert "还没有检查过" in page
    assert "带标签的不到 20 条时，看不出哪些标签错了" in page
    assert "开始检查" in page
    assert "还没有检查过" in read(owner, "quality_list", project.pk, "errors")


def test_starting_a_look_shows_its_progress_and_starts_one(owner, project):
    make.make_example(project)
    for _ in range(2):
        assert owner.post(reverse("quality", args=[project.pk])).status_code == 302
    assert QualityCheck.objects.count() == 1
    page = read(owner, "quality", project.pk)
    assert 'id="job-' in page
    assert "开始检查" not in page


def test_a_look_that_failed_says_why(owner, project):
    make.make_example(project)
    check = look(project, JobStatus.FAILED)
    check.job.error_code = "disk_full"
    check.job.save()
    page = read(owner, "quality", project.pk)
    assert "磁盘已满" in page
    assert "开始检查" in page


def test_the_overview_counts_what_stands(owner, project):
    check = look(project, n_labelled=40, n_texts=90, accuracy=0.62)
    suspect(check, "一")
    suspect(check, "二")
    suspect(check, "三", SuspectKind.OUTLIERS)
    page = read(owner, "quality", project.pk)
    assert "上次检查看了 90 条文本，其中 40 条带标签" in page
    assert "62.0%" in page
    assert f"{reverse('label', args=[project.pk])}?queue=errors" in page
    assert "没有待看的" in page  # no doubles


def test_too_few_labels_are_said(owner, project):
    look(project, n_labelled=3, skipped="few_labels")
    make.make_example(project)
    assert "没有找：带标签的训练文本不到 20 条" in read(owner, "quality", project.pk)


def test_the_list_shows_texts_reasons_and_both_ways_out(owner, project):
    check = look(project)
    suspect(check, "<b>主队</b>三比一")
    page = read(owner, "quality_list", project.pk, "errors")
    assert "&lt;b&gt;主队&lt;/b&gt;三比一" in page
    assert "现在是“财经”；没学过这一条的模型更倾向“体育”" in page
    assert "“财经”没错" in page
    assert "改成“体育”" in page


@pytest.mark.parametrize("do, label", [("keep", 0), ("take", 1)])
def test_taking_a_text_off(owner, project, do, label):
    one = suspect(look(project), "主队三比一")
    url = reverse("quality_decide", args=[project.pk, "errors", one.example_id])
    answer = owner.post(url, {"do": do}, headers={"HX-Request": "true"})
    assert "记下了" in answer.content.decode()
    event = Annotation.objects.get()
    assert (event.source, event.label) == (Source.REVIEW, list(project.labels.all())[label])
    assert quality.counts(project)["errors"] == 0
    # A second press finds it gone, and changes nothing.
    owner.post(url, {"do": do})
    assert Annotation.objects.count() == 1


def test_an_outlier_without_a_label_is_noted_as_seen(owner, project):
    one = suspect(look(project), "乱码", SuspectKind.OUTLIERS)
    one.example.label, one.example.status = None, "open"
    one.example.save()
    owner.post(reverse("quality_decide", args=[project.pk, "outliers", one.example_id]), {"do": "keep"})
    assert Annotation.objects.get().action == "skip"
    assert quality.counts(project)["outliers"] == 0


def test_a_label_that_was_deleted_meanwhile_is_said(owner, project):
    one = suspect(look(project), "主队三比一")
    from django.utils import timezone

    project.labels.filter(pk=one.suggested_label_id).update(archived_at=timezone.now())
    owner.post(reverse("quality_decide", args=[project.pk, "errors", one.example_id]), {"do": "take"})
    assert not Annotation.objects.exists()
    assert "这个标签已被删除" in read(owner, "quality_list", project.pk, "errors")


def test_each_list_opens_as_a_labelling_queue(owner, project):
    check = look(project)
    first, second = suspect(check, "主队三比一"), suspect(check, "股价大涨")
    page = owner.get(reverse("label", args=[project.pk]), {"queue": "errors"}).content.decode()
    assert "主队三比一" in page
    assert '"source": "review"' in page
    assert "\\u6ca1\\u5b66\\u8fc7\\u8fd9\\u4e00\\u6761" in page or "没学过这一条" in page
    more = owner.get(
        reverse("label_next", args=[project.pk]), {"queue": "errors", "have": first.example_id}
    ).json()
    assert [text["id"] for text in more["texts"]] == [second.example_id]
    assert "suggestion" not in more["texts"][0] or more["texts"][0]["suggestion"] is None


def test_an_unknown_list_is_not_found(owner, project):
    assert owner.get(reverse("quality_list", args=[project.pk, "nonsense"])).status_code == 404
    assert owner.post(reverse("quality_decide", args=[project.pk, "nonsense", 1])).status_code == 404


@pytest.mark.parametrize("role, may_act", [(Role.REVIEWER, True), (Role.VIEWER, False)])
def test_a_viewer_reads_and_a_reviewer_acts(client, project, role, may_act):
    suspect(look(project), "主队三比一")
    client.force_login(make.make_member(project, role))
    page = read(client, "quality_list", project.pk, "errors")
    assert "主队三比一" in page
    assert ("没错</button>" in page) is may_act
    assert ("再检查一次" in read(client, "quality", project.pk)) is may_act
    assert (
        client.get(reverse("label", args=[project.pk]), {"queue": "errors"}).status_code == 200
    ) is may_act
