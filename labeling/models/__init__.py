"""Projects, labels and label words, prompts, texts, annotations, jobs and what they leave behind."""

from labeling.models.annotations import Annotation, Comment
from labeling.models.finding import BulkAction, Rule, SavedView, WeakLabel
from labeling.models.imports import ImportBatch
from labeling.models.jobs import Job, JobEvent
from labeling.models.labels import Label, LabelWord, PromptTemplate
from labeling.models.leases import Lease
from labeling.models.predictions import Prediction
from labeling.models.projects import GuidelineVersion, Invitation, Membership, Project
from labeling.models.quality import QualityCheck, Suspect
from labeling.models.texts import Example, ExampleLabel

__all__ = [
    "Annotation",
    "BulkAction",
    "Comment",
    "Example",
    "ExampleLabel",
    "GuidelineVersion",
    "ImportBatch",
    "Invitation",
    "Job",
    "JobEvent",
    "Label",
    "LabelWord",
    "Lease",
    "Membership",
    "Prediction",
    "Project",
    "PromptTemplate",
    "QualityCheck",
    "Rule",
    "SavedView",
    "Suspect",
    "WeakLabel",
]
