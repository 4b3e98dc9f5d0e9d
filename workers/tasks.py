"""Celery tasks: thin doors. A message carries ids, or a question whose answer is wanted at once."""

from __future__ import annotations

from django.db import close_old_connections

from workers import runner
from workers.celery import app
from workers.sessions import classifier_for


@app.task(name="workers.run_job", ignore_result=True)
def run_job(job_id: int) -> str:
    """Run one job of the database."""
    close_old_connections()
    try:
        return runner.run_job(job_id)
    finally:
        close_old_connections()


@app.task(name="workers.predict_live")
def predict_live(model_folder: str, texts: list[str]) -> list[list[float]]:
    """Probabilities of a few texts, (n_texts, n_labels), for a page that is waiting."""
    return classifier_for(model_folder).predict_proba(texts).tolist()
