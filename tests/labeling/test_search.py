"""Every way to the rows gives what looking at each text gives, in every order, page by page, on both databases."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from labeling.models import Example, Prediction, Rule, WeakLabel
from labeling.models.texts import Split, Status
from labeling.services import projects, search, text_index
from labeling.services.filters import Choices, Filters
from labeling.services.search_sql import read_key
from labeling.services.text_terms import fold, read_terms, tokens
from tests import factories as make

pytestmark = pytest.mark.django_db
START = datetime(2026, 11, 1, tzinfo=UTC)
WORDS = [
    "央行",
    "降息",
    "球队",
    "夺冠",
    "股市",
    "iPhone",
    "１００%",
    "新车",
    "的",
    "，",
    "上市 公司",
    "𠮷野家",
]


@pytest.fixture
def crowd() -> dict[str, Any]:
    """Two projects of texts with everything that can be filtered by."""
    rng = random.Random(3)
    project = make.make_project()
    other = make.make_project()
    labels = [make.make_label(project, name) for name in ("财经", "体育", "汽车")]
    people = [project.created_by, make.make_member(project, "annotator")]
    rule = Rule.objects.create(
        project=project, kind="contains", pattern="车", label=labels[2], applied_at=START
    )
    examples = []
    for number in range(150):
        text = "".join(rng.choices(WORDS, k=rng.randint(1, 7))) + str(number)
        home = other if number % 10 == 9 else project
        label = rng.choice(labels) if home is project and rng.random() < 0.5 else None
        status = Status.LABELLED if label else rng.choice([Status.OPEN, Status.SKIPPED, Status.DISPUTED])
        example = make.make_example(
            home,
            text,
            label=label,
            status=status,
            split=rng.choice(Split.values),
            flagged=rng.random() < 0.2,
            n_comments=rng.choice([0, 0, 0, 2]),
            suggestion=rng.choice(["", "accepted", "overruled"]) if label else "",
            decided_by=rng.choice(people) if label else None,
            decided_at=START + timedelta(hours=rng.randrange(200)) if status != Status.OPEN else None,
        )
        Example.objects.filter(pk=example.pk).update(created_at=START + timedelta(hours=number // 3))
        if home is project and rng.random() < 0.6:
            for model_id in (4, 7):
                Prediction.objects.create(
                    project=project, example=example, model_id=model_id, label=rng.choice(labels),
                    confidence=rng.choice([0.31, 0.5, 0.5, 0.77, 0.93]),
                )  # fmt: skip
        if home is project and rng.random() < 0.3:
            WeakLabel.objects.create(project=project, rule=rule, example=example, label=labels[2])
        examples.append(example.pk)
    return {"project": project, "labels": labels, "people": people, "rule": rule}


_seen: dict[int, list[Example]] = {}


@pytest.fixture(autouse=True)
def _forget() -> None:
    _seen.clear()


def _everything(project: Any) -> list[Example]:
    if project.pk not in _seen:
        _seen[project.pk] = list(project.examples.prefetch_related("predictions", "weak_labels"))
    return _seen[project.pk]


def naive(project: Any, filters: Filters) -> list[int]:
    """The ids by looking at each text."""
    start, end = filters.moments()
    kept = []
    for one in _everything(project):
        answer = next((each for each in one.predictions.all() if each.model_id == filters.model_id), None)
        moment = one.created_at if filters.dated == "imported" else one.decided_at
        needs_answer = (
            filters.predicted or filters.sure_from or filters.sure_to or filters.sort in ("sure", "unsure")
        )
        checks = [
            not filters.q or all(word in fold(one.text) for word in filters.terms.words),
            not filters.label or filters.label == str(one.label_id or "none"),
            not filters.by or filters.by == str(one.decided_by_id),
            not filters.status or filters.status == one.status,
            not filters.split or filters.split == one.split,
            not filters.flagged or one.flagged,
            not filters.commented or one.n_comments > 0,
            not filters.suggestion
            or (
                one.suggestion == "" and one.status == "labelled"
                if filters.suggestion == "none"
                else one.suggestion == filters.suggestion
            ),
            not filters.length_from or len(one.text) >= int(filters.length_from),
            not filters.length_to or len(one.text) <= int(filters.length_to),
            not start or (moment is not None and moment >= start),
            not end or (moment is not None and moment < end),
            not filters.rule or one.weak_labels.all(),
            not needs_answer or answer is not None,
            not filters.predicted or (answer and filters.predicted == str(answer.label_id)),
            not filters.sure_from or (answer and answer.confidence >= int(filters.sure_from) / 100),
            not filters.sure_to or (answer and answer.confidence <= int(filters.sure_to) / 100),
            filters.sort != "decided" or one.decided_at is not None,
        ]
        if all(checks):
            kept.append((one, answer))
    keys: dict[str, Any] = {
        "": lambda pair: pair[0].pk,
        "newest": lambda pair: -pair[0].pk,
        "decided": lambda pair: (-pair[0].decided_at.timestamp(), -pair[0].pk),
        "shortest": lambda pair: (len(pair[0].text), pair[0].pk),
        "longest": lambda pair: (-len(pair[0].text), -pair[0].pk),
        "unsure": lambda pair: (pair[1].confidence, pair[1].pk),
        "sure": lambda pair: (-pair[1].confidence, -pair[1].pk),
    }  # fmt: skip
    return [one.pk for one, _answer in sorted(kept, key=keys[filters.sort])]


def walked(project: Any, filters: Filters) -> list[int]:
    """The ids page by page, forwards; then back again, which must show the same."""
    pages, page = [], search.page_of(project, filters, n=7)
    while True:
        pages.append([one.pk for one in page.examples])
        if not page.after:
            break
        page = search.page_of(project, filters, after=page.after, n=7)
        assert page.examples, "a link to the next page leads to an empty page"
    back = [pages[-1]]
    while page.before:
        page = search.page_of(project, filters, before=page.before, n=7)
        back.append([one.pk for one in page.examples])
    if len(pages[-1]) == 7 or len(pages) == 1:
        assert back[::-1] == pages
    return [pk for page in pages for pk in page]


@pytest.fixture(params=["few", "walk", "index"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the three ways, forced by its limits."""
    candidates, walk = {"few": (10_000, 20_000), "walk": (0, 20_000), "index": (3, 4)}[request.param]
    monkeypatch.setattr(search, "CANDIDATES", candidates)
    monkeypatch.setattr(search, "WALK", walk)
    monkeypatch.setattr(search, "_WALK_STEP", 2 if request.param == "index" else 13)
    return str(request.param)


SINGLE = [
    {}, {"q": "央行"}, {"q": "的"}, {"q": "央行 夺冠"}, {"q": '"降息央行"'}, {"q": "iphone"}, {"q": "100%"}, {"q": "市 公"},
    {"q": "𠮷"}, {"q": "𠮷野"}, {"q": "没有这个"}, {"label": "none"}, {"label": "0"}, {"by": "1"}, {"status": "skipped"},
    {"split": "test"}, {"flagged": "1"}, {"commented": "1"}, {"suggestion": "accepted"}, {"suggestion": "none"},
    {"predicted": "1"}, {"sure_from": "50"}, {"sure_to": "50"}, {"rule": "any"}, {"rule": "own"},
    {"length_from": "8", "length_to": "12"}, {"date_from": "2026-11-03", "date_to": "2026-11-05"},
    {"dated": "imported", "date_to": "2026-11-02", "zone": "480"}, {"status": "labelled", "sure_from": "70"},
]  # fmt: skip


@pytest.mark.parametrize("sort", ["", "newest", "decided", "shortest", "longest", "unsure", "sure"])
def test_every_way_finds_what_is_there(crowd, way, sort):
    project = crowd["project"]
    choices = Choices.of(project)

    def filters_of(values: dict[str, str]) -> Filters:
        values = dict(values)
        for name, index in (("label", "0"), ("predicted", "1")):
            if values.get(name) == index:
                values[name] = str(crowd["labels"][int(index)].pk)
        if "by" in values:
            values["by"] = str(crowd["people"][1].pk)
        if values.get("rule") == "own":
            values["rule"] = str(crowd["rule"].pk)
        filters = Filters.of({**values, "sort": sort}, choices)
        assert not filters.ignored
        return filters

    # Each alone, and pairs of what does not set the same thing.
    rng = random.Random(sort)
    pairs = [{**one, **two} for one, two in itertools.combinations(SINGLE, 2) if not one.keys() & two.keys()]
    for values in [*SINGLE, *rng.sample(pairs, 8)]:
        filters = filters_of(values)
        wanted = naive(project, filters)
        assert walked(project, filters) == wanted, (way, sort, values)
        assert [pk for ids in search.iter_ids(project, filters, step=5) for pk in ids] == sorted(
            naive(project, Filters.of({**filters.active, "sort": ""}, choices))
        ) or filters.sort in ("decided", "sure", "unsure")


def test_the_count_is_exact_or_says_that_it_is_not(crowd, monkeypatch):
    project, choices = crowd["project"], Choices.of(crowd["project"])
    page = search.page_of(project, Filters.of({"q": "央行"}, choices))
    assert (page.count, page.counted) == (len(naive(project, Filters.of({"q": "央行"}, choices))), True)
    monkeypatch.setattr(search, "WALK", 40)
    monkeypatch.setattr(search, "_WALK_STEP", 10)
    page = search.page_of(project, Filters.of({"sort": "longest", "label": "none"}, choices), n=5)
    assert page.count >= 5
    assert not page.counted


@pytest.mark.parametrize(
    "place", ["x", "~", "1~x", "nan~1", "inf~1", "9" * 50 + "~1", "1~-1", "1~" + "9" * 30, "'~1", "1" * 200]
)
def test_a_broken_place_is_the_beginning(crowd, place):
    project, choices = crowd["project"], Choices.of(crowd["project"])
    for sort in ("", "decided", "longest", "sure"):
        filters = Filters.of({"sort": sort}, choices)
        assert read_key(place, search.ORDERS[sort]) is None
        assert search.page_of(project, filters, after=place) == search.page_of(project, filters)


HOSTILE = ['"', '""', "'", "' OR 1=1 --", "央行 AND", "NOT 央行", "央行*", "(央行", "央行 NEAR/2 降息", "tokens:央行", "{央行}", "^央行",
           "央行 & !降息", "央行:*", "\\", "\\'", "%", "_", "a\x00b", "\x00", "\ud83d", "央" * 10_000, "央行 " * 3_000, "p1", "🏳️‍🌈",
           "ﬀ", "İ", "\u200b", "\u3000", "“央行", "「降息」「央行」", "-- ;DROP TABLE", "p1 p2"]  # fmt: skip


@pytest.mark.parametrize("query", HOSTILE)
def test_what_a_search_box_may_hold(crowd, query):
    project, choices = crowd["project"], Choices.of(crowd["project"])
    filters = Filters.of({"q": query}, choices)
    assert [one.pk for one in search.page_of(project, filters, n=500).examples] == naive(project, filters)


def test_operators_are_words_like_others():
    assert read_terms("央行 AND 降息").words == ("央行", "and", "降息")
    assert read_terms('"上市 公司"  “北京”上海').words == ("上市 公司", "北京", "上海")
    assert read_terms("ＡＢＣ abc").words == ("abc",)


@pytest.mark.parametrize(
    ("query", "shortened"),
    [("央行", False), ("央" * 200, False), ("央" * 201, True), ("甲 乙 丙 丁 戊 己 庚 辛 壬 癸 子", True)],
)
def test_a_long_query_says_that_it_was_shortened(query, shortened):
    assert read_terms(query).shortened is shortened


def test_each_character_begins_one_token():
    assert tokens("央行a") == ["央行", "行" + tokens("a")[0][0], tokens("a")[0]]
    assert tokens("") == []


def test_texts_of_another_project_are_never_found(crowd):
    choices = Choices.of(crowd["project"])
    page = search.page_of(crowd["project"], Filters.of({"q": "的"}, choices), n=500)
    assert {one.project_id for one in page.examples} == {crowd["project"].pk}


def test_a_removed_text_leaves_nothing_in_the_index(crowd):
    example = make.make_example(crowd["project"], "独一无二的句子")
    terms = read_terms("独一")
    assert text_index.candidates(crowd["project"].pk, terms, limit=10) == [example.pk]
    text_index.remove_texts([(example.pk, example.project_id, example.text)])
    assert text_index.candidates(crowd["project"].pk, terms, limit=10) == []


def test_texts_that_were_there_before_the_index_are_found_after_its_migration(crowd):
    project = crowd["project"]
    rows = Example.objects.values_list("pk", "project_id", "text")
    text_index.remove_texts(rows)
    filters = Filters.of({"q": "夺冠"}, Choices.of(project))
    assert search.page_of(project, filters).examples == []
    seen: list[int] = []
    text_index.rebuild(connection, on_progress=lambda done, total: seen.append(done))
    assert [one.pk for one in search.page_of(project, filters, n=500).examples] == naive(project, filters)
    assert seen[-1] == Example.objects.count()


def test_a_deleted_project_leaves_nothing_in_the_index(crowd):
    project = crowd["project"]
    projects.delete_project(project=project)
    assert text_index.candidates(project.pk, read_terms("夺冠"), limit=10) == []
