"""Templates and label words: both forms read alike, nothing is evaluated, faults are named with their place."""

from __future__ import annotations

import pytest

from tests.unit import fewshot_tiny as tiny
from training.fewshot import encoding, template, verbalizer
from training.fewshot.errors import (
    EngineError,
    MissingWord,
    TemplateError,
    TemplateTooLong,
    TemplateWithoutMask,
    TemplateWithoutText,
    UnknownWord,
    WordCollision,
)
from training.fewshot.runner import TextEncoder
from training.fewshot.verbalizer import Label


def kinds(source: str, **options: object) -> list[tuple]:
    return [(part.kind, part.value, part.length) for part in template.parse(source, **options).parts]


def test_plain_and_dict_form_give_the_same_parts():
    plain = template.parse("这是{mask}新闻。{text}{soft:主题}{sep}{text_b}")
    dicts = template.parse(
        "{'hard':'这是'}{'mask'}{'hard':\"新闻。\"}{'text':'text_a'}{'soft':'主题'}{'sep'}{'text': 'text_b'}"
    )
    assert plain == dicts
    assert plain.fields == ("a", "b")


def test_a_bare_sentence_is_text_then_sentence_then_masks():
    assert kinds("主题是", soft_encoder="lstm") == [
        ("text", "a", None),
        ("soft", "主题是", None),
        ("mask", "", None),
    ]
    assert kinds("主题是") == [("text", "a", None), ("hard", "主题是", None), ("mask", "", None)]


def test_doubled_braces_are_braces_and_attributes_are_read():
    assert kinds("{{x}}{text}{mask:2}") == [("hard", "{x}", None), ("text", "a", None), ("mask", "", 2)]
    part = template.parse(
        "{'text':'text_a'}{'mask'}{'soft':None,'length':3,'encoder':'mlp','hidden_size':7,'token_type':1}"
    ).parts[2]
    assert (part.length, part.encoder, part.hidden_size, part.token_type) == (3, "mlp", 7, 1)


def test_json_round_trip_and_statement():
    made = template.parse("{'text':'text_a'}以下是{'mask'}新闻{'soft':'好','length':2,'encoder':'lstm'}")
    assert template.Template.from_json(made.to_json()) == made
    assert template.parse("以下是一条{mask}新闻。{text}").statement("汽车") == "以下是一条汽车新闻。"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("", TemplateError),
        ("{mask}是", TemplateWithoutText),
        ("{text", TemplateError),
        ("}{text}", TemplateError),
        ("{text}{mask}{mask}", TemplateError),
        ("{text}{unknown}{mask}", TemplateError),
        ("{'text':__import__('os').system('x')}", TemplateError),
        ("{'text':'text_c'}", TemplateError),
        ("{'soft':1}{'text':'text_a'}", TemplateError),
        ("{'text':'text_a','length':'x'}", TemplateError),
        ("{'text':'text_a' 'mask'}", TemplateError),
        ("{'text':'text_a','text':'text_b'}", TemplateError),
        ("{'text':'text_a'}{'soft':'a','encoder':'gru'}", TemplateError),
        ("{'text':'text_a'}{'soft':'a','length':9999}", TemplateError),
        ("{'", TemplateError),
        ("{text}" + "长" * 3000, TemplateError),
        ("{text}{mask:999}", TemplateError),
        ("{text}{'mask':None,'length':0}", TemplateError),
    ],
)
def test_faults_are_named(source: str, error: type[EngineError]):
    with pytest.raises(error) as caught:
        template.parse(source)
    assert caught.value.hint


def test_prompt_text_is_never_truncated():
    made = tiny.tokenizer()
    plan = encoding.plan_prompt(
        made,
        [template.parse("这是{mask}新闻。{text}")],
        n_masks=2,
        vocab_size=99,
        max_length=16,
        multi_label=False,
    )
    encoder = TextEncoder(plan.encoding, made)
    short, long = encoder.rows(["ab", "abcdefgh" * 10])
    assert len(long["input_ids"]) == 16
    prompt = [1, *made.encode("这是", add_special_tokens=False).ids, 4, 4]
    prompt += made.encode("新闻。", add_special_tokens=False).ids
    for row in (short, long):
        assert row["input_ids"][: len(prompt)] == prompt
        assert row["input_ids"][-1] == 2
        assert row["mask_positions"] == [3, 4]
    assert encoding.count_truncated(plan.encoding, made, ["ab", "abcdefgh" * 10]) == 1


def test_soft_parts_get_ids_after_the_vocabulary_and_share_by_soft_id():
    made = tiny.tokenizer()
    source = "{'soft':'主题','soft_id':1}{'text':'text_a'}{'soft':None,'soft_id':1,'length':2}{'soft':None,'length':3}{'mask'}"
    plan = encoding.plan_prompt(
        made, [template.parse(source)], n_masks=1, vocab_size=50, max_length=32, multi_label=False
    )
    ids = [segment.get("ids") for segment in plan.encoding["views"][0]]
    assert ids[1] == [50, 51]
    assert ids[3] == [50, 51]
    assert ids[4] == [52, 53, 54]
    assert plan.n_soft == 5


def test_a_prompt_that_leaves_no_room_is_refused_before_training():
    with pytest.raises(TemplateTooLong):
        encoding.plan_prompt(
            tiny.tokenizer(),
            [template.parse("这是一条关于主题的新闻{mask}{text}")],
            n_masks=2,
            vocab_size=50,
            max_length=16,
            multi_label=False,
        )
    with pytest.raises(TemplateWithoutMask):
        encoding.plan_prompt(
            tiny.tokenizer(),
            [template.parse("{text}好{sep}")],
            n_masks=1,
            vocab_size=50,
            max_length=16,
            multi_label=False,
        )


def test_words_of_several_tokens_and_several_words():
    made = tiny.tokenizer()
    built = verbalizer.build((Label("a", ("体育", "球")), Label("b", ("汽车",))), made)
    assert built.n_masks == 2
    assert [len(ids) for ids in built.token_ids[0]] == [2, 1]


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        ((Label("a", ("体育",)), Label("b", ("体育",))), WordCollision),
        ((Label("a", ("体育",)), Label("b", ("𠀀𠀁",))), UnknownWord),
        ((Label("a", ("体育",)), Label("b", ())), MissingWord),
        ((Label("a", ("体育",)), Label("b", (" ",))), UnknownWord),
    ],
)
def test_words_that_cannot_work_are_named(labels: tuple[Label, ...], error: type[EngineError]):
    with pytest.raises(error):
        verbalizer.build(labels, tiny.tokenizer())


def test_inspect_reports_instead_of_raising():
    reports = verbalizer.inspect(
        (Label("a", ("体育", "球")), Label("b", ("体育",)), Label("c", ("体𠀀",))), tiny.tokenizer()
    )
    assert reports[0].problems == ("collision",)
    assert reports[1].problems == ()
    assert reports[3].problems == ("some_unknown",)
