"""A reader for tests: texts as normalised counts of characters, so that like words give like vectors, at once."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from labeling.services.embeddings import Encoder, embed_texts

WIDTH = 256


def sentence_vectors(texts: Sequence[str]) -> np.ndarray:
    """(n, WIDTH) float32 of length 1."""
    found = np.full((len(texts), WIDTH), 0.01, dtype=np.float32)
    for row, text in enumerate(texts):
        for character in text:
            found[row, zlib.crc32(character.encode()) % WIDTH] += 1
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def embed(project: Any) -> None:
    """Give every text of the project its vector, as the job does."""
    encoder = Encoder("characters", "c" * 64, WIDTH, sentence_vectors)
    embed_texts(project=project, encoder=encoder, on_progress=lambda *_: None, should_stop=lambda: False)
