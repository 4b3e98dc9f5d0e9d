"""Words proposed for a label: each rule on its own, and the search with a tiny backbone."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit import fewshot_tiny
from training.fewshot import word_proposals as words
from training.fewshot.backbones import SHIPPED_FOLDER
from training.fewshot.config import SHIPPED_BACKBONE
from training.fewshot.prompt_reader import PromptReader
from training.fewshot.reader import Reader
from training.fewshot.tokenization import load_tokenizer
from training.fewshot.verbalizer import Label
from training.fewshot.word_search import propose, with_word

HAN = frozenset({"han"})

SCRIPTS = [
    ("汽车", "han"),
    ("car", "latin"),
    ("Ünal", "latin"),
    ("машина", "other"),
    ("汽车a", ""),
    ("2026", ""),
    ("。", ""),
    ("", ""),
    ("汽车😀", ""),
    ("\u202e汽", ""),
]


@pytest.mark.parametrize("word, script", SCRIPTS)
def test_script_of_a_word(word: str, script: str) -> None:
    assert words.script_of(word) == script


def test_only_scripts_that_are_in_use_are_proposed() -> None:
    assert words.scripts_asked_for(["汽车", "体育"]) == HAN
    assert words.scripts_asked_for(["car", "汽车"]) == {"han", "latin"}
    assert words.scripts_asked_for(["123"]) == HAN
    assert words.is_proposable("汽车", HAN)
    assert not words.is_proposable("车", HAN)  # one character is rarely a word by itself
    assert not words.is_proposable("car", HAN)
    assert not words.is_proposable("的文化", HAN)
    assert not words.is_proposable("让她", HAN)
    assert words.is_proposable("目的", HAN)
    assert not words.is_proposable("中华人民共和国万岁", HAN)


def test_the_shipped_vocabularys_words_are_whole_words() -> None:
    found = words.lexicon(load_tokenizer(SHIPPED_FOLDER / SHIPPED_BACKBONE), [], HAN)
    assert {"汽车", "体育", "娱乐"} <= set(found.words)
    assert all(len(ids) == 1 for ids in found.ids)
    assert not [word for word in found.words if words.script_of(word) != "han" or len(word) < 2]


def test_a_vocabulary_of_characters_takes_its_words_from_the_texts() -> None:
    found = words.lexicon(fewshot_tiny.tokenizer(), ["球赛很好", "球赛不好", "轮胎"], HAN)
    assert "球赛" in found.words
    assert "轮胎" not in found.words  # it stands in one text alone
    assert found.ids[found.words.index("球赛")] == tuple(fewshot_tiny.tokenizer().encode("球赛").ids)


def test_words_in_a_text_are_the_longest_that_fit() -> None:
    known = {"大学", "学", "大学生", "生活"}
    assert words.words_in("大学生活", known) == {"大学生"}
    assert words.words_in("学", known) == {"学"}
    assert words.words_in("", known) == set()


def test_log_odds_rank_what_stands_in_the_labels_texts() -> None:
    texts = [{"球赛", "今天"}] * 6 + [{"股票", "今天"}] * 6
    inside = np.array([True] * 6 + [False] * 6)
    scores = words.log_odds(texts, inside, ["球赛", "今天", "股票", "没有"])
    assert scores[0] > 2
    assert scores[1] == pytest.approx(0, abs=1e-9)
    assert scores[2] == 0  # it never stands in the label's texts
    assert scores[3] == 0


def test_fill_lift_takes_off_what_is_filled_in_everywhere() -> None:
    """Token 0 is likely in every text, token 1 only in the label's."""
    table, bias = np.eye(3, dtype=np.float32), np.array([5.0, 0.0, 0.0], dtype=np.float32)
    states = np.zeros((8, 1, 3), dtype=np.float32)
    states[:4, 0, 1] = 2
    states[:, 0, 2] = np.random.default_rng(0).normal(0, 1, 8)
    inside = np.array([True] * 4 + [False] * 4)
    lexicon = words.Lexicon(("常用", "属于", "乱动", "太长"), ((0,), (1,), (2,), (0, 1)))
    lift = words.fill_lift(states, inside, table, bias, lexicon)
    assert lift.argmax() == 1
    assert lift[0] == 0
    assert lift[3] == -np.inf  # two tokens in one mask
    assert np.isinf(words.fill_lift(states, np.ones(8, bool), table, bias, lexicon)).all()


def test_the_effect_is_paired() -> None:
    before = np.array([[2.0, 1.0], [2.0, 1.0], [2.0, 1.0], [2.0, 1.0]])
    after = np.array([[2.0, 1.0], [1.0, 2.0], [1.0, 2.0], [2.0, 1.0]])
    found = words.effect(before, after, [frozenset([0]), frozenset([1]), frozenset([1]), frozenset([0])])
    assert (found.before, found.after) == (0.5, 1.0)
    assert found.low <= 0.5 <= found.high
    assert found.loss_change < 0


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> PromptReader:
    folder = tmp_path_factory.mktemp("words")
    return PromptReader(
        Reader.load(fewshot_tiny.backbone(folder / "tiny", seed=2), folder / "graphs", threads=1)
    )


@pytest.mark.parametrize("method", ["cloze", "label_sentence", "mixed"])
def test_the_search_measures_exactly_what_the_word_would_do(reader: PromptReader, method: str) -> None:
    texts, names = fewshot_tiny.texts(30, 1)
    place = {label.name: number for number, label in enumerate(fewshot_tiny.LABELS)}
    right = [frozenset([place[name]]) for name in names]
    prompt = reader.prompt(fewshot_tiny.LABELS, "{text}主题是{mask}。")
    found = propose(
        reader, prompt, 0, name="球赛", method=method, texts=texts, right_sets=right, reference=texts[:8]
    )
    assert found
    expected = [round(one.effect.expected, 4) for one in found if one.effect]
    assert expected == sorted(expected, reverse=True)
    for one in found:
        swapped = reader.prompt(
            [Label("sports", (one.word,)), *fewshot_tiny.LABELS[1:]], "{text}主题是{mask}。"
        )
        assert one.effect
        if one.effect.n < len(texts) or swapped.n_masks != prompt.n_masks:
            continue  # found in one half of the texts, judged by the other
        before = reader.scored(prompt, method, texts, texts[:8])[1]
        after = reader.scored(swapped, method, texts, texts[:8])[1]
        same = words.effect(before, after, right)
        assert (one.effect.before, one.effect.after, one.effect.low) == (same.before, same.after, same.low)


def some_effect(difference: float, n: int = 200, p_value: float = 0.5) -> words.Effect:
    error = 0.5 * n**-0.5
    low, high = difference - 2 * error, difference + 2 * error
    return words.Effect(n, 0.5, 0.5 + difference, low, high, error, p_value, 0.0)


def test_what_chance_alone_may_give_is_expected_of_none() -> None:
    """Differences no wider than their errors: each is expected to do what they do on average."""
    found = words.expectations([some_effect(one) for one in (-0.03, -0.02, 0.0, 0.03)])
    assert [one.expected for one in found] == pytest.approx([-0.005] * 4)
    assert not any(one.tell_apart for one in found)


def test_what_all_candidates_gain_is_no_merit_of_theirs() -> None:
    found = words.expectations([some_effect(one) for one in (0.02, 0.03, 0.02)])
    assert [one.expected for one in found] == [0, 0, 0]


def test_what_stands_out_is_kept_in_part() -> None:
    found = words.expectations(
        [some_effect(0.3, p_value=1e-6), *(some_effect(one) for one in (-0.02, 0.0, 0.01, -0.01))]
    )
    assert 0.2 < found[0].expected < 0.3
    assert [one.tell_apart for one in found] == [True, False, False, False, False]
    worse = words.expectations([some_effect(-0.3, p_value=1e-6), some_effect(0.0)])
    assert not worse[0].tell_apart  # it can be told apart, but for the worse
    assert words.expectations([]) == []


def test_a_proposal_is_never_another_labels_word_nor_longer_than_the_masks(reader: PromptReader) -> None:
    texts, names = fewshot_tiny.texts(30, 1)
    right = [frozenset([int(name == "car")]) for name in names]
    labels = (Label("a", ("球赛",)), Label("b", ("轮胎",)))
    prompt = reader.prompt(labels, "{text}主题是{mask}。")
    found = propose(
        reader, prompt, 0, name="轮胎", method="cloze", texts=texts, right_sets=right, reference=[]
    )
    assert not {"轮胎", "球赛"} & {one.word for one in found}
    assert all(len(one.tokens) <= 2 for one in found)


def test_a_swapped_word_keeps_the_number_of_masks(reader: PromptReader) -> None:
    prompt = reader.prompt((Label("a", ("球赛",)), Label("b", ("钱",))), "{text}主题是{mask}。")
    assert with_word(prompt, 0, "车", reader).n_masks == prompt.n_masks == 2
