"""Label scores of an untrained backbone: mask states and sentence vectors → scores, raw and calibrated. numpy only.

Scores are log-probabilities up to a constant a text: `evaluation.softmax` makes probabilities of them. They are the
logits with which training begins: `PromptNetwork` and `LabelSentenceNetwork` start from the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Words = Sequence[Sequence[Sequence[int]]]
# What a cosine is multiplied by before the softmax, as in training (`FewShotConfig.scale`).
SCALE = 10.0


def word_scores(
    states: np.ndarray, table: np.ndarray, bias: np.ndarray, words: Sequence[Sequence[int]]
) -> np.ndarray:
    """(n, words) float32: each word's logit at the masks, the mean over its tokens and over the views.

    `states`: (n, masks, H) or (n, views, masks, H), the mask head's states. `table` (V, H) and `bias` (V,): the
    decoder, tied to the embeddings. `words[w]`: token ids; token j is read at mask j, so a word may not have more
    tokens than there are masks. A mean, never a product of log-probabilities: long words would always lose.
    """
    states = np.asarray(states, dtype=np.float32)
    if states.ndim == 3:
        states = states[:, None]
    n, n_masks = states.shape[0], states.shape[2]
    longest = max((len(ids) for ids in words), default=0)
    if longest > n_masks or any(not len(ids) for ids in words):
        raise ValueError(f"words of 1 to {n_masks} tokens were expected, one has {longest or 0}")
    scores = np.zeros((n, len(words)), dtype=np.float32)
    for place in range(longest):
        column = np.array([w for w, ids in enumerate(words) if len(ids) > place])
        token = np.array([words[w][place] for w in column])
        share = np.array([1.0 / len(words[w]) for w in column], dtype=np.float32)
        # (n, views, H) x (H, words) for the tokens that stand at this mask alone, not for the vocabulary.
        logits = states[:, :, place] @ table[token].T.astype(np.float32) + bias[token].astype(np.float32)
        scores[:, column] += logits.mean(axis=1) * share
    return scores


def cloze_scores(states: np.ndarray, table: np.ndarray, bias: np.ndarray, words: Words) -> np.ndarray:
    """(n, labels) float32: what the masked language model would fill in; a label's score is its words' mean.

    `words[label][word]` are token ids, as in `Verbalizer.token_ids`; the rest as in `word_scores`. Several templates
    are several views, averaged (PET, arXiv 2001.07676).
    """
    return over_words(word_scores(states, table, bias, [ids for group in words for ids in group]), words)


def over_words(scores: np.ndarray, words: Sequence[Sequence[object]]) -> np.ndarray:
    """(n, labels): the mean of (n, words) over the words of each label, words standing label by label."""
    owner = np.repeat(np.arange(len(words)), [len(group) for group in words])
    return np.stack([scores[:, owner == label].mean(axis=1) for label in range(len(words))], axis=1)


def label_vectors(sentence_vectors: np.ndarray, owners: Sequence[int], n_labels: int) -> np.ndarray:
    """(labels, H): the mean of the unit vectors of a label's sentences (its words times the templates).

    `owners[i]` is the label of sentence i; each label owns at least one.
    """
    owner = np.asarray(owners)
    return np.stack([sentence_vectors[owner == label].mean(axis=0) for label in range(n_labels)])


def label_sentence_scores(
    text_vectors: np.ndarray, label_vectors: np.ndarray, *, centred: bool = True, scale: float = SCALE
) -> np.ndarray:
    """(n, labels) float32: `scale` times the cosine of text and label sentence (dual encoder, arXiv 1909.00161).

    Vectors (n, H) and (labels, H). `centred`: both seen from the mean of the label vectors, so that what all the
    labels' sentences have in common counts for nothing.
    """
    texts, rows = unit(text_vectors), np.asarray(label_vectors, dtype=np.float32)
    centre = rows.mean(axis=0) if centred else np.zeros(rows.shape[1], dtype=np.float32)
    return (scale * unit(texts - centre) @ unit(rows - centre).T).astype(np.float32)


def calibrated_by(scores: np.ndarray, reference_scores: np.ndarray) -> np.ndarray:
    """`scores` (n, labels) less the mean of `reference_scores` (m, labels), label by label.

    With the scores of the empty text as reference this is contextual calibration (arXiv 2102.09690); with those of
    the pool, batch calibration (arXiv 2309.17249). Raises ValueError without a reference.
    """
    reference = np.atleast_2d(np.asarray(reference_scores, dtype=np.float64))
    if not len(reference):
        raise ValueError("calibration needs at least one reference text")
    return (np.asarray(scores, dtype=np.float64) - reference.mean(axis=0)).astype(np.float32)


def mixed(first: np.ndarray, second: np.ndarray, weight: float) -> np.ndarray:
    """(1 − weight)·`first` + weight·`second` as log-probabilities, (n, labels) each: a geometric mean of opinions."""
    return ((1.0 - weight) * log_softmax(first) + weight * log_softmax(second)).astype(np.float32)


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Log-probabilities, along the last axis."""
    scores = np.asarray(scores, dtype=np.float64)
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def unit(vectors: np.ndarray) -> np.ndarray:
    """`vectors` (…, H) at length 1; a zero vector stays zero."""
    vectors = np.asarray(vectors, dtype=np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
