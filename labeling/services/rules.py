"""Rules: made, judged on texts that people decided, applied as weak labels by a job, withdrawn.

A weak label is a row of its own. It never becomes a text's label by itself, never counts as a decision, and never
stands at a text of dev or test. A rule is judged only on texts whose label was decided without a model's answer or a
rule in view, and never on test.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from labeling.jobs import create_job
from labeling.models import Annotation, Example, ExampleLabel, Job, Project, Rule, WeakLabel
from labeling.models.annotations import Source
from labeling.models.finding import RuleKind
from labeling.models.jobs import JobKind
from labeling.models.projects import Task
from labeling.models.texts import Split
from labeling.services.fold import DECIDING
from labeling.services.rule_matching import BadPattern, Matcher, matcher_of
from labeling.services.text_terms import fold

MAX_RULES = 100
SAMPLE = 4_000
JUDGED = 4_000
SHOWN = 6
PAGE = 2_000
RULE_SECONDS = 1.5
LEARNABLE = (Split.TRAIN, Split.POOL)
_BLIND = (Source.BLIND, Source.REVIEW, Source.IMPORT, Source.ADJUDICATION)
_WORDS = {
    "empty": gettext_lazy("规则里没有可以找的字。"),
    "long": gettext_lazy("规则太长。"),
    "broken": gettext_lazy("这个正则表达式用不了：%(detail)s"),
    "slow": gettext_lazy(
        "这个正则表达式太慢：它在一些文本上几乎不会结束。请改得简单些，例如去掉套在一起的 * 和 +。"
    ),
}


class RuleRefused(Exception):
    """Nothing was changed; the message is for the page."""


@dataclasses.dataclass
class Judged:
    """How one rule does. `covered` of `n_sample` texts without a label; `right` of `n_judged` texts that it holds for
    and that people labelled; conflicts are other rules that say something else of the same sampled texts."""

    n_sample: int = 0
    covered: int = 0
    n_pool: int = 0
    n_judged: int = 0
    right: int = 0
    examples: list[Example] = dataclasses.field(default_factory=list)
    wrong: list[Example] = dataclasses.field(default_factory=list)
    conflicts: dict[int, int] = dataclasses.field(default_factory=dict)
    error: str = ""

    @property
    def share(self) -> float:
        return self.covered / self.n_sample if self.n_sample else 0.0

    @property
    def about(self) -> int:
        """Texts of the whole project that it would hold for, by the sample."""
        return round(self.share * self.n_pool)

    @property
    def precision(self) -> float | None:
        return self.right / self.n_judged if self.n_judged else None

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the precision."""
        return wilson(self.right, self.n_judged)


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share by Wilson's score; (0, 1) for n = 0."""
    if n == 0:
        return 0.0, 1.0
    z, share = 1.96, right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def draft(*, project: Project, kind: str, pattern: str, label_id: int | None) -> Rule:
    """A rule that is not kept, checked. Raises RuleRefused."""
    label = project.labels.filter(pk=label_id or 0, archived_at__isnull=True).first()
    if label is None:
        raise RuleRefused(_("先选一个标签。"))
    if kind not in RuleKind.values:
        raise RuleRefused(_("不认识的规则种类。"))
    pattern = "" if kind == RuleKind.WORD else pattern.replace("\x00", "")
    rule = Rule(project=project, kind=kind, pattern=pattern, label=label)
    try:
        matcher_for(rule)
    except BadPattern as error:
        raise RuleRefused(error_words(error)) from None
    return rule


def add_rule(*, project: Project, user: Any, kind: str, pattern: str, label_id: int | None) -> Rule:
    """Keep a rule; the same one again is the one that there is. Raises RuleRefused."""
    rule = draft(project=project, kind=kind, pattern=pattern, label_id=label_id)
    judged = judge(project=project, rules=[rule])[0]
    if judged.error:
        raise RuleRefused(judged.error)
    if project.rules.count() >= MAX_RULES:
        raise RuleRefused(_("一个项目最多 %(most)d 条规则。") % {"most": MAX_RULES})
    kept, _created = Rule.objects.get_or_create(
        project=project, kind=rule.kind, pattern=rule.pattern, label=rule.label, defaults={"created_by": user}
    )
    return kept


def delete_rule(*, project: Project, rule_id: int) -> None:
    """Remove a rule whose weak labels are withdrawn. Raises RuleRefused while there are some."""
    with transaction.atomic():
        rule = Rule.objects.select_for_update().filter(project=project, pk=rule_id).first()
        if rule is None:
            return
        if rule.weak_labels.exists() or _busy(rule):
            raise RuleRefused(_("先撤下这条规则的弱标签，再删除。"))
        rule.delete()


def request_change(*, project: Project, user: Any, rule_ids: Iterable[int], wanted: bool) -> Job | None:
    """Queue the job that puts the weak labels of these rules there, or takes them away; None for no rule.

    Raises TooManyJobs, RuleRefused while a job is at one of them."""
    with transaction.atomic():
        rules = list(Rule.objects.select_for_update().filter(project=project, pk__in=list(rule_ids)))
        if not rules:
            return None
        if any(_busy(rule) for rule in rules):
            raise RuleRefused(_("这条规则正在处理，请等它完成。"))
        job = create_job(project=project, kind=JobKind.APPLY_RULES, queue="data", user=user)
        Rule.objects.filter(pk__in=[rule.pk for rule in rules]).update(job=job, wanted=wanted)
    return job


def run_change(
    job: Job,
    *,
    on_progress: Callable[[str, int, int], None] = lambda stage, step, total: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> bool:
    """The work of the job, in short transactions; False when `should_stop` said so. Done again, it changes nothing.

    Raises RuleRefused for a pattern that turns out too slow on the project's texts."""
    rules = list(Rule.objects.filter(job=job).select_related("label").prefetch_related("label__words"))
    matchers = {rule.pk: matcher_for(rule) for rule in rules if rule.wanted}
    total = Example.objects.filter(project_id=job.project_id).count()
    last = done = 0
    counts = dict.fromkeys(matchers, 0)
    while True:
        if should_stop():
            return False
        page = list(
            Example.objects.filter(project_id=job.project_id, pk__gt=last)
            .order_by("pk")
            .values_list("pk", "text", "split")[:PAGE]
        )
        if not page:
            break
        try:
            new = _weak_labels(rules, matchers, page)
        except BadPattern as error:
            raise RuleRefused(error_words(error)) from None
        with transaction.atomic():
            old = WeakLabel.objects.filter(
                rule_id__in=[rule.pk for rule in rules], example_id__gt=last, example_id__lte=page[-1][0]
            )
            old._raw_delete(old.db)
            WeakLabel.objects.bulk_create(new, ignore_conflicts=True)
        for one in new:
            counts[one.rule_id] += 1
        last, done = page[-1][0], done + len(page)
        on_progress("rules", done, total)
    now = timezone.now()
    for rule in rules:
        changes = {"applied_at": now if rule.wanted else None, "matched": counts.get(rule.pk, 0)}
        Rule.objects.filter(pk=rule.pk, job=job).update(**changes)
    return True


def judge(*, project: Project, rules: list[Rule], among: list[Rule] | None = None) -> list[Judged]:
    """How each of `rules` does on a sample; conflicts with `among` (these rules themselves when None).

    The sample: texts without a label in their random order; judged on the newest decisions that were made blind."""
    sample = list(
        project.examples.filter(label__isnull=True, split__in=LEARNABLE).order_by("order", "id")[:SAMPLE]
    )
    n_pool = len(sample)
    if n_pool == SAMPLE:
        n_pool = project.examples.filter(label__isnull=True, split__in=LEARNABLE).count()
    judged_on = _decided_blind(project)
    folded = {one.pk: fold(one.text) for one in [*sample, *judged_on]}
    right_labels = _labels_of(project, judged_on)
    found = [Judged(n_sample=len(sample), n_pool=n_pool) for _rule in rules]
    hits: list[set[int]] = []
    for rule, result in zip(rules, found, strict=True):
        hits.append(set())
        try:
            matcher = matcher_for(rule)
            for one in sample:
                if _holds(matcher, one, folded):
                    hits[-1].add(one.pk)
                    if len(result.examples) < SHOWN:
                        result.examples.append(one)
            result.covered = len(hits[-1])
            for one in judged_on:
                if _holds(matcher, one, folded):
                    result.n_judged += 1
                    if rule.label_id in right_labels[one.pk]:
                        result.right += 1
                    elif len(result.wrong) < SHOWN:
                        result.wrong.append(one)
        except BadPattern as error:
            result.error = error_words(error)
    _conflicts(rules, found, hits, among, {one.pk: one for one in sample}, folded)
    return found


def matcher_for(rule: Rule) -> Matcher:
    """Raises BadPattern."""
    words = [word.text for word in rule.label.words.all()] if rule.kind == RuleKind.WORD else []
    if rule.kind == RuleKind.WORD and not words:
        words = [rule.label.name]
    return matcher_of(rule.kind, rule.pattern, words)


def error_words(error: BadPattern) -> str:
    """What is wrong with a pattern, for people."""
    return str(_WORDS[error.code] % {"detail": error.detail})


def _busy(rule: Rule) -> bool:
    return rule.job is not None and not rule.job.is_finished


def _holds(matcher: Matcher, example: Example, folded: dict[int, str]) -> bool:
    held = matcher.holds(example.text, folded[example.pk])
    if matcher.seconds > RULE_SECONDS:
        raise BadPattern("slow")
    return held


def _weak_labels(
    rules: list[Rule], matchers: dict[int, Matcher], page: list[tuple[int, str, str]]
) -> list[WeakLabel]:
    found = []
    for pk, text, split in page:
        if split not in LEARNABLE:
            continue
        folded = fold(text)
        for rule in rules:
            if rule.pk in matchers and matchers[rule.pk].holds(text, folded):
                found.append(
                    WeakLabel(
                        project_id=rule.project_id, rule_id=rule.pk, example_id=pk, label_id=rule.label_id
                    )
                )
    return found


def _decided_blind(project: Project) -> list[Example]:
    """Up to JUDGED texts whose label was decided without an answer in view, the newest decisions first."""
    rows = list(
        project.examples.filter(label__isnull=False, suggestion="")
        .exclude(split=Split.TEST)
        .order_by("-decided_at", "-id")[: 2 * JUDGED]
    )
    newest: dict[int, str] = {}
    for start in range(0, len(rows), 900):
        part = [one.pk for one in rows[start : start + 900]]
        events = Annotation.objects.filter(
            example_id__in=part, action__in=DECIDING, undone_by__isnull=True
        ).order_by("id")
        newest.update(events.values_list("example_id", "source"))
    # A text without any event came with its label before there were events.
    return [one for one in rows if newest.get(one.pk, Source.IMPORT) in _BLIND][:JUDGED]


def _labels_of(project: Project, examples: list[Example]) -> dict[int, set[int]]:
    found = {one.pk: {one.label_id or 0} for one in examples}
    if project.task == Task.MULTI_LABEL:
        for example_id, label_id in ExampleLabel.objects.filter(example__project=project).values_list(
            "example_id", "label_id"
        ):
            if example_id in found:
                found[example_id].add(label_id)
    return found


def _conflicts(
    rules: list[Rule],
    found: list[Judged],
    hits: list[set[int]],
    among: list[Rule] | None,
    sample: dict[int, Example],
    folded: dict[int, str],
) -> None:
    """Count for each rule how many of its sampled texts each other rule would call something else."""
    if among is None:
        others = list(zip(rules, hits, strict=True))
    else:
        touched = set().union(*hits) if hits else set()
        others = []
        for rule in among:
            try:
                matcher = matcher_for(rule)
                others.append((rule, {pk for pk in touched if _holds(matcher, sample[pk], folded)}))
            except BadPattern:
                continue
    for rule, result, own in zip(rules, found, hits, strict=True):
        for other, theirs in others:
            both = len(own & theirs) if other.label_id != rule.label_id else 0
            if both:
                result.conflicts[other.pk] = both
