"""Readers and writers of the files that people bring and take away. Pure Python: no Django, no database."""

from labeling.files.reading import DataFile, peek
from labeling.files.rows import (
    REASONS,
    FileRefused,
    LabelSpec,
    Options,
    Preview,
    Refused,
    Row,
    Warned,
)

__all__ = [
    "REASONS",
    "DataFile",
    "FileRefused",
    "LabelSpec",
    "Options",
    "Preview",
    "Refused",
    "Row",
    "Warned",
    "peek",
]
