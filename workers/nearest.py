"""The texts nearest to a text, asked of the live worker, which holds the vectors."""

from __future__ import annotations

from labeling.services.similar import SimilarUnavailable
from training.services import live

TIMEOUT_SECONDS = 15.0


def nearest(project_id: int, *, text: str, example_id: int | None, k: int) -> list[tuple[int, float]] | None:
    """(example id, cosine) of the k nearest; None while the project has no vectors. Raises SimilarUnavailable."""
    payload = {"project": project_id, "text": text, "example": example_id, "k": k}
    try:
        found = live.ask("nearest", payload, timeout_seconds=TIMEOUT_SECONDS)
    except live.LiveTimeout as error:
        raise SimilarUnavailable("timeout", str(error)) from error
    except live.LiveUnavailable as error:
        raise SimilarUnavailable("unavailable", str(error)) from error
    except live.LiveFailed as error:
        raise SimilarUnavailable("failed", str(error)) from error
    return None if found is None else [(int(one), float(cosine)) for one, cosine in found]
