"""Which backbone and which method a project's workbench asks."""

from __future__ import annotations

from dataclasses import dataclass

from labeling.models import Project
from training.fewshot.config import SHIPPED_BACKBONE
from training.models import WorkbenchChoice
from training.services import backbones

METHODS = ("cloze", "label_sentence", "mixed")


@dataclass(frozen=True, slots=True)
class Chosen:
    """`method` is "" for the backbone's usual one."""

    backbone: str
    method: str


def choice_of(project: Project) -> Chosen:
    """What was chosen; the shipped backbone where nothing was, or where the chosen one is gone."""
    stored = WorkbenchChoice.objects.filter(project=project).first()
    if stored is None:
        return Chosen(SHIPPED_BACKBONE, "")
    present = {one.name for one in offered()}
    backbone = stored.backbone if stored.backbone in present else SHIPPED_BACKBONE
    return Chosen(backbone, stored.method if stored.method in METHODS else "")


def choose(*, project: Project, backbone: str, method: str) -> Chosen:
    """Keep the choice. An unknown backbone or method leaves the usual one."""
    names = {one.name for one in offered()}
    WorkbenchChoice.objects.update_or_create(
        project=project,
        defaults={
            "backbone": backbone if backbone in names else "",
            "method": method if method in METHODS else "",
        },
    )
    return choice_of(project)


def offered() -> list[backbones.Choice]:
    """The backbones that can answer at once: those on this machine."""
    return [choice for choice in backbones.choices() if choice.present]
