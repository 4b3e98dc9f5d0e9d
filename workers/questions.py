"""What a page may ask the live worker: functions by name, `(payload, still_newest) → JSON`.

A long answer looks at `still_newest` between its batches (`live.require_newest`, which raises Superseded).
Refusals of the engine (EngineError) reach the page with their code; any other error is logged here and reaches it
as `unexpected`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from labeling.models import Example, Project
from labeling.services import embeddings
from training.fewshot.errors import EngineError
from training.fewshot.prompt_reader import PromptReader
from training.services import workbench_answers as workbench
from training.services.live import SUPERSEDED, StillNewest, Superseded, require_newest
from training.services.workbench import Draft
from workers.readers import prompt_reader_for, reader_for
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


def _workbench(payload: dict) -> tuple[Draft, PromptReader]:
    draft = Draft.from_json(payload["draft"])
    return draft, prompt_reader_for(draft.backbone)


def workbench_answers(payload: dict, still_newest: StillNewest) -> dict:
    """{"draft", "example_ids"} → `training.services.workbench.Answers`."""
    draft, reader = _workbench(payload)
    return workbench.answers(draft, payload["example_ids"], reader, still_newest)


def workbench_words(payload: dict, still_newest: StillNewest) -> dict:
    """{"draft"} → {"words": `training.services.workbench.WordReading` each}."""
    return workbench.words(*_workbench(payload), still_newest)


def workbench_accuracy(payload: dict, still_newest: StillNewest) -> dict:
    """{"draft"} → `training.services.workbench.Accuracy`."""
    return workbench.accuracy(*_workbench(payload), still_newest)


def workbench_proposals(payload: dict, still_newest: StillNewest) -> dict:
    """{"draft", "label_id"} → `training.services.workbench.Proposals`."""
    draft, reader = _workbench(payload)
    return workbench.proposals(draft, payload["label_id"], reader, still_newest)


def nearest(payload: dict, still_newest: StillNewest) -> list[list[float]] | None:
    """{"project", "text", "example", "k"} → [[example id, cosine], …], the nearest first; null without vectors.

    A text that has no vector yet (`example`) is read now."""
    project = Project.objects.get(pk=payload["project"])
    reader = reader_for()
    index = embeddings.index_of(project, reader.backbone.hash)
    if index is None or not len(index):
        return None
    index.hold()
    require_newest(still_newest)
    text, example_id = payload["text"], payload["example"]
    vector = None if example_id is None else index.vector_of(example_id)
    if vector is None:
        if example_id is not None:
            text = Example.objects.get(pk=example_id, project=project).text
        vector = reader.sentence_vectors([text])[0]
    ids, cosines = index.nearest(vector, payload["k"])
    return [[int(one), round(float(cosine), 5)] for one, cosine in zip(ids, cosines, strict=True)]


QUESTIONS: dict[str, Question] = {
    "predict": predict,
    "sentence_vectors": sentence_vectors,
    "workbench_answers": workbench_answers,
    "workbench_words": workbench_words,
    "workbench_accuracy": workbench_accuracy,
    "workbench_proposals": workbench_proposals,
    "nearest": nearest,
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
