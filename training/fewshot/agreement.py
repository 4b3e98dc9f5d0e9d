"""How far people agree about texts: Cohen's κ, Fleiss' κ, Krippendorff's α, with bootstrap intervals over texts.

Opinions are given as `codes: (n_people, n_texts) int`, the index of a value in a list of values, -1 where a person
said nothing of a text. A value is a label, or a set of labels where a text may have several.

- J. Cohen (1960), A coefficient of agreement for nominal scales. Educ. Psychol. Meas. 20.
- J. L. Fleiss (1971), Measuring nominal scale agreement among many raters. Psychol. Bull. 76.
- K. Krippendorff (2011), Computing Krippendorff's alpha-reliability. Annenberg School, departmental paper 43.
- R. Passonneau (2006), Measuring agreement on set-valued items (MASI) for semantic and pragmatic annotation. LREC.
- B. Efron, R. Tibshirani (1993), An introduction to the bootstrap: percentile intervals.

Every figure is a ratio of sums over texts, so a bootstrap sample is a vector of weights and needs no second reading.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

SAMPLES = 1_000
MIN_SAMPLES = 200  # on tens of thousands of texts, where an interval is narrow anyway
LEVEL = 0.95
MIN_TEXTS_FOR_INTERVAL = 5
_DRAWS = 5_000_000
_WEIGHTS_AT_ONCE = 2_000_000

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Figure:
    """A coefficient on `n` texts and its interval. `value` is None where it is not defined: nobody overlaps, or only
    one value was ever given, so that agreement by chance is certain. The interval is None on too few texts."""

    value: float | None
    low: float | None
    high: float | None
    n: int


def cohen_kappa(first: Ints, second: Ints, n_values: int, *, seed: int = 0) -> Figure:
    """κ of two people on the texts that both decided. `first`, `second`: (n_texts,), -1 for none."""
    both = (first >= 0) & (second >= 0)
    first, second = first[both], second[both]
    equal = (first == second).astype(np.float64)
    one, other = np.eye(n_values)[first], np.eye(n_values)[second]

    def kappa(weights: Floats) -> Floats:
        n = weights.sum(1)
        observed = weights @ equal / n
        expected = ((weights @ one) * (weights @ other)).sum(1) / n**2
        return _ratio(observed - expected, 1.0 - expected)

    return _figures(kappa, len(first), seed)[0]


def fleiss_kappa(counts: Floats, *, seed: int = 0) -> Figure:
    """κ of many people. `counts`: (n_texts, n_values), how many gave each value; every text was decided equally often.

    Raises ValueError where it was not."""
    counts = np.asarray(counts, dtype=np.float64)
    people = counts.sum(1)
    if not len(counts) or people[0] < 2 or not np.all(people == people[0]):
        raise ValueError("Fleiss' kappa needs the same number of opinions, at least two, of every text")
    n_people = people[0]
    agreeing = ((counts**2).sum(1) - n_people) / (n_people * (n_people - 1))

    def kappa(weights: Floats) -> Floats:
        n = weights.sum(1)
        observed = weights @ agreeing / n
        shares = weights @ counts / (n * n_people)[:, None]
        expected = (shares**2).sum(1)
        return _ratio(observed - expected, 1.0 - expected)

    return _figures(kappa, len(counts), seed)[0]


def krippendorff_alpha(counts: Floats, distance: Floats | None = None, *, seed: int = 0) -> Figure:
    """α of any number of people, opinions missing or not. `counts`: (n_texts, n_values).

    `distance`: (n_values, n_values), 0 on the diagonal; None: values are equal or not (nominal). Texts with fewer
    than two opinions say nothing and are left out."""
    counts = np.asarray(counts, dtype=np.float64)
    counts = counts[counts.sum(1) >= 2]
    n_values = counts.shape[1]
    far = 1.0 - np.eye(n_values) if distance is None else np.asarray(distance, dtype=np.float64)
    people = counts.sum(1)
    # Disagreeing pairs within a text, each text weighing as much as it has opinions.
    within = ((counts @ far) * counts).sum(1) / np.maximum(people - 1, 1)

    def alpha(weights: Floats) -> Floats:
        totals = weights @ counts
        n = totals.sum(1)
        observed = weights @ within / n
        expected = ((totals @ far) * totals).sum(1) / (n * (n - 1))
        return 1.0 - _ratio(observed, expected)

    return _figures(alpha, len(counts), seed)[0]


def alpha_per_label(member: Floats, people: Floats, *, seed: int = 0) -> list[Figure]:
    """α of each label against all others. `member`: (n_texts, n_labels), how many gave it (alone or among others);
    `people`: (n_texts,), how many decided the text."""
    several = people >= 2
    member, people = np.asarray(member, dtype=np.float64)[several], people[several]
    within = member * (people[:, None] - member) / (people[:, None] - 1)

    def alphas(weights: Floats) -> Floats:
        n = (weights @ people)[:, None]
        given = weights @ member
        return 1.0 - _ratio(weights @ within / n, given * (n - given) / (n * (n - 1)))

    return _figures(alphas, len(member), seed, n_figures=member.shape[1])


def masi_distance(first: frozenset[int], second: frozenset[int]) -> float:
    """1 - Jaccard x monotonicity (Passonneau 2006): 0 for equal sets, 1 for sets with nothing in common."""
    if first == second:
        return 0.0
    common = len(first & second)
    if not common:
        return 1.0
    monotone = 2 / 3 if first <= second or second <= first else 1 / 3
    return 1.0 - common / len(first | second) * monotone


def masi_distances(values: Sequence[frozenset[int]]) -> Floats:
    """(n_values, n_values) distances between sets."""
    return np.array([[masi_distance(one, other) for other in values] for one in values], dtype=np.float64)


def counts_of(codes: Ints, n_values: int) -> Floats:
    """(n_texts, n_values): how many people gave each value. `codes`: (n_people, n_texts), -1 for none."""
    counts = np.zeros((codes.shape[1], n_values))
    for row in codes:
        there = np.flatnonzero(row >= 0)
        counts[there, row[there]] += 1
    return counts


def disagreements(codes: Ints, n_values: int) -> tuple[Ints, Ints]:
    """Who differs from whom, and on what.

    Returns (n_people, n_people) numbers of texts that two people decided differently, and (n_values, n_values) numbers
    of texts for which one person gave the one value and another person the other. Both are symmetric."""
    n_people = codes.shape[0]
    between = np.zeros((n_people, n_people), dtype=np.int64)
    for one in range(n_people):
        for other in range(one + 1, n_people):
            both = (codes[one] >= 0) & (codes[other] >= 0)
            between[one, other] = between[other, one] = int((codes[one] != codes[other])[both].sum())
    given = (counts_of(codes, n_values) > 0).astype(np.int64)
    on = given.T @ given
    np.fill_diagonal(on, 0)
    return between, on


def _ratio(above: Floats, below: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.abs(below) > 1e-12, above / below, np.nan)


def _figures(
    coefficient: Callable[[Floats], Floats], n: int, seed: int, *, n_figures: int = 1
) -> list[Figure]:
    """Coefficients with every text once, and their percentile intervals over texts drawn with replacement.

    `coefficient` maps (n_samples, n) weights of texts to (n_samples,) or (n_samples, n_figures). Samples in which it
    is not defined (one value only) are left out."""
    if n == 0:
        return [Figure(None, None, None, 0)] * n_figures
    values = coefficient(np.ones((1, n))).reshape(n_figures)
    if n < MIN_TEXTS_FOR_INTERVAL:
        return [Figure(float(value) if np.isfinite(value) else None, None, None, n) for value in values]
    random = np.random.default_rng(seed)
    n_samples = int(np.clip(_DRAWS // n, MIN_SAMPLES, SAMPLES))
    at_once = max(1, _WEIGHTS_AT_ONCE // n)
    drawn = []
    for start in range(0, n_samples, at_once):
        size = min(at_once, n_samples - start)
        weights = random.multinomial(n, np.full(n, 1.0 / n), size=size).astype(np.float64)
        drawn.append(coefficient(weights).reshape(size, n_figures))
    tail = (1 - LEVEL) / 2
    figures = []
    for value, samples in zip(values, np.concatenate(drawn).T, strict=True):
        if not np.isfinite(value):
            figures.append(Figure(None, None, None, n))
            continue
        low, high = np.quantile(samples[np.isfinite(samples)], [tail, 1 - tail])
        figures.append(Figure(float(value), float(low), float(high), n))
    return figures
