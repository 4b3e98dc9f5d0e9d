"""Celery tasks: thin doors. A message carries ids, or a question whose answer is wanted at once."""

from __future__ import annotations

from typing import Any

from django.db import close_old_connections

from workers import probe, questions, runner
from workers.celery import app
from workers.live import awaited


@app.task(name="workers.run_job", ignore_result=True)
def run_job(job_id: int) -> str:
    """Run one job of the database."""
    close_old_connections()
    try:
        return runner.run_job(job_id)
    finally:
        close_old_connections()


@app.task(name="workers.train_probe", ignore_result=True)
def train_probe(project_id: int) -> str:
    """Train a project's fast model."""
    close_old_connections()
    try:
        return probe.train_probe(project_id)
    finally:
        close_old_connections()


@app.task(name="workers.answer")
def answer(
    question: str, payload: dict[str, Any], deadline: float, newest: tuple[str, int] | None
) -> dict[str, Any]:
    """The answer to a page that waits until `deadline` (seconds of the epoch); see `workers.questions`."""
    close_old_connections()
    try:
        return questions.answer(question, payload, awaited(deadline, newest))
    finally:
        close_old_connections()
