"""What models say of the texts without a label, as files: `WANXING_HOME/scores/<project>/<source>.npz`.

Workers write them, replacing the file as a whole; the queue, the suggestions and the pages read them and never a
model. A file that is absent, damaged or of an older form means that nothing is known: the reader logs it and goes on.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings

from labeling.files.arrays import BadArrays, Watched, read_arrays, write_arrays

LOG = logging.getLogger(__name__)

SOURCES = ("probe", "zero_shot")
MIN_HELD_OUT = 10
_FORM = 1
_Z = 1.96


@dataclass(frozen=True, eq=False)
class Scores:
    """One model's probabilities for texts of train and pool.

    `example_ids` (n,) int64 ascending · `proba` (n, labels) float16, columns as `label_ids`; rows sum to 1, or are
    independent where a text may have several labels · `disagreement` (n,) float16 in [0, 1] or None · `n_labelled`
    texts were learnt from · `held_out` is the accuracy on `n_held_out` texts that were decided without a model's
    answer in view and not learnt from (None: not measured) · `baseline` is the share of the largest label there.
    """

    source: str
    label_ids: tuple[int, ...]
    example_ids: np.ndarray
    proba: np.ndarray
    disagreement: np.ndarray | None = None
    n_labelled: int = 0
    held_out: float | None = None
    n_held_out: int = 0
    baseline: float = 0.0
    multi_label: bool = False
    about: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.example_ids)

    @property
    def worth_hearing(self) -> bool:
        """Whether the held-out accuracy is clearly above always naming the largest label, and above chance.

        "Clearly": the lower end of Wilson's 95 % interval, on ten texts at least. Until there are so many, scores that
        a person asked for (`about["asked_for"]`) are heard: there is nothing else to begin with."""
        if not self.label_ids:
            return False
        if self.held_out is None or self.n_held_out < MIN_HELD_OUT:
            return bool(self.about.get("asked_for"))
        low = _wilson_low(self.held_out, self.n_held_out)
        return low > max(self.baseline, 1 / len(self.label_ids))

    def rows_of(self, example_ids: Iterable[int]) -> dict[int, int]:
        """{example id: its row} of those that were scored."""
        wanted = np.unique(np.fromiter(example_ids, dtype=np.int64))
        if not len(wanted) or not len(self.example_ids):
            return {}
        places = np.searchsorted(self.example_ids, wanted)
        places[places == len(self.example_ids)] = 0
        found = self.example_ids[places] == wanted
        return {int(one): int(row) for one, row, there in zip(wanted, places, found, strict=True) if there}


def folder_of(project_id: int) -> Path:
    """Where the score and order files of a project lie."""
    return Path(settings.WANXING_HOME) / "scores" / str(int(project_id))


def write(project_id: int, scores: Scores) -> None:
    """Replace the project's file of `scores.source`. Raises ValueError for arrays that do not fit together."""
    n, columns = len(scores.example_ids), len(scores.label_ids)
    if scores.source not in SOURCES:
        raise ValueError(f"unknown source {scores.source!r}")
    if np.shape(scores.proba) != (n, columns):
        raise ValueError(f"proba is {np.shape(scores.proba)}, not {(n, columns)}")
    if scores.disagreement is not None and np.shape(scores.disagreement) != (n,):
        raise ValueError(f"disagreement is {np.shape(scores.disagreement)}, not {(n,)}")
    ids = np.asarray(scores.example_ids, dtype=np.int64)
    order = np.argsort(ids, kind="stable")
    if n and (np.diff(ids[order]) == 0).any():
        raise ValueError("a text is scored twice")
    arrays: dict[str, np.ndarray] = {
        "example_ids": ids[order],
        "proba": np.asarray(scores.proba, dtype=np.float16)[order],
    }
    if scores.disagreement is not None:
        arrays["disagreement"] = np.asarray(scores.disagreement, dtype=np.float16)[order]
    about = {
        "form": _FORM,
        "label_ids": [int(one) for one in scores.label_ids],
        "n_labelled": int(scores.n_labelled),
        "held_out": None if scores.held_out is None else float(scores.held_out),
        "n_held_out": int(scores.n_held_out),
        "baseline": float(scores.baseline),
        "multi_label": bool(scores.multi_label),
        "about": scores.about,
    }
    write_arrays(_path(project_id, scores.source), arrays, about)


def read(project_id: int, source: str) -> Scores | None:
    """The project's scores by `source`, mapped into memory; None where there are none (or none that can be read)."""
    return _FILES.read(_path(project_id, source))


def best(project_id: int) -> Scores | None:
    """Of the project's sources the one with the highest held-out accuracy; one that was measured before others."""
    found = [scores for source in SOURCES if (scores := read(project_id, source)) is not None]
    return max(found, key=lambda one: -1.0 if one.held_out is None else one.held_out, default=None)


def remove(project_id: int, source: str) -> None:
    """Forget what `source` said: its labels or words are not the project's any more."""
    _path(project_id, source).unlink(missing_ok=True)


def _path(project_id: int, source: str) -> Path:
    if source not in SOURCES:
        raise ValueError(f"unknown source {source!r}")
    return folder_of(project_id) / f"{source}.npz"


def _read(path: Path) -> Scores | None:
    try:
        arrays, about = read_arrays(path)
        if about["form"] != _FORM:
            raise BadArrays(f"form {about['form']} instead of {_FORM}")
        return _checked(path.stem, arrays, about)
    except FileNotFoundError:
        return None
    except (BadArrays, KeyError, TypeError, ValueError) as error:
        LOG.warning("scores %s cannot be read and count as absent: %s", path, error)
        return None


_FILES = Watched(_read)


def _checked(source: str, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> Scores:
    ids, proba = arrays["example_ids"], arrays["proba"]
    disagreement = arrays.get("disagreement")
    label_ids = tuple(int(one) for one in about["label_ids"])
    fits = (
        ids.dtype == np.int64
        and ids.ndim == 1
        and proba.dtype == np.float16
        and proba.shape == (len(ids), len(label_ids))
        and (disagreement is None or disagreement.shape == ids.shape)
        and bool((ids[1:] > ids[:-1]).all())
    )
    held_out = about["held_out"]
    if not fits or not (held_out is None or math.isfinite(held_out)):
        raise BadArrays("the arrays do not fit together")
    return Scores(
        source=source,
        label_ids=label_ids,
        example_ids=ids,
        proba=proba,
        disagreement=disagreement,
        n_labelled=int(about["n_labelled"]),
        held_out=held_out,
        n_held_out=int(about["n_held_out"]),
        baseline=float(about["baseline"]),
        multi_label=bool(about["multi_label"]),
        about=dict(about["about"]),
    )


def _wilson_low(share: float, n: int) -> float:
    """Lower end of Wilson's 95 % interval of a share of `n` (J. Am. Stat. Assoc. 22, 1927)."""
    centre = share + _Z * _Z / (2 * n)
    half = _Z * math.sqrt(share * (1 - share) / n + _Z * _Z / (4 * n * n))
    return max(0.0, (centre - half) / (1 + _Z * _Z / n))
