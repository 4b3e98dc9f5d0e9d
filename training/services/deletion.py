"""What a project's deletion takes along from this room."""

from __future__ import annotations

from labeling.models import Project
from training.services.runs import delete_run


def delete_runs_of(project: Project) -> None:
    """Remove every run of `project` with its exports, file predictions and files. Raises RunBusy."""
    for run in project.runs.order_by("-pk"):
        delete_run(run=run)
