"""Runs, their evaluations, exports, file predictions, and the backbones an operator registered."""

from training.models.backbones import RegisteredBackbone
from training.models.exports import Export
from training.models.predictions import FilePrediction, PoolPrediction
from training.models.runs import Evaluation, TrainingRun
from training.models.workbench import PromptComparison, WorkbenchChoice

__all__ = [
    "Evaluation",
    "Export",
    "FilePrediction",
    "PoolPrediction",
    "PromptComparison",
    "RegisteredBackbone",
    "TrainingRun",
    "WorkbenchChoice",
]
