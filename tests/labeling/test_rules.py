"""Rules: judged honestly, applied as weak labels that stay weak, hostile patterns that hang nothing."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from labeling.models import Annotation, Example, Prediction, Rule, WeakLabel
from labeling.models.annotations import Source
from labeling.models.jobs import JobKind
from labeling.models.texts import Split
from labeling.services import rules, search, splits
from labeling.services.filters import Choices, Filters
from labeling.services.rule_matching import BadPattern, matcher_of
from labeling.services.rules import RuleRefused, add_rule, judge, request_change, run_change, wilson
from labeling.services.text_terms import fold
from tests import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Any:
    project = make.make_project()
    make.make_label(project, "汽车", words=("车", "驾驶"))
    make.make_label(project, "财经")
    return project


def add(project: Any, pattern: str, kind: str = "contains", label: str = "汽车") -> Rule:
    return add_rule(
        project=project,
        user=project.created_by,
        kind=kind,
        pattern=pattern,
        label_id=project.labels.get(name=label).pk,
    )


def apply(project: Any, *wanted: Rule, on: bool = True) -> Any:
    job = request_change(
        project=project, user=project.created_by, rule_ids=[one.pk for one in wanted], wanted=on
    )
    assert run_change(job)
    job.claim(worker="test")
    job.succeed()
    return job


@pytest.mark.parametrize(
    ("kind", "pattern", "text", "holds"),
    [
        ("contains", "新车", "一辆新车上市", True),
        ("contains", "IPHONE", "新ｉｐｈｏｎｅ来了", True),
        ("contains", ".*", "一辆新车", False),
        ("regex", r"新\w车|二手", "买了新能车", True),
        ("regex", r"^\d+$", "12a", False),
        ("regex", r"abc", "xABCx", True),
        ("word", "", "学会驾驶", True),
        ("word", "", "学会做饭", False),
    ],
)
def test_what_a_rule_holds_for(kind, pattern, text, holds):
    assert matcher_of(kind, pattern, ["车", "驾驶"]).holds(text, fold(text)) is holds


HOSTILE = [
    r"(a+)+$", r"(a|aa)+$", r"(.*a){20}", r"(a*)*b", r"((a{0,100}){0,100}){0,100}b", r"(x+x+)+y", r"(?:a?){30}a{30}",
    r"([a-z]+)*=", r"(?=(a+))a*b\1", r"(a{1,1000}){1,1000}$", r"^(\w+\s?)*$",
]  # fmt: skip


@pytest.mark.parametrize("pattern", HOSTILE)
def test_a_hostile_pattern_ends(pattern):
    text = "a" * 5_000 + "!"
    with contextlib.suppress(BadPattern):  # refused beforehand, or too slow on a few texts
        matcher = matcher_of("regex", pattern, [])
        for _ in range(20):
            matcher.holds(text, text)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "   ",
        "(",
        "[",
        "a{99999999}",
        "((a{1000}){1000}){1000}",
        "(?P<x",
        "*",
        "a" * 201,
        ".*",
        "x?",
        "\x00",
        "(?R)",
        r"\1",
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused_with_a_reason(project, pattern):
    with pytest.raises(RuleRefused) as refusal:
        add(project, pattern, "regex")
    assert str(refusal.value)
    assert not project.rules.exists()


def test_a_rule_is_judged_on_blind_decisions_and_never_on_test(project):
    car, money = project.labels.all()
    person = make.make_member(project)

    def decided(text: str, label: Any, source: str, split: str = "train") -> Example:
        example = make.make_example(project, text, split=split)
        make.make_annotation(example, person, label, source=source)
        return example

    decided("新车一", car, Source.BLIND)
    decided("新车二", car, Source.IMPORT)
    wrong = decided("新车三", money, Source.REVIEW)
    decided("新车四", money, Source.BULK)
    decided("新车五", money, Source.BLIND, split="test")
    seen = decided("新车六", money, Source.SUGGESTION)
    Example.objects.filter(pk=seen.pk).update(suggestion="accepted")
    judged = judge(project=project, rules=[add(project, "新车")])[0]
    assert (judged.right, judged.n_judged) == (2, 3)
    assert [one.pk for one in judged.wrong] == [wrong.pk]
    assert judged.interval == wilson(2, 3)


def test_coverage_and_conflicts(project):
    for text in ("新车上市", "新车股票", "股票大涨", "天气"):
        make.make_example(project, text)
    make.make_example(project, "新车测试", split="test")
    first, second = add(project, "新车"), add(project, "股票", label="财经")
    one, two = judge(project=project, rules=[first, second])
    assert (one.covered, one.n_sample) == (2, 4)
    assert one.conflicts == {second.pk: 1}
    assert two.conflicts == {first.pk: 1}
    draft = rules.draft(project=project, kind="contains", pattern="大涨", label_id=first.label_id)
    assert judge(project=project, rules=[draft], among=[first, second])[0].conflicts == {second.pk: 1}


def test_weak_labels_stay_weak(project):
    texts = {split: make.make_example(project, f"新车{split}", split=split) for split in Split.values}
    rule = add(project, "新车")
    apply(project, rule)
    rule.refresh_from_db()
    assert rule.matched == 2
    assert set(WeakLabel.objects.values_list("example_id", flat=True)) == {
        texts["train"].pk,
        texts["pool"].pk,
    }
    assert not Annotation.objects.exists()
    assert not Prediction.objects.exists()
    assert not project.examples.filter(label__isnull=False).exists()
    assert not project.examples.for_training().exists()
    page = search.page_of(project, Filters.of({"rule": str(rule.pk)}, Choices.of(project)))
    assert len(page.examples) == 2


def test_applied_again_it_follows_the_texts_and_the_words(project):
    rule = add(project, "", "word")
    make.make_example(project, "一辆车")
    apply(project, rule)
    make.make_example(project, "学驾驶")
    apply(project, rule)
    rule.refresh_from_db()
    assert rule.matched == WeakLabel.objects.count() == 2
    project.labels.get(name="汽车").words.filter(text="车").delete()
    apply(project, rule)
    assert WeakLabel.objects.get().example.text == "学驾驶"


def test_withdrawn_and_deleted(project):
    make.make_example(project, "新车")
    rule, other = add(project, "新车"), add(project, "车")
    apply(project, rule, other)
    with pytest.raises(RuleRefused):
        rules.delete_rule(project=project, rule_id=rule.pk)
    apply(project, rule, on=False)
    rule.refresh_from_db()
    assert (rule.matched, rule.applied_at) == (0, None)
    assert WeakLabel.objects.count() == 1
    rules.delete_rule(project=project, rule_id=rule.pk)
    assert list(project.rules.all()) == [other]


def test_one_job_at_a_time_for_a_rule(project):
    rule = add(project, "车")
    job = request_change(project=project, user=project.created_by, rule_ids=[rule.pk], wanted=True)
    assert job.kind == JobKind.APPLY_RULES
    with pytest.raises(RuleRefused):
        request_change(project=project, user=project.created_by, rule_ids=[rule.pk], wanted=False)
    with pytest.raises(RuleRefused):
        rules.delete_rule(project=project, rule_id=rule.pk)


def test_stopped_it_can_go_on(project):
    for _ in range(5):
        make.make_example(project)
    make.make_example(project, "车")
    rule = add(project, "车")
    job = request_change(project=project, user=project.created_by, rule_ids=[rule.pk], wanted=True)
    assert not run_change(job, should_stop=lambda: True)
    assert not WeakLabel.objects.exists()
    assert run_change(job)
    assert run_change(job)
    assert WeakLabel.objects.count() == 1


def test_a_text_that_becomes_test_loses_its_weak_label(project):
    for number in range(40):
        make.make_example(project, f"新车{number}")
    apply(project, add(project, "新车"))
    assert WeakLabel.objects.count() == 40
    splits.resplit(project=project, dev_percent=30, test_percent=30)
    assert not WeakLabel.objects.filter(example__split__in=["dev", "test"]).exists()
    assert WeakLabel.objects.exists()


def test_the_same_rule_is_kept_once(project):
    assert add(project, "车") == add(project, "车")
    assert project.rules.count() == 1
