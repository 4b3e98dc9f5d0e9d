"""How the fast model's learning goes, as one small file that a worker keeps: `scores/<project>/learning.npz`.

The pages read from it whether more labels still help. Absent or damaged, nothing is known.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from labeling.files.arrays import BadArrays, Watched, read_arrays, write_arrays
from labeling.models import Project
from labeling.services import scores

LOG = logging.getLogger(__name__)
_FORM = 1
ROUNDS_KEPT = 400


@dataclass(frozen=True)
class Round:
    """One note: so many texts learnt, the accuracy on `n_held_out` held-out ones, κ with the round before (None at
    the first)."""

    n_labelled: int
    accuracy: float | None
    n_held_out: int
    agreement: float | None = None


@dataclass(frozen=True, eq=False)
class Learning:
    """The rounds so far, the newest last, and what they say.

    `gain`, `low`, `high`: accuracy that `more` further labels would bring, with its 95 % interval, measured at
    `curve_at` labels. `watched_ids` (m,) and `answers` (m,): the texts on which rounds are compared, and the label
    ids that the last round gave them."""

    rounds: tuple[Round, ...] = ()
    enough: bool = False
    more: int = 0
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    agreement: float | None = None
    curve_at: int = 0
    curve: tuple[tuple[int, float], ...] = ()
    watched_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    answers: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def newest(self) -> Round | None:
        return self.rounds[-1] if self.rounds else None

    @property
    def accuracies(self) -> list[float]:
        """Held-out accuracies, oldest first, for a small curve."""
        return [one.accuracy for one in self.rounds if one.accuracy is not None]


def write(project_id: int, learning: Learning) -> None:
    """Replace the project's note."""
    about = {
        one.name: getattr(learning, one.name)
        for one in fields(learning)
        if one.name not in ("rounds", "watched_ids", "answers")
    }
    about |= {"form": _FORM, "rounds": [asdict(one) for one in learning.rounds[-ROUNDS_KEPT:]]}
    arrays = {
        "watched_ids": learning.watched_ids.astype(np.int64),
        "answers": learning.answers.astype(np.int64),
    }
    write_arrays(_path(project_id), arrays, about)


def read(project_id: int) -> Learning | None:
    """The project's note; None where there is none that can be read."""
    return _FILES.read(_path(project_id))


def stop_signal(project: Project) -> Learning | None:
    """The note, where it says that more labels hardly help; None otherwise, and wherever nothing is known."""
    learning = read(project.pk)
    return learning if learning is not None and learning.enough else None


def _path(project_id: int) -> Path:
    return scores.folder_of(project_id) / "learning.npz"


def _read(path: Path) -> Learning | None:
    try:
        arrays, about = read_arrays(path)
        if about.pop("form") != _FORM:
            raise BadArrays("another form")
        rounds = tuple(Round(**one) for one in about.pop("rounds"))
        about["curve"] = tuple((int(n), float(accuracy)) for n, accuracy in about["curve"])
        watched, answers = np.array(arrays["watched_ids"]), np.array(arrays["answers"])
        if watched.shape != answers.shape:
            raise BadArrays("the arrays do not fit together")
        known: dict[str, Any] = {one.name: about[one.name] for one in fields(Learning) if one.name in about}
        return Learning(rounds=rounds, watched_ids=watched, answers=answers, **known)
    except FileNotFoundError:
        return None
    except (BadArrays, KeyError, TypeError, ValueError) as error:
        LOG.warning("learning %s cannot be read and counts as absent: %s", path, error)
        return None


_FILES = Watched(_read)
