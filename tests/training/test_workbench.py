"""The workbench's answers by a tiny backbone: what is measured, on which texts, and what hostile drafts meet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labeling.models import Example, Job, Project
from labeling.models.jobs import JobKind
from labeling.models.texts import Split, SuggestionUse
from labeling.services import embeddings
from labeling.services import labels as label_service
from labeling.services import scores as score_files
from labeling.services import words as label_words
from labeling.services.suggestions import suggestions_for
from tests.factories import make_example, make_label, make_project
from tests.unit import fewshot_tiny
from training.fewshot.errors import EngineError
from training.fewshot.prompt_reader import PromptReader
from training.fewshot.reader import Reader
from training.models import RegisteredBackbone
from training.services import (
    live,
    prelabelling,
    prompt_comparison,
    workbench,
    workbench_answers,
    workbench_choice,
)
from training.services.live import Superseded
from training.services.workbench import Draft, DraftRefused
from training.services.workbench_texts import measured_texts, reference_texts, shown_texts

pytestmark = pytest.mark.django_db

TEMPLATE = "这是一条关于{mask}的新闻。{text}"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> PromptReader:
    folder = tmp_path_factory.mktemp("workbench")
    return PromptReader(
        Reader.load(fewshot_tiny.backbone(folder / "tiny", seed=4), folder / "graphs", threads=1)
    )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    fewshot_tiny.backbone(tmp_path / "tiny", seed=4)
    RegisteredBackbone.objects.create(name="tiny", path=str(tmp_path / "tiny"))
    project = make_project(template=TEMPLATE)
    score_files.remove(project.pk, "zero_shot")  # another test's project may have had the same number
    labels = {one.name: make_label(project, one.name, words=one.words) for one in fewshot_tiny.LABELS}
    seen: set[str] = set()
    for split, n, seed in (("train", 30, 1), ("dev", 12, 2), ("test", 12, 3), ("pool", 40, 4)):
        for number, (text, name) in enumerate(zip(*fewshot_tiny.texts(n, seed), strict=True)):
            if text not in seen:
                seen.add(text)
                label = labels[name] if split != "pool" else None
                make_example(project, text, label=label, split=split, order=number)
    return project


def draft_of(project: Project, **values: Any) -> Draft:
    return workbench.draft_of(project, backbone="tiny", **values)


def still() -> bool:
    return True


@pytest.fixture
def direct(reader: PromptReader, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict], Any]:
    """Questions go to the worker's functions in this process, through JSON as the broker carries it."""
    import json

    from workers import questions

    def ask(question: str, payload: dict, *, timeout_seconds: float, newest: Any = None) -> Any:
        envelope = questions.answer(question, json.loads(json.dumps(payload)), still)
        if failed := envelope.get("failed"):
            raise live.LiveFailed(failed["message"], code=failed["code"])
        return json.loads(json.dumps(envelope["answer"]))

    monkeypatch.setattr(questions, "prompt_reader_for", lambda name: reader)
    monkeypatch.setattr(live, "_ask", ask)
    return ask


def test_answers_carry_fills_and_both_probabilities(project: Project, direct: Any) -> None:
    ids = shown_texts(project)
    found = workbench.ask_answers(draft_of(project), example_ids=ids, editor="1:a", number=1)
    assert [one.example_id for one in found.texts] == ids
    assert found.method == "cloze"  # nothing says that this backbone reads sentences
    assert set(found.methods) == {"cloze", "label_sentence", "mixed"}
    assert found.n_masks == 2
    for one in found.texts:
        assert len(one.fills) == 2
        assert all(len(mask) == 5 for mask in one.fills)
        assert sum(one.raw) == pytest.approx(1, abs=0.01)
        assert sum(one.calibrated) == pytest.approx(1, abs=0.01)


def test_answers_never_show_dev_or_test(project: Project, direct: Any) -> None:
    hidden = list(project.examples.filter(split__in=[Split.DEV, Split.TEST]).values_list("pk", flat=True))[:4]
    other = make_example(make_project(), "别人的文本")
    found = workbench.ask_answers(draft_of(project), example_ids=[*hidden, other.pk], editor="1:a", number=1)
    assert found.texts == ()


def test_accuracy_measures_every_method_and_names_the_best(project: Project, direct: Any) -> None:
    found = workbench.ask_accuracy(draft_of(project), editor="1:a", number=1)
    assert found.n == project.examples.filter(split=Split.TRAIN).count()
    assert found.measured[0].method == found.chosen == "cloze"
    assert {one.method for one in found.measured} == {"cloze", "label_sentence", "mixed"}
    best = max(found.measured, key=lambda one: one.calibrated.value)
    assert found.best == best.method
    assert sum(part.share.n for part in best.per_label) == found.n
    assert sum(part.share.right for part in best.per_label) == best.calibrated.right
    assert best.calibrated.low <= best.calibrated.value <= best.calibrated.high


def test_measured_texts_leave_out_test_and_what_a_suggestion_led_to(project: Project) -> None:
    ids = list(project.labels.values_list("pk", flat=True))
    train = list(project.examples.filter(split=Split.TRAIN))
    Example.objects.filter(pk=train[0].pk).update(suggestion=SuggestionUse.ACCEPTED)
    Example.objects.filter(pk=train[1].pk).update(suggestion=SuggestionUse.OVERRULED)
    found = measured_texts(project, ids)
    assert set(found.ids) == {one.pk for one in train[2:]}
    with pytest.raises(ValueError, match="test"):
        measured_texts(project, ids, splits=[Split.TEST])
    few = measured_texts(project, ids, limit=6)
    assert sorted(next(iter(right)) for right in few.right) == [0, 0, 1, 1, 2, 2]
    assert set(reference_texts(project)) <= set(project.examples.pool().values_list("text", flat=True))


def test_no_labelled_text_gives_no_accuracy_and_proposals_without_effect(
    project: Project, direct: Any
) -> None:
    project.examples.filter(label__isnull=False).update(label=None, status="open")
    found = workbench.ask_accuracy(draft_of(project), editor="1:a", number=1)
    assert (found.n, found.measured, found.best) == (0, (), "cloze")
    label = project.labels.get(name="finance")
    proposed = workbench.ask_proposals(draft_of(project), label_id=label.pk, editor="1:a", number=2)
    assert proposed.n_texts == 0
    assert all(one.effect is None for one in proposed.proposals)


def test_proposals_come_with_their_effect_and_are_no_other_labels_word(project: Project, direct: Any) -> None:
    label = project.labels.get(name="sports")
    found = workbench.ask_proposals(draft_of(project), label_id=label.pk, editor="1:a", number=1)
    assert found.n_texts == project.examples.filter(split=Split.TRAIN).count()
    assert found.proposals
    present = {word.text for one in project.labels.all() for word in one.words.all()}
    for one in found.proposals:
        assert one.word not in present
        assert one.sources
        assert one.effect is not None
        assert 0 < one.effect.n <= found.n_texts
        assert one.effect.low <= one.effect.difference <= one.effect.high


def test_words_tell_collisions_and_how_they_read(project: Project, direct: Any) -> None:
    found = workbench.ask_words(draft_of(project), editor="1:a", number=1)
    assert [one.word for one in found] == ["体育", "汽车", "财经", "钱"]
    assert all(one.fluency is not None and one.reads in ("natural", "stiff", "odd") for one in found)


HOSTILE = [
    ("", "empty"),
    ("{text}", "{mask}"),
    ("{mask}", "{text}"),
    ("{text}{mask", "{"),
    ("{text}{mask}{__import__('os').system('id')}", ""),
    ("{text}{{mask}}", "{mask}"),
    ("字" * 10_000, ""),
    ("{text}" + "字" * 1500 + "{mask}", ""),
    ("{text}{mask:33}", ""),
    ("{text}{mask:3}", ""),
]


@pytest.mark.parametrize("template", [one for one, _ in HOSTILE])
def test_a_hostile_template_is_refused_with_words(project: Project, direct: Any, template: str) -> None:
    draft = draft_of(project, template=template)
    with pytest.raises(DraftRefused) as refused:
        workbench.ask_answers(draft, example_ids=shown_texts(project), editor="1:a", number=1)
    assert refused.value.check.error


WORDS = [
    ("[MASK]", "mask_in_word"),
    ("😀", "all_unknown"),
    ("العربية", "all_unknown"),
    ("\u202e体", "invisible"),
    ("汽车", "collision"),
    ("汽\u200b车", "lookalike"),
]


@pytest.mark.parametrize("typed, problem", WORDS)
def test_a_hostile_word_is_named_where_it_stands(project: Project, typed: str, problem: str) -> None:
    label = project.labels.get(name="sports")
    check = workbench.check_draft(draft_of(project, words={label.pk: typed}))
    assert problem in [code for one in check.words[str(label.pk)] for code, _ in one.problems]


def test_case_and_width_alone_do_not_tell_words_apart(project: Project) -> None:
    sports, car = project.labels.get(name="sports"), project.labels.get(name="car")
    check = workbench.check_draft(draft_of(project, words={sports.pk: "ab", car.pk: "ＡＢ"}))
    assert "lookalike" in [code for code, _ in check.words[str(sports.pk)][0].problems]


def test_a_draft_that_slips_through_still_meets_a_named_error(project: Project, reader: PromptReader) -> None:
    """The worker does not trust the page: the same faults end as errors of the engine, with codes."""
    draft = draft_of(project)
    for template in ("", "{text}", "{text}{mask:9}", "{text}" + "字" * 900 + "{mask}"):
        broken = Draft(draft.project_id, draft.labels, template, "", "tiny")
        with pytest.raises(EngineError):
            workbench_answers.answers(broken, [], reader, still)


def test_a_superseded_question_stops_and_keeps_what_it_read(project: Project, tmp_path: Path) -> None:
    fresh = PromptReader(
        Reader.load(fewshot_tiny.backbone(tmp_path / "b", seed=5), tmp_path / "g", threads=1)
    )
    with pytest.raises(Superseded):
        workbench_answers.accuracy(draft_of(project), fresh, lambda: False)
    assert len(fresh._states) == 16  # one batch, read before the news came


def test_a_change_of_words_reads_no_text_again(project: Project, reader: PromptReader) -> None:
    workbench_answers.accuracy(draft_of(project), reader, still)
    texts, states = len(reader._vectors), len(reader._states)
    sports = project.labels.get(name="sports")
    workbench_answers.accuracy(draft_of(project, words={sports.pk: "球赛"}), reader, still)
    assert len(reader._states) == states
    assert len(reader._vectors) == texts + 1  # the new word's label sentence


def candidates(project: Project, *templates: str) -> list[tuple[str, Draft]]:
    return [(text[:10], draft_of(project, template=text)) for text in templates]


def test_a_comparison_judges_all_on_the_same_texts(project: Project, reader: PromptReader) -> None:
    asked = prompt_comparison.request_comparison(
        project=project,
        user=project.created_by,
        candidates=candidates(project, TEMPLATE, "{text}主题是{mask}。", TEMPLATE),
    )
    assert asked.job.kind == JobKind.COMPARE
    assert asked.job.queue == "bulk"
    seen = []
    result = prompt_comparison.run_comparison(
        asked, reader, on_progress=lambda *step: seen.append(step), should_stop=lambda: False
    )
    prompt_comparison.record_comparison(asked, result)
    assert result["n_by_split"].keys() == {"train", "dev"}
    assert len(result["prompts"]) == 3
    assert result["agreement"][0][2] == 1.0
    same = next(pair for pair in result["pairs"] if (pair["first"], pair["second"]) == (0, 2))
    assert (same["difference"], same["tell_apart"]) == (0, False)
    assert sorted(place for group in result["groups"] for place in group) == [0, 1, 2]
    assert seen[-1][1] == seen[-1][2]
    assert prompt_comparison.ensemble_of(asked)
    with pytest.raises(prompt_comparison.Stopped):
        prompt_comparison.run_comparison(
            asked, reader, on_progress=lambda *step: None, should_stop=lambda: True
        )


def test_a_comparison_is_refused_where_it_makes_no_sense(project: Project) -> None:
    user = project.created_by

    def code(given: list[tuple[str, Draft]]) -> str:
        with pytest.raises(prompt_comparison.ComparisonRefused) as refused:
            prompt_comparison.request_comparison(project=project, user=user, candidates=given)
        return refused.value.code

    assert code(candidates(project, TEMPLATE)) == "too_few"
    assert code(candidates(project, *[TEMPLATE] * 13)) == "too_many"
    assert code(candidates(project, TEMPLATE, "{text}")) == "bad_candidate"
    project.examples.filter(label__isnull=False).update(label=None, status="open")
    assert code(candidates(project, TEMPLATE, TEMPLATE)) == "no_texts"
    assert not Job.objects.exists()


def test_a_candidate_is_adopted_with_words_and_template(project: Project) -> None:
    sports = project.labels.get(name="sports")
    asked = prompt_comparison.request_comparison(
        project=project,
        user=project.created_by,
        candidates=[
            *candidates(project, TEMPLATE),
            ("新的", draft_of(project, template="{text}是{mask}。", words={sports.pk: "球赛"})),
        ],
    )
    prompt_comparison.adopt(comparison=asked, place=1, user=project.created_by)
    assert [word.text for word in sports.words.all()] == ["球赛"]
    assert label_words.present_template(project).text == "{text}是{mask}。"


def prelabel(project: Project, reader: PromptReader) -> int:
    return prelabelling.run_prelabelling(
        project, lambda name: reader, on_progress=lambda *step: None, should_stop=lambda: False
    )


def test_the_pool_is_scored_from_nothing(project: Project, reader: PromptReader) -> None:
    project.examples.filter(label__isnull=False).update(label=None, status="open")
    workbench_choice.choose(project=project, backbone="tiny", method="")
    n = prelabel(project, reader)
    scores = score_files.read(project.pk, "zero_shot")
    assert scores is not None
    allowed = set(project.examples.pool().values_list("pk", flat=True))
    assert set(scores.example_ids.tolist()) == allowed
    assert n == len(allowed)
    assert scores.proba.sum(axis=1) == pytest.approx(1, abs=0.01)
    assert scores.disagreement is not None
    assert scores.held_out is None
    assert scores.worth_hearing  # somebody asked, and there is nothing else to begin with
    found = suggestions_for(project, project.created_by, project.examples.all())
    assert set(found) == allowed
    assert scores.label_ids == tuple(project.labels.values_list("pk", flat=True))


def test_texts_with_a_vector_are_not_read_again(
    project: Project, reader: PromptReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings.remove(project.pk)
    embeddings.embed_texts(
        project=project,
        encoder=embeddings.Encoder(
            name=reader.reader.backbone.name,
            hash=reader.reader.backbone.hash,
            hidden_size=reader.reader.hidden_size,
            read=reader.reader.sentence_vectors,
        ),
        on_progress=lambda *step: None,
        should_stop=lambda: False,
        give_way=lambda: False,
    )
    workbench_choice.choose(project=project, backbone="tiny", method="label_sentence")
    prelabel(project, reader)
    first = score_files.read(project.pk, "zero_shot")
    read: list[str] = []
    fresh = PromptReader(reader.reader)
    vectors = reader.reader.sentence_vectors

    def spied(texts: list[str], **options: Any) -> Any:
        read.extend(texts)
        return vectors(texts, **options)

    monkeypatch.setattr(reader.reader, "sentence_vectors", spied)
    monkeypatch.setattr(prelabelling, "N_REFERENCE", 2)
    prelabel(project, fresh)
    second = score_files.read(project.pk, "zero_shot")
    assert first is not None
    assert second is not None
    pool = list(project.examples.pool().values_list("text", flat=True))
    assert len(set(pool) & set(read)) <= 2  # the reference alone
    assert (first.example_ids == second.example_ids).all()


def test_texts_that_came_later_make_the_scores_old(project: Project, reader: PromptReader) -> None:
    workbench_choice.choose(project=project, backbone="tiny", method="label_sentence")
    prelabel(project, reader)
    assert not prelabelling.state_of(project).stale
    make_example(project, "新来的一条文本")
    assert prelabelling.state_of(project).stale


def test_scores_know_how_good_they_are_and_when_they_are_old(project: Project, reader: PromptReader) -> None:
    workbench_choice.choose(project=project, backbone="tiny", method="label_sentence")
    prelabel(project, reader)
    state = prelabelling.state_of(project)
    assert state.n_held_out == project.examples.filter(split__in=["train", "dev"]).exclude(label=None).count()
    assert state.held_out is not None
    assert (state.method, state.stale) == ("label_sentence", False)
    label_service.add_labels(project=project, lines="sports==球赛")
    assert prelabelling.state_of(project).stale


def test_new_words_score_the_pool_again_where_it_was_scored(
    project: Project, reader: PromptReader, django_capture_on_commit_callbacks: Any
) -> None:
    workbench_choice.choose(project=project, backbone="tiny", method="")
    jobs = project.jobs.filter(kind=JobKind.ZERO_SHOT)
    with django_capture_on_commit_callbacks(execute=True):
        label_words.save_template(project=project, user=project.created_by, text="{text}是{mask}。")
    assert not jobs.exists()  # nobody has asked for scores
    prelabel(project, reader)
    for text in ("{text}主题是{mask}。", "{text}关于{mask}。"):
        with django_capture_on_commit_callbacks(execute=True):
            label_words.save_template(project=project, user=project.created_by, text=text)
    assert jobs.count() == 1  # the second change finds the job waiting


def test_prelabelling_is_asked_for_once_and_not_for_nothing(project: Project) -> None:
    user = project.created_by
    workbench_choice.choose(project=project, backbone="tiny", method="")
    first = prelabelling.request_prelabelling(project=project, user=user)
    assert prelabelling.request_prelabelling(project=project, user=user) == first
    empty = make_project()
    with pytest.raises(prelabelling.PrelabellingRefused, match="too_few_labels"):
        prelabelling.request_prelabelling(project=empty, user=user)


def test_the_words_are_read_with_the_chosen_backbones_vocabulary(project: Project) -> None:
    """The tiny vocabulary has a token a character; the shipped one knows 体育 as one piece."""
    label = str(project.labels.get(name="sports").pk)
    assert workbench.check_draft(draft_of(project)).words[label][0].tokens == ("体", "育")
    shipped = workbench.check_draft(workbench.draft_of(project))
    assert shipped.words[label][0].tokens == ("体育",)
    assert (
        workbench_choice.choose(project=project, backbone="nowhere", method="x").backbone
        == "wanxing-small-zh"
    )
