"""Frozen backbones held ready in this process, a few at a time, never Paddle."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from training.fewshot import backbones
from training.fewshot.config import SHIPPED_BACKBONE
from training.fewshot.errors import BackboneError
from training.fewshot.prompt_reader import PromptReader
from training.fewshot.reader import Reader
from training.services.backbones import cache_dir, choice_of

HELD = 2

_held: OrderedDict[str, Reader] = OrderedDict()
_asked: OrderedDict[str, PromptReader] = OrderedDict()


def reader_for(name: str = SHIPPED_BACKBONE) -> Reader:
    """The reader of a backbone that the form offers, loaded once and kept while it is among the last two used.

    The first time unpacks it and builds its graph (seconds). Raises BackboneError; BackboneOffline for one that
    would have to be downloaded first, since a page waits."""
    path = "" if name == SHIPPED_BACKBONE else _registered_path(name)
    key = path or name
    if key not in _held:
        found = backbones.resolve(key, cache_dir(), trusted=bool(path), download=False)
        _held[key] = Reader.load(found, graphs_dir())
        while len(_held) > HELD:
            _held.popitem(last=False)
    _held.move_to_end(key)
    return _held[key]


def prompt_reader_for(name: str = SHIPPED_BACKBONE) -> PromptReader:
    """The same backbone with all that the workbench has read by it. Raises as `reader_for`."""
    reader = reader_for(name)
    if name not in _asked or _asked[name].reader is not reader:
        _asked[name] = PromptReader(reader)
        while len(_asked) > HELD:
            _asked.popitem(last=False)
    _asked.move_to_end(name)
    return _asked[name]


def _registered_path(name: str) -> str:
    """The folder that the operator registered as `name`, "" for one known by name. Never a path from a page."""
    choice = choice_of(name)
    if choice is None:
        raise BackboneError(f"{name!r} is no backbone of this house", name=name)
    return choice.path


def graphs_dir() -> Path:
    """Where the graphs of backbones lie, beside the backbones."""
    return cache_dir() / "graphs"
