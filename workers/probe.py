"""The worker of the fast model: one training of a project's probe, whenever decisions or a page ask for it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from labeling.models import Project
from labeling.services import embeddings, probe_requests, scores
from training.services import probe
from workers.readers import reader_for

logger = logging.getLogger(__name__)


def train_probe(project_id: int) -> str:
    """Train the project's probe and write what it says; return what became of it, for the log."""
    # Decisions from here on are not in this training: they may ask for the next one at once.
    probe_requests.begun(project_id)
    project = Project.objects.filter(pk=project_id).first()
    if project is None:
        return "gone"
    # Small products on several threads spend their time waiting for each other, above all beside other work.
    with threadpool_limits(limits=1, user_api="blas"):
        trained = probe.train(project, sentence_vectors)
    if not Project.objects.filter(pk=project_id).exists():
        # Deleted meanwhile: nothing of it may stay behind.
        shutil.rmtree(scores.folder_of(project_id), ignore_errors=True)
        return "gone"
    if trained.coverage < 1:
        # Its end asks for the next training.
        embeddings.ensure_embedding(project=project)
    if trained.reason:
        return trained.reason
    logger.info(
        "probe of project %s: %s texts learnt, %s scored, %.2f s",
        project_id,
        trained.n_labelled,
        trained.n_scored,
        trained.seconds,
    )
    return "trained"


def sentence_vectors(sentences: Sequence[str]) -> np.ndarray:
    """(n, H) float32: unit vectors by the shipped backbone, which is loaded when it is first asked."""
    return reader_for().sentence_vectors(sentences)
