"""The library of templates: each can be used, has a name and a reason, and the engine's choice is untouched by it."""

from __future__ import annotations

from training.fewshot.template import parse
from training.fewshot.templates import CANDIDATES, LIBRARY, relatives_of
from training.services.template_library import ENTRIES, library


def test_every_template_can_be_used_and_says_when() -> None:
    for group in library():
        assert str(group.title)
        for entry in group.templates:
            assert parse(entry.text).require_mask()
            assert str(entry.name)
            assert str(entry.when)
    assert {text for group in LIBRARY.values() for text in group} == set(ENTRIES)


def test_pairs_read_both_texts_and_the_candidates_of_a_run_read_one() -> None:
    assert all(parse(text).fields == ("a", "b") for text in LIBRARY["pair"])
    assert all(parse(text).fields == ("a",) for text in CANDIDATES)


def test_relatives_are_of_the_same_kind() -> None:
    assert set(relatives_of("{text}总的来说，{mask}。")) == set(LIBRARY["sentiment"]) - {
        "{text}总的来说，{mask}。"
    }
    assert set(relatives_of("以下是一条{mask}新闻。{text}")) <= set(LIBRARY["topic"])
    assert relatives_of("Is this about {mask}? {text}")[0] in LIBRARY["english"]
