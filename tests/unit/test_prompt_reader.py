"""A prompt read by a tiny backbone: the same numbers as the plain functions give, and nothing read twice."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit import fewshot_tiny
from training.fewshot import encoding, word_quality, zero_shot
from training.fewshot.errors import TemplateError, UnknownWord, WordCollision
from training.fewshot.prompt_reader import MIXED_WEIGHT, PromptReader, RowMemory
from training.fewshot.reader import Reader
from training.fewshot.template import parse
from training.fewshot.verbalizer import Label

TEMPLATE = "这是一条关于{mask}的新闻。{text}"
TEXTS = ["球赛队员进门", "轮胎发动机油", "银行股市利率", "球赛", "", "不认识的字"]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> PromptReader:
    folder = tmp_path_factory.mktemp("prompts")
    return PromptReader(
        Reader.load(fewshot_tiny.backbone(folder / "tiny", seed=6), folder / "graphs", threads=1)
    )


def test_rows_are_read_once_and_the_oldest_forgotten() -> None:
    memory, asked = RowMemory(limit_bytes=3 * 4), []

    def read(places: list[int]) -> np.ndarray:
        asked.append(places)
        return np.array([[place] for place in places], dtype=np.float64)

    found = memory.all(["a", "b", "a"], [1, 1, 1], read)
    assert found[:, 0].tolist() == [0, 1, 0]
    memory.all(["b", "c"], [1, 1], read)
    memory.all(["d"], [1], read)
    assert asked == [[0, 1], [1], [0]]
    assert len(memory) == 3  # of a, b, c, d the oldest, a, has gone
    memory.all(["a"], [1], read)
    assert asked[-1] == [0]


def test_short_texts_are_read_together() -> None:
    order: list[list[int]] = []

    def read(places: list[int]) -> np.ndarray:
        order.append(places)
        return np.zeros((len(places), 1))

    RowMemory().all(["cccc", "a", "bbbbbb", "dd"], [4, 1, 6, 2], read, chunk=2)
    assert order == [[1, 3], [0, 2]]


def test_scores_are_those_of_the_plain_functions(reader: PromptReader) -> None:
    prompt = reader.prompt(fewshot_tiny.LABELS, TEMPLATE)
    plan = encoding.plan_prompt(
        reader.reader.tokenizer,
        [parse(TEMPLATE)],
        n_masks=2,
        vocab_size=len(reader.reader.table),
        max_length=reader.reader.max_length,
        multi_label=False,
    )
    states = reader.reader.mask_states(plan.encoding, TEXTS)
    cloze = zero_shot.cloze_scores(states, reader.reader.table, reader.reader.bias, prompt.words.token_ids)
    assert reader.scores(prompt, "cloze", TEXTS) == pytest.approx(cloze, abs=1e-5)
    sentences = [parse(TEMPLATE).statement(word) for one in fewshot_tiny.LABELS for word in one.words]
    rows = zero_shot.label_vectors(reader.reader.sentence_vectors(sentences), [0, 1, 2, 2], 3)
    sentence = zero_shot.label_sentence_scores(reader.reader.sentence_vectors(TEXTS), rows)
    assert reader.scores(prompt, "label_sentence", TEXTS) == pytest.approx(sentence, abs=1e-4)
    raw, calibrated = reader.scored(prompt, "cloze", TEXTS, TEXTS[:2])
    assert calibrated == pytest.approx(zero_shot.calibrated_by(cloze, cloze[:2]), abs=1e-4)
    mixed, _ = reader.scored(prompt, "mixed", TEXTS, TEXTS[:2])
    assert mixed == pytest.approx(zero_shot.mixed(raw, sentence, MIXED_WEIGHT), abs=1e-4)


def test_fills_are_the_most_probable_tokens_without_the_vocabularys_marks(reader: PromptReader) -> None:
    prompt = reader.prompt(fewshot_tiny.LABELS, TEMPLATE)
    found = reader.fills(prompt, TEXTS, k=4)
    assert [len(masks) for masks in found] == [2] * len(TEXTS)
    for masks in found:
        for mask in masks:
            probabilities = [p for _token, p in mask]
            assert probabilities == sorted(probabilities, reverse=True)
            assert not {"[MASK]", "[CLS]", "[UNK]", "[PAD]", "[SEP]"} & {token for token, _p in mask}


def test_a_pair_of_texts_is_asked_by_cloze_alone(reader: PromptReader) -> None:
    pair = reader.prompt((Label("same", ("是",)), Label("other", ("不",))), "{text_a}？{mask}，{text_b}")
    assert reader.methods_of(pair) == ("cloze",)
    assert reader.scored(pair, "cloze", ["球赛\t球赛", "球赛\t钱"], [])[0].shape == (2, 2)


def test_faults_are_named(reader: PromptReader) -> None:
    with pytest.raises(TemplateError):
        reader.prompt(fewshot_tiny.LABELS, "{text}没有空格")
    with pytest.raises(UnknownWord):
        reader.prompt((Label("a", ("😀",)), Label("b", ("钱",))), TEMPLATE)
    with pytest.raises(WordCollision):
        reader.prompt((Label("a", ("钱",)), Label("b", ("钱",))), TEMPLATE)


def test_soft_parts_count_as_the_words_they_start_from(reader: PromptReader) -> None:
    hard = reader.prompt(fewshot_tiny.LABELS, "主题{mask}。{text}")
    soft = reader.prompt(fewshot_tiny.LABELS, "{soft:主题}{mask}。{text}")
    first, second = reader.scores(hard, "cloze", TEXTS), reader.scores(soft, "cloze", TEXTS)
    assert first == pytest.approx(second, abs=1e-4)


def test_fluency_is_the_log_probability_of_the_tokens_beside_the_word(reader: PromptReader) -> None:
    prompt = reader.prompt(fewshot_tiny.LABELS, "关于{mask}的新闻。{text}")
    token = reader.reader.tokenizer.token_to_id
    row = [token(one) for one in ("[CLS]", "关", "于", "体", "育", "的", "新", "闻", "。", "[SEP]")]
    expected = []
    for place in (2, 5):
        masked = (*row[:place], token("[MASK]"), *row[place + 1 :])
        state = reader.states_at([masked], [place])[0]
        logits = reader.reader.table @ state + reader.reader.bias
        expected.append(logits[row[place]] - np.log(np.exp(logits - logits.max()).sum()) - logits.max())
    found = word_quality.fluency(reader, prompt, ["体育"])
    assert found == pytest.approx([np.mean(expected)], abs=1e-4)


def test_a_word_without_neighbours_has_no_fluency(reader: PromptReader) -> None:
    prompt = reader.prompt(fewshot_tiny.LABELS, "{mask}{text}")
    assert word_quality.fluency(reader, prompt, ["体育", "汽车"]) == [None, None]


def test_how_it_reads_is_judged_against_the_other_words() -> None:
    assert word_quality.how_it_reads(-0.1, 5) == "natural"
    assert word_quality.how_it_reads(-0.8, 5) == "stiff"
    assert word_quality.how_it_reads(-2.0, 5) == "odd"
    assert word_quality.how_it_reads(-2.0, 2) == "natural"


def test_neighbours_are_other_labels_words_the_nearest_first() -> None:
    cosines = np.array([[1.0, 0.9, 0.8, 0.95], [0.9, 1, 0, 0], [0.8, 0, 1, 0], [0.95, 0, 0, 1]])
    found = word_quality.neighbours(cosines, [(0, "股票"), (1, "股市"), (2, "证券"), (0, "财经")], 0.7)
    assert [one.word for one in found[0]] == ["股市", "证券"]  # 财经 is the same label's
    assert found[3] == []
