"""The template's grammar is read twice, by the engine and by the page's editor: both say the same, errors included."""

from __future__ import annotations

import random
from typing import Any

import pytest
from django.conf import settings

from training.fewshot.errors import TemplateError
from training.fewshot.template import parse

pytestmark = pytest.mark.browser

TABLE = [
    "",
    " \u3000\n",
    "以下是一条{mask}新闻。{text}",
    "{text}这段话的主题是{mask}。",
    "主题是什么",
    "  两头有空白\u3000",
    "{{不是}}积木",
    "{{x}}{text}{mask:2}",
    "{text}{mask}{mask}",
    "{text}{mask:2}{mask:30}",
    "{text}{mask:3}{mask:30}",
    "{mask}是",
    "{text}没有空",
    "{text",
    "}{text}",
    "{text}}{mask}",
    "{ text }{ mask : 2 }",
    "{mask:２}{text}",
    "{mask:٣}{text}",
    "{mask:𝟛}{text}",
    "{mask:}{text}",
    "{mask:0}{text}",
    "{mask:99999}{text}",
    "{mask:-1}{text}",
    "{soft}{soft:3}{soft:词}{soft: 两头 }{text}{mask}",
    "{soft:}{text}{mask}",
    "{soft:257}{text}{mask}",
    "{soft:a:b}{text}{mask}",
    "{text:1}{mask}",
    "{sep:1}{text}{mask}",
    "{text}{sep}{text_b}{mask}",
    "{text_c}{mask}",
    "{文本}{mask}",
    "{}{text}{mask}",
    "{\u2028mask\x85}{text}",
    "{\ufeffmask}{text}",
    "{text}\x00{mask",
    "‮{text}\u200f{mask}",
    "👨‍👩‍👧{text}🏳️‍🌈{mask}{",
    "𓀀𓀀}{text}{mask}",
    "{{{mask}}}{text}",
    "{{{{{text}}}}}{mask}",
    "{'text':'text_a'}{'hard':'这是'}{'mask'}{'soft':'主题','length':2,'encoder':'lstm'}{'sep'}",
    "{'text':'text_a','truncate':False}{\"mask\"}",
    "{ 'text' : 'text_a' , 'length' : None }{'mask'}",
    "{'soft':None,'soft_id':1}{'soft_id':1}{'text':'b'}{'mask'}{'cls'}",
    "{'soft':'a}b{c','token_type':1}{text}{mask}",
    "{'soft':'it\\'s\\n'}{text}{mask}",
    "{'text':__import__('os').system('x')}",
    "{'text':'text_c'}{mask}",
    "{'text':1}{mask}",
    "{'soft':1}{'text':'text_a'}{mask}",
    "{'text':'text_a','length':'x'}{mask}",
    "{'text':'text_a' 'mask'}",
    "{'text':'text_a','text':'text_b'}",
    "{'text':'text_a'}{'soft':'a','encoder':'gru'}{mask}",
    "{'text':'text_a'}{'soft':'a','encoder':1}{mask}",
    "{'text':'text_a'}{'soft':'a','length':9999}{mask}",
    "{'text':'text_a'}{'soft':'a','length':True}{mask}",
    "{'text':'text_a'}{'mask','token_type':2}",
    "{'text':'text_a','truncate':1}{mask}",
    "{'hard':None}{text}{mask}",
    "{'verb':'x'}{text}{mask}",
    "{'hard':'a','mask'}{text}",
    "{'length':3}{text}{mask}",
    "{'",
    "{''",
    "{'a",
    "{'a'",
    "{'a':}{text}",
    "{'soft':'a',}{text}{mask}",
    "{'soft':'a','length':1234567}{text}{mask}",
    "{'soft':'a','length':３}{text}{mask}",
    '{"}{text}{mask}',
    "{'text\\",
    "<script>alert(1)</script>{text}{mask}",
    "${text}{mask}`${7*7}`",
    "{text}{mask}" + "长" * 2000,
    "{" * 501,
    "长" * 2000,
    "长" * 2001,
    "{text}" * 200 + "{mask}",
]
ATOMS = [
    *(
        "{text}",
        "{mask}",
        "{soft}",
        "{soft:词}",
        "{sep}",
        "{",
        "}",
        "{{",
        "}}",
        "'",
        '"',
        "\\",
        ":",
        ",",
        " ",
    ),
    *(
        "'text'",
        "'text_a'",
        "'soft'",
        "'mask'",
        "'length'",
        "'hard'",
        "None",
        "True",
        "12",
        "２",
        "\u3000",
        "\x1c",
    ),
    *("字", "👍", "𠀀", "\u202e", "mask", "text"),
]


def mixtures(n: int) -> list[str]:
    """Random rows of what the grammar is made of; the same ones each time."""
    dice = random.Random(4)
    return ["".join(dice.choices(ATOMS, k=dice.randint(1, 9))) for _ in range(n)]


def engine(source: str) -> dict[str, Any]:
    try:
        parts = parse(source).require_mask().parts
    except TemplateError as error:
        detail = error.detail
        return {"fault": detail["fault"], "at": detail.get("at"), "end": detail.get("end")}
    return {"parts": [[part.kind, part.value, part.length, part.token_type, part.truncate] for part in parts]}


@pytest.fixture(scope="module")
def grammar(browser):
    """A page that knows the editor's grammar and nothing else."""
    page = browser.new_page()
    page.add_script_tag(path=settings.BASE_DIR / "static" / "js" / "workbench_template.js")
    yield page
    page.close()


READ = """sources => sources.map(source => {
  const { parts, error } = WorkbenchTemplate.parse(source);
  return error || { parts: parts.map(one => [one.kind, one.value, one.length, one.token_type || 0, one.truncate ?? true]) };
})"""


def test_the_page_reads_templates_as_the_engine_does(grammar):
    sources = [*TABLE, *mixtures(3_000)]
    found = grammar.evaluate(READ, sources)
    differing = [
        (source, ours, theirs)
        for source, ours in zip(sources, found, strict=True)
        if ours != (theirs := engine(source))
    ]
    assert differing[:5] == []


def test_parts_written_back_are_the_same_template(grammar):
    sources = [*TABLE, *mixtures(1_000)]
    untouched = grammar.evaluate(
        "sources => sources.map(source => { const read = WorkbenchTemplate.parse(source);"
        " return read.bare ? source : WorkbenchTemplate.write(read.parts); })",
        sources,
    )
    assert untouched == sources
    # Without what was typed, the words alone have to do: the engine reads the same parts again.
    good = [
        source for source in TABLE if "parts" in engine(source) and "'" not in source and len(source) < 1900
    ]
    rewritten = grammar.evaluate(
        "sources => sources.map(source => WorkbenchTemplate.write("
        "WorkbenchTemplate.parse(source).parts.map(one => ({ ...one, raw: undefined }))))",
        good,
    )
    assert [engine(source) for source in rewritten] == [engine(source) for source in good]


def test_words_that_look_like_grammar_are_quoted(grammar):
    words = ["a}b", "{", "３", "it's \\ \"", "}{'"]
    written = grammar.evaluate(
        "words => words.map(value => '{text}{mask}' + WorkbenchTemplate.write([{ kind: 'soft', value, length: null }]))",
        words,
    )
    assert [parse(source).parts[2].value for source in written] == words
