"""Models held ready for answers: ONNX Runtime sessions, a few at a time, never Paddle."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from django.conf import settings

from training.fewshot.runner import Classifier

HELD = 3

_held: OrderedDict[tuple[str, int], Classifier] = OrderedDict()


class ForeignModel(Exception):
    """The folder asked for is not one of this house's runs."""


def classifier_for(model_folder: Path | str) -> Classifier:
    """The classifier of a run's model folder, loaded once and kept while it is among the last three used.

    Raises ForeignModel for a folder outside WANXING_HOME/runs."""
    folder = Path(model_folder).resolve()
    if not folder.is_relative_to((Path(settings.WANXING_HOME) / "runs").resolve()):
        raise ForeignModel(str(model_folder))
    key = (str(folder), (folder / "config.json").stat().st_mtime_ns)
    if key not in _held:
        _held[key] = Classifier.load(folder)
        while len(_held) > HELD:
            _held.popitem(last=False)
    _held.move_to_end(key)
    return _held[key]
