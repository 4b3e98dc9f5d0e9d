"""What a page may ask the live worker: functions by name, `(payload, still_newest) → JSON`.

A long answer looks at `still_newest` between its batches (`live.require_newest`, which raises Superseded).
Refusals of the engine (EngineError) reach the page with their code; any other error is logged here and reaches it
as `unexpected`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from training.fewshot.errors import EngineError
from training.services.live import SUPERSEDED, StillNewest, Superseded, require_newest
from workers.readers import reader_for
from workers.sessions import classifier_for

logger = logging.getLogger(__name__)

Question = Callable[[dict, StillNewest], Any]


def predict(payload: dict, still_newest: StillNewest) -> list[list[float]]:
    """{"model_folder", "texts"} → probabilities (n_texts, n_labels) of a trained model."""
    proba = classifier_for(payload["model_folder"]).predict_proba(
        payload["texts"], on_batch=lambda done: require_newest(still_newest)
    )
    return proba.tolist()


def sentence_vectors(payload: dict, still_newest: StillNewest) -> list[list[float]]:
    """{"backbone", "texts"} → unit vectors (n_texts, H)."""
    reader = reader_for(payload["backbone"])
    return reader.sentence_vectors(
        payload["texts"], on_batch=lambda done: require_newest(still_newest)
    ).tolist()


QUESTIONS: dict[str, Question] = {
    "predict": predict,
    "sentence_vectors": sentence_vectors,
}


def answer(question: str, payload: dict, still_newest: StillNewest) -> dict:
    """{"answer": JSON} or {"failed": {code, message, hint, detail}}; {"answer": {"superseded": true}} for one that
    nobody awaits any more."""
    try:
        if not still_newest():
            return {"answer": SUPERSEDED}
        return {"answer": QUESTIONS[question](payload, still_newest)}
    except Superseded:
        return {"answer": SUPERSEDED}
    except EngineError as error:
        failed = error.as_event()
        del failed["type"]
        return {"failed": failed}
    except Exception as error:
        logger.exception("question %s failed", question)
        return {
            "failed": {
                "code": "unexpected",
                "message": f"{type(error).__name__}: {error}"[:2000],
                "hint": "",
                "detail": {},
            }
        }
