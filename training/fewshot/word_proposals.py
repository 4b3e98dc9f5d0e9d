"""Words proposed for a label: from its name, from the texts already labelled, from beside its present word.

From the texts: what the model would fill in there, minus what it fills in everywhere (the mean difference of
log-probabilities; a pointwise mutual information of label and word, as in AutoPrompt's and PET's automatic
verbalizers, arXiv 2010.13641), and words that stand in these texts more than in others (log-odds with a Dirichlet
prior, Monroe et al. 2008). Which of them helps is then measured: `effects` puts each into the label's place.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from training.fewshot import evaluation, zero_shot

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SOURCES = ("name", "texts", "neighbour")
SCRIPTS = ("han", "latin", "other")
SHORTEST = {"han": 2, "latin": 3, "other": 2}
LONGEST_CHARACTERS = 8
MIN_COUNT = 2
PRIOR_COUNTS = 10.0
# Pieces of a vocabulary that are cut across words: 的文化, 里的, 让她. With them go a few real words.
_CUT_WORDS = re.compile(r"^[的了着吗呢吧们]|[的了着吗呢吧得]$|[你我他她它这那]")
_WHOLE_WORDS = frozenset(
    ("目的", "标的", "了解", "着急", "着装", "执着", "获得", "取得", "心得", "难得", "值得")
)
_HAN_RUN = re.compile(r"[㐀-鿿]+")
# In a vocabulary without words of several characters, so long a stretch of a text stands for a word.
GRAM_CHARACTERS = 2


@dataclasses.dataclass(frozen=True)
class Lexicon:
    """Words that may be proposed, each with its token ids: `ids[i]` of `words[i]`."""

    words: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.words)


@dataclasses.dataclass(frozen=True)
class Effect:
    """Accuracy on the same `n` texts before and after, with the paired 95 % interval of the difference.

    `error`: the difference's standard error. `expected`: what to expect of it on other texts, see `expectations`;
    `tell_apart`: the difference stands after correction for all the candidates that were tried.
    """

    n: int
    before: float
    after: float
    low: float
    high: float
    error: float
    p_value: float
    loss_change: float
    expected: float = 0.0
    tell_apart: bool = False

    @property
    def difference(self) -> float:
        return self.after - self.before


def script_of(word: str) -> str:
    """ "han", "latin" or "other": the one script of all its letters, "" for a mixture or anything but letters."""
    found = set()
    for char in word:
        if not char.isalpha():
            return ""
        name = unicodedata.name(char, "")
        han = name.startswith("CJK") or "\u3400" <= char <= "\u9fff"
        found.add("han" if han else "latin" if name.startswith("LATIN") else "other")
    return found.pop() if len(found) == 1 else ""


def scripts_asked_for(words: Sequence[str]) -> frozenset[str]:
    """The scripts in which the present words are written; Han where there is none."""
    return frozenset(script for word in words if (script := script_of(word))) or frozenset({"han"})


def is_proposable(word: str, scripts: frozenset[str]) -> bool:
    """Whether `word` is a whole word of one of `scripts`, neither too short nor too long."""
    script = script_of(word)
    if script == "han" and word not in _WHOLE_WORDS and _CUT_WORDS.search(word):
        return False
    return script in scripts and SHORTEST[script] <= len(word) <= LONGEST_CHARACTERS


def lexicon(tokenizer: Tokenizer, texts: Sequence[str], scripts: frozenset[str]) -> Lexicon:
    """The vocabulary's pieces that are whole words of `scripts`; where it has hardly any (a token a character), the
    two-character stretches that occur at least twice in `texts`, most frequent first."""
    found: dict[str, tuple[int, ...]] = {}
    for piece, token in tokenizer.get_vocab().items():
        word = piece.removeprefix("▁")
        if piece.startswith("##") or not is_proposable(word, scripts):
            continue
        # A word at the start of a text has a piece of its own; inside a sentence the bare one stands.
        if word not in found or piece == word:
            found[word] = (token,)
    if "han" in scripts and sum(script_of(word) == "han" for word in found) < 500:
        grams = Counter(gram for text in texts for gram in set(_grams(text)))
        for gram, count in grams.most_common(5000):
            ids = tuple(tokenizer.encode(gram, add_special_tokens=False).ids)
            if count >= MIN_COUNT and is_proposable(gram, scripts) and len(ids) <= GRAM_CHARACTERS:
                found.setdefault(gram, ids)
    words = sorted(found)
    return Lexicon(tuple(words), tuple(found[word] for word in words))


def fill_lift(
    states: np.ndarray, inside: np.ndarray, table: np.ndarray, bias: np.ndarray, words: Lexicon
) -> np.ndarray:
    """(words,) float32: mean log-probability at the masks in the label's texts minus that in all the others.

    `states` (n, masks, H), `inside` bool (n,). Words with more tokens than there are masks get -inf.
    """
    fits = [place for place, ids in enumerate(words.ids) if len(ids) <= states.shape[1]]
    lift = np.full(len(words), -np.inf, dtype=np.float32)
    if not fits or not inside.any() or inside.all():
        return lift
    logits = zero_shot.word_scores(states, table, bias, [words.ids[place] for place in fits])
    # What normalises each text is the same for all words, so the difference of means ranks them without it.
    difference = logits[inside].mean(axis=0) - logits[~inside].mean(axis=0)
    # A word that varies much between texts moves by chance: in units of the standard error.
    spread = np.sqrt(
        logits[inside].var(axis=0) / inside.sum() + logits[~inside].var(axis=0) / (~inside).sum()
    )
    lift[fits] = difference / np.maximum(spread, 1e-3)
    return lift


def log_odds(tokens: Sequence[set[str]], inside: np.ndarray, words: Sequence[str]) -> np.ndarray:
    """(words,) float64: z-scores of how much more often a word stands in the label's texts than in the others.

    `tokens[i]`: the words of text i. An informative Dirichlet prior (Monroe, Colaresi and Quinn 2008).
    """
    here, there = Counter[str](), Counter[str]()
    for text, belongs in zip(tokens, inside, strict=True):
        (here if belongs else there).update(text)
    n_here, n_there = max(1, int(inside.sum())), max(1, int((~inside).sum()))
    total = sum(here.values()) + sum(there.values())
    scores = np.zeros(len(words))
    for place, word in enumerate(words):
        a, b = here[word], there[word]
        if not a:
            continue
        prior = PRIOR_COUNTS * (a + b) / max(1, total) + 0.01
        odds_here = np.log((a + prior) / max(1e-9, n_here + PRIOR_COUNTS - a - prior))
        odds_there = np.log((b + prior) / max(1e-9, n_there + PRIOR_COUNTS - b - prior))
        scores[place] = (odds_here - odds_there) / np.sqrt(1 / (a + prior) + 1 / (b + prior))
    return scores


def neighbours_of(vector: np.ndarray, table: np.ndarray, words: Lexicon, k: int) -> list[int]:
    """Places in `words` of the `k` words whose embeddings (less the mean) are nearest to `vector` (H,)."""
    rows = np.stack([table[list(ids)].mean(axis=0) for ids in words.ids]) if len(words) else table[:0]
    centre = table.mean(axis=0)
    cosines = zero_shot.unit(rows - centre) @ zero_shot.unit(vector - centre)
    return np.argsort(-cosines)[:k].tolist()


def effect(before: np.ndarray, after: np.ndarray, right_sets: Sequence[frozenset[int]]) -> Effect:
    """The paired comparison of two score matrices (n, labels) on texts whose right labels are `right_sets`."""
    first, second = _right(before, right_sets), _right(after, right_sets)
    compared = evaluation.compare(first, second, repeats=1000)
    return Effect(
        n=len(right_sets),
        before=float(first.mean()),
        after=float(second.mean()),
        low=compared["interval"][0],
        high=compared["interval"][1],
        error=float(np.std(second.astype(float) - first, ddof=1) / np.sqrt(len(first)))
        if len(first) > 1
        else 0.0,
        p_value=compared["p_value"],
        loss_change=_loss(after, right_sets) - _loss(before, right_sets),
    )


def expectations(effects: Sequence[Effect]) -> list[Effect]:
    """The effects of all the candidates of a label with `expected` and `tell_apart` set.

    The best of many is the best by luck too. So each difference is drawn to the mean of all as far as their spread is
    no more than chance makes (empirical Bayes; the spread by DerSimonian and Laird 1986), and McNemar's p is held
    against Holm's level. What all of them gain is no merit of theirs: they are judged by the same few texts and take
    the same word away, so a mean above zero is expected of none.
    """
    if not effects:
        return []
    differences = np.array([one.difference for one in effects])
    # Of a word that changes no answer the error is not 0, but that of one answer.
    errors = np.maximum([one.error for one in effects], [1.0 / max(1, one.n) for one in effects])
    weights = errors**-2
    middle = float((weights * differences).sum() / weights.sum())
    excess = float((weights * (differences - middle) ** 2).sum()) - (len(effects) - 1)
    scale = float(weights.sum() - (weights**2).sum() / weights.sum())
    spread = max(0.0, excess / scale) if scale > 0 else 0.0
    kept = spread / (spread + errors**2)
    expected = min(middle, 0.0) + kept * (differences - middle)
    apart = evaluation.holm([one.p_value for one in effects])
    return [
        dataclasses.replace(one, expected=float(value), tell_apart=told and one.difference > 0)
        for one, value, told in zip(effects, expected, apart, strict=True)
    ]


def words_in(text: str, words: frozenset[str] | set[str], longest: int = LONGEST_CHARACTERS) -> set[str]:
    """Which of `words` occur in `text`, longest match first, so that 学 in 大学 does not count."""
    found: set[str] = set()
    at = 0
    while at < len(text):
        for length in range(min(longest, len(text) - at), 0, -1):
            if text[at : at + length] in words:
                found.add(text[at : at + length])
                at += length
                break
        else:
            at += 1
    return found


def _grams(text: str) -> list[str]:
    return [
        run[at : at + GRAM_CHARACTERS]
        for run in _HAN_RUN.findall(text)
        for at in range(len(run) - GRAM_CHARACTERS + 1)
    ]


def _right(scores: np.ndarray, right_sets: Sequence[frozenset[int]]) -> np.ndarray:
    predicted = scores.argmax(axis=1).tolist()
    return np.array([label in right for label, right in zip(predicted, right_sets, strict=True)])


def _loss(scores: np.ndarray, right_sets: Sequence[frozenset[int]]) -> float:
    logs = zero_shot.log_softmax(scores)
    return float(
        -np.mean([np.logaddexp.reduce(logs[row, list(right)]) for row, right in enumerate(right_sets)])
    )
