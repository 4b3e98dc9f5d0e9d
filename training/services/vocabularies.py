"""The vocabulary of each backbone that a project may choose: enough to check words while they are typed.

Reads no weights and imports no runtime, so the pages may ask.
"""

from __future__ import annotations

import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from training.fewshot import backbone_folders
from training.fewshot.backbone_store import TOKENIZER_FILE
from training.fewshot.backbones import SHIPPED_FOLDER
from training.fewshot.config import SHIPPED_BACKBONE
from training.fewshot.errors import BackboneError
from training.fewshot.tokenization import load_tokenizer
from training.services import backbones


def vocabulary_of(name: str = SHIPPED_BACKBONE) -> Any:
    """The `tokenizers.Tokenizer` of a backbone. Raises BackboneError for one that is not on this machine."""
    if name == SHIPPED_BACKBONE:
        return _read(str(SHIPPED_FOLDER / name / TOKENIZER_FILE), 0)
    choice = backbones.choice_of(name)
    if choice is None:
        raise BackboneError(f"{name!r} is no backbone of this house", name=name)
    folder = Path(choice.path) if choice.path else _own_folder(name)
    if folder is None:
        raise BackboneError(f"{name} is not on this machine yet", name=name)
    try:
        changed = max(entry.stat().st_mtime_ns for entry in os.scandir(folder))
    except (OSError, ValueError) as error:
        raise BackboneError(f"{folder} cannot be read: {error}", name=name) from error
    return _read(str(folder), changed)


def _own_folder(name: str) -> Path | None:
    """Where a backbone known by name lies, unpacked or as it was downloaded."""
    found = [*backbones.cache_dir().glob(f"{name}-{'[0-9a-f]' * 12}"), backbones.download_folder(name)]
    return next((folder for folder in found if (folder / "config.json").is_file()), None)


@lru_cache(maxsize=4)
def _read(path: str, changed: int) -> Any:
    """`changed`: when the folder was last written; a newer one is another vocabulary."""
    folder = Path(path)
    if folder.is_file():
        return load_tokenizer(folder)
    with tempfile.TemporaryDirectory() as beside:
        backbone_folders.write_tokenizer(folder, Path(beside), backbone_folders.read_config(folder))
        return load_tokenizer(beside)
