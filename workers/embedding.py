"""The job EMBED: vectors for the texts that lack one, then pairs of texts that are nearly the same."""

from __future__ import annotations

import time

from django.db import transaction

from labeling.files.vectors import BeingWritten
from labeling.models import Project
from labeling.services import embeddings, similar
from training.fewshot.near_duplicates import near_pairs
from training.fewshot.reader import Reader
from workers.context import AttemptLost, RunningJob
from workers.readers import reader_for

BATCH_SIZE = 16


def encoder_of(reader: Reader, running: RunningJob) -> embeddings.Encoder:
    """What `embeddings` needs of a reader. The heart beats, and a stop is heard, after each batch."""

    def after_batch(done: int) -> None:
        if running.should_stop():
            raise running.stopped()

    return embeddings.Encoder(
        name=reader.backbone.name,
        hash=reader.backbone.hash,
        hidden_size=reader.hidden_size,
        read=lambda texts: reader.sentence_vectors(texts, batch_size=BATCH_SIZE, on_batch=after_batch),
    )


def embed(running: RunningJob) -> bool:
    """Do one turn of the job; whether all of it is done. Raises what ends a job early (workers.context)."""
    job = running.job
    running.report(stage="load")
    encoder = encoder_of(reader_for(), running)
    try:
        embedded = embeddings.embed_texts(
            project=job.project,
            encoder=encoder,
            on_progress=lambda stage, step, total, eta: running.report(
                stage=stage, step=step, total=total, eta_seconds=eta
            ),
            should_stop=running.should_stop,
            give_way=lambda: embeddings.others_wait(job),
        )
    except BeingWritten as error:
        # An attempt that was thought dead still writes.
        raise AttemptLost(str(error)) from error
    if running.should_stop():
        raise running.stopped()
    if not embedded.whole:
        return False
    index = embeddings.index_of(job.project, encoder.hash)
    if index is not None and (embedded.added or not similar.compared_texts(index)):
        compare(running, index)
    return True


def compare(running: RunningJob, index: embeddings.EmbeddingIndex) -> None:
    """Write the pairs of the index that are nearly the same."""
    running.report(stage="compare")
    began = time.monotonic()

    def on_step(done: int, total: int) -> None:
        if running.should_stop():
            raise running.stopped()
        seconds = time.monotonic() - began
        left = seconds / done * (total - done) if done and seconds > 1 else None
        running.report(step=done, total=total, eta_seconds=left)

    similar.write_pairs(index, *near_pairs(index.vectors, similar.FLOOR, on_step=on_step))


def request_after(project: Project) -> None:
    """Start the job for texts that came in; a broker that is down delays it (the sweep), and is no error."""
    with transaction.atomic():
        embeddings.request_embedding(project=project)
