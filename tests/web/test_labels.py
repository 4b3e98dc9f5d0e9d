"""The labels page: one form for all rows, many at once, the label file, deletion, the prompt and its live check."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from labeling.models.projects import Role
from labeling.models.texts import Split
from tests import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    project = make.make_project(template="以下是一条{mask}新闻。{text}")
    make.make_label(project, "财经", words=("财经",))
    make.make_label(project, "体育", words=("体育",))
    return project


@pytest.fixture
def owner(client, project):
    client.force_login(project.created_by)
    return client


def form_of(project, **changes):
    values = {}
    for label in project.labels.filter(archived_at__isnull=True):
        values |= {
            f"name-{label.pk}": label.name,
            f"words-{label.pk}": "，".join(word.text for word in label.words.all()),
            f"color-{label.pk}": label.color,
            f"key-{label.pk}": label.key,
        }
    return values | changes


def test_the_rows_are_stored_together(owner, project):
    first = project.labels.first()
    response = owner.post(
        reverse("labels", args=[project.pk]),
        form_of(project, **{f"words-{first.pk}": "金融，股票", f"key-{first.pk}": "Q"}),
    )
    assert response.status_code == 302
    first.refresh_from_db()
    assert (first.word_texts, first.key) == (["金融", "股票"], "q")


def test_a_mistake_comes_back_with_everything_that_was_typed(owner, project):
    first, second = project.labels.all()
    response = owner.post(
        reverse("labels", args=[project.pk]),
        form_of(project, **{f"name-{first.pk}": "体育", f"words-{second.pk}": "打了很久的词"}),
    )
    html = response.content.decode()
    assert response.status_code == 422
    assert "已有同名的标签" in html
    assert "打了很久的词" in html
    first.refresh_from_db()
    assert first.name == "财经"


def test_a_move_button_stores_the_row_too(owner, project):
    first, second = project.labels.all()
    owner.post(
        reverse("labels", args=[project.pk]),
        form_of(project, **{f"words-{first.pk}": "金融", "move": f"down:{first.pk}"}),
    )
    assert list(project.labels.values_list("pk", flat=True)) == [second.pk, first.pk]
    first.refresh_from_db()
    assert first.word_texts == ["金融"]


def test_a_dragged_order_is_stored(owner, project):
    first, second = project.labels.all()
    owner.post(
        reverse("labels", args=[project.pk]), form_of(project, order=f"{second.pk},x,{'9' * 40},{first.pk}")
    )
    assert list(project.labels.values_list("pk", flat=True)) == [second.pk, first.pk]


def test_many_labels_at_once_and_the_refused_lines_stay_in_the_box(owner, project):
    response = owner.post(reverse("labels_add", args=[project.pk]), {"lines": "汽车\n财经\n<b>==词"})
    html = response.content.decode()
    assert response.status_code == 422
    assert response.context["lines"] == "财经"
    assert "<b>==" not in html
    assert list(project.labels.values_list("name", flat=True)) == ["财经", "体育", "汽车", "<b>"]
    assert owner.post(reverse("labels_add", args=[project.pk]), {"lines": " \n"}).status_code == 422


def test_the_label_file_goes_out_and_comes_back(owner, project):
    url = reverse("labels_file", args=[project.pk])
    response = owner.get(url)
    assert response.content.decode() == "财经==财经\n体育==体育\n"
    assert response["Content-Disposition"] == 'attachment; filename="label.txt"'
    assert response["X-Content-Type-Options"] == "nosniff"
    file = SimpleUploadedFile("label.txt", "体育==运动\nnews_car'=='汽车\n".encode())
    answer = owner.post(url, {"file": file}, follow=True)
    assert [label.word_texts for label in project.labels.all()] == [["财经"], ["运动"], ["汽车"]]
    assert "news_car" in " ".join(str(message) for message in answer.context["messages"])


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\xd8\x00", b"==x", b"PK\x03\x04" + bytes(40)])
def test_a_broken_label_file_changes_nothing_and_says_why(owner, project, content):
    file = SimpleUploadedFile("label.txt", content)
    response = owner.post(reverse("labels_file", args=[project.pk]), {"file": file})
    assert response.status_code == 422
    assert response.context["file_error"]
    assert project.labels.count() == 2


def test_deletion_asks_where_the_texts_go(owner, project):
    first, second = project.labels.all()
    example = make.make_example(project, label=first)
    url = reverse("label_delete", args=[project.pk, first.pk])
    assert owner.get(url).context["n_texts"] == 1
    assert owner.post(url).status_code == 422
    assert owner.post(url, {"move_to": second.pk}).status_code == 302
    example.refresh_from_db()
    assert example.label == second
    assert owner.get(url).status_code == 404


def test_a_label_of_another_project_cannot_be_deleted(owner, project):
    foreign = make.make_label(make.make_project())
    assert owner.post(reverse("label_delete", args=[project.pk, foreign.pk])).status_code == 404


def test_the_prompt_gets_versions_and_an_old_one_comes_back(owner, project):
    url = reverse("template_save", args=[project.pk])
    owner.post(url, {"template": "{text}这是{mask}。"})
    owner.post(url, {"template": "{text}这是{mask}。"})
    assert project.templates.count() == 2
    owner.post(reverse("template_restore", args=[project.pk]), {"version": "1"})
    assert project.templates.first().text == "以下是一条{mask}新闻。{text}"
    assert project.templates.first().version == 3
    owner.post(reverse("template_restore", args=[project.pk]), {"version": "8x"})
    assert project.templates.count() == 3


def test_a_wrong_template_comes_back_with_its_error(owner, project):
    response = owner.post(reverse("template_save", args=[project.pk]), {"template": "没有空格 {text} <i>"})
    assert response.status_code == 422
    assert "{mask}" in response.context["template_error"]
    assert "没有空格 {text} &lt;i&gt;" in response.content.decode()
    assert project.templates.count() == 1


def check(client, project, **values):
    response = client.post(reverse("prompt_check", args=[project.pk]), values, headers={"HX-Request": "true"})
    assert response.status_code == 200
    return response.context["check"], response.content.decode()


def test_the_check_shows_tokens_and_fills_the_template(owner, project):
    make.make_example(project, "央行宣布降息")
    checked, html = check(owner, project)
    first = project.labels.first()
    assert checked.words[str(first.pk)][0].tokens
    assert f'id="check-{first.pk}"' in html
    assert "央行宣布降息" in html
    assert html.count("piece-mask") == checked.n_masks


def test_the_check_reads_what_is_typed_not_what_is_stored(owner, project):
    first, second = project.labels.all()
    checked, html = check(owner, project, **{f"words-{first.pk}": "体育"})
    assert checked.n_serious == 2
    assert [code for code, _words in checked.words[str(second.pk)][0].problems] == ["collision"]
    assert html.count("word-bad") == 2
    assert first.word_texts == ["财经"]


def test_a_word_of_unknown_characters_is_said(owner, project):
    first = project.labels.first()
    checked, _html = check(owner, project, **{f"words-{first.pk}": "𓀀𓀁"})
    assert "all_unknown" in [code for code, _words in checked.words[str(first.pk)][0].problems]


def test_lengths_that_differ_are_said(owner, project):
    first = project.labels.first()
    checked, _html = check(owner, project, **{f"words-{first.pk}": "一个很长很长的标签词语"})
    assert checked.lengths_differ
    assert checked.n_masks > checked.shortest


@pytest.mark.parametrize(
    "template",
    [
        "{text}",
        "{mask}",
        "",
        "{" * 501,
        "{text}{mask}" + "长" * 3000,
        "{'text':'text_a'",
        "‮{text}\x00{mask",
        "<script>{text}",
    ],
)
def test_a_hostile_template_is_an_error_and_nothing_else(owner, project, template):
    checked, html = check(owner, project, template=template)
    assert checked.error
    assert not checked.previews
    assert "<script>" not in html


def test_the_previews_never_show_a_text_that_measures(owner, project):
    make.make_example(project, "测试集里的文本", split=Split.TEST)
    make.make_example(project, "验证集里的文本", split=Split.DEV)
    _checked, html = check(owner, project)
    assert "集里的文本" not in html


def test_viewers_read_and_annotators_do_not(client, project):
    url = reverse("labels", args=[project.pk])
    client.force_login(make.make_member(project, Role.VIEWER))
    html = client.get(url).content.decode()
    assert "labels-save" not in html
    assert client.post(url, form_of(project)).status_code == 403
    client.force_login(make.make_member(project, Role.ANNOTATOR))
    assert client.get(url).status_code == 403


def test_an_empty_project_starts_with_the_box(client):
    project = make.make_project()
    client.force_login(project.created_by)
    html = client.get(reverse("labels", args=[project.pk])).content.decode()
    assert 'name="lines"' in html
    assert "prompt-form" not in html
