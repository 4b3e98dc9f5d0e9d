"""tokenizer.json made from vocab.txt cuts like PaddleNLP's ErnieTokenizer, character by character."""

from __future__ import annotations

import os
import random
import unicodedata
from pathlib import Path

import pytest

from training.fewshot.backbones import SHIPPED_FOLDER
from training.fewshot.errors import BackboneError
from training.fewshot.tokenization import load_tokenizer, read_vocabulary, special_ids, wordpiece_tokenizer

DATA = Path(os.environ.get("WANXING_DATA") or Path(__file__).parents[3] / "shared" / "data")
SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"]

HOSTILE = {
    "empty": "",
    "spaces of all kinds": "a\u00a0b\u2003c\u3000d\u1680e\u202ff\u205fg\tb\nc\rd",
    "line and paragraph separators": "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\x1fh",
    "removed": "a\x00b\ufffdc\u200bd\u200de\ufefff\u00adg\u2060h\ue000i\U000f0000j",
    "unassigned": "a\u0378b\U0001fbfcc\U000e0fffd",
    "capitals with two lower letters": "İstanbul STRASSE ẞ ǅ ŉ",
    "final sigma": "ΟΔΥΣΣΕΥΣ ΑΣ Σ",
    "accents": "éÉe\u0301 ñ ü Å \u212b ộ",
    "marks alone": "\u0301\u0302 \u0301a",
    "marks on ideographs": "中\u0301国\u3099文",
    "Hangul": "한국어 \u1112\u1161\u11ab 가",
    "Japanese": "がギ ﾊﾞ 々〆",
    "compatibility ideographs": "\uf900\ufa0e\U0002f800 金\uf90a",
    "supplementary ideographs": "\U00020000\U0002a6df\U0002b740\U0002b820\U0002b91f\U0002ceaf\U0002ceb0\U00030000",
    "symbols": "a+b=c￥5$6＋7°8²9º10µØŋƱ〇¥≮≠",
    "ASCII punctuation": "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    "canonical punctuation": "\u037e\u1fef\u0387\u2329",
    "full width": "ＡＢＣ，１２３。",
    "emoji": "👍🏽👩‍👩‍👧‍👦🇨🇳☺️🫠",
    "right to left": "\u202eשלום\u202c مرحبا\u064b",
    "long word": "a" * 100 + " " + "b" * 101 + " " + "é" * 101,
    "special tokens": "a[MASK]b [mask] [MASK] [CLS][SEP] [UNK]中[PAD]",
    "halves of special tokens": "[MA SK] [[MASK]] MASK] [MASK",
    "mathematical letters": "𝐀𝒷ℂ ﬁ Ⅷ ①",
}


def vocabulary_lines():
    """Every letter, mark, number, punctuation and symbol of the first plane, at the start and inside of a word."""
    characters = [
        chr(code)
        for code in range(0x10000)
        if not 0xD800 <= code <= 0xDFFF and unicodedata.category(chr(code))[0] in "LMNPS"
    ]
    characters += [chr(code) for first in (0x20000, 0x2B820, 0x1F440) for code in range(first, first + 64)]
    words = ["the", "##ing", "istanbul", "##σ"]
    return SPECIAL + characters + [f"##{character}" for character in characters] + words + ["the"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary")
    (path / "vocab.txt").write_text("\n".join(vocabulary_lines()) + "\n", encoding="utf-8", newline="\n")
    (path / "tokenizer_config.json").write_text('{"tokenizer_class": "ErnieTokenizer"}', encoding="utf-8")
    wordpiece_tokenizer(read_vocabulary(path / "vocab.txt")).save(str(path / "tokenizer.json"))
    return path


@pytest.fixture(scope="module")
def ours(folder):
    tokenizer = load_tokenizer(folder)
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


@pytest.fixture(scope="module")
def theirs(folder):
    from paddlenlp.transformers import ErnieTokenizer

    tokenizer = ErnieTokenizer.from_pretrained(str(folder))
    return lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_gets_the_ids_of_paddlenlp(ours, theirs, name):
    assert ours(HOSTILE[name]) == theirs(HOSTILE[name])


def test_every_ninth_character_of_unicode_gets_the_ids_of_paddlenlp(ours, theirs):
    """All 1,112,064 were compared once, without a difference; that takes minutes."""
    different = []
    for code in range(0, 0x110000, 9):
        # The middle of the private and the unassigned planes is one answer many times over.
        if (
            0xD800 <= code <= 0xDFFF
            or (0x32000 <= code < 0xE0000 and code % 4096)
            or (code > 0xF0000 and code % 4096)
        ):
            continue
        text = f"aΣ{chr(code)}b {chr(code)}"
        if ours(text) != theirs(text):
            different.append(hex(code))
    assert different == []


def test_random_text_gets_the_ids_of_paddlenlp(ours, theirs):
    chance = random.Random(20)
    codes = [code for code in range(0x30000) if not 0xD800 <= code <= 0xDFFF]
    for _ in range(500):
        text = "".join(chr(chance.choice(codes)) for _ in range(chance.randrange(1, 40)))
        assert ours(text) == theirs(text), [hex(ord(character)) for character in text]


@pytest.mark.fewclue
@pytest.mark.skipif(not (DATA / "tnews" / "data.txt").is_file(), reason="WANXING_DATA names no FewCLUE data")
def test_the_pool_gets_the_ids_of_paddlenlp(ours, theirs):
    lines = (DATA / "tnews" / "data.txt").read_text(encoding="utf-8").splitlines()[::10]
    assert len(lines) > 1000
    assert [line for line in lines if ours(line) != theirs(line)] == []


def test_a_vocabulary_without_a_mask_is_refused():
    vocabulary = {token: index for index, token in enumerate(SPECIAL) if token != "[MASK]"}
    with pytest.raises(BackboneError, match=r"\[MASK\]"):
        wordpiece_tokenizer(vocabulary)


def test_case_is_kept_when_the_vocabulary_keeps_it():
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, "A", "a", "é"])}
    tokenizer = wordpiece_tokenizer(vocabulary, lowercase=False)
    assert tokenizer.encode("A a é e\u0301", add_special_tokens=False).tokens == ["A", "a", "é", "[UNK]"]


def test_special_ids_of_both_kinds_of_vocabulary(folder):
    shipped = special_ids(load_tokenizer(SHIPPED_FOLDER / "wanxing-small-zh"))
    assert (shipped.cls, shipped.pad, shipped.sep, shipped.unk) == (0, 1, 2, 3)
    assert shipped.space is not None
    made = special_ids(load_tokenizer(folder))
    assert (made.pad, made.cls, made.sep, made.mask, made.unk) == (0, 1, 2, 3, 4)
    assert made.space is None


def test_a_file_that_is_no_tokenizer_is_a_named_error(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BackboneError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path)
