"""Named errors of exports and bundles."""

from __future__ import annotations

from training.fewshot.errors import EngineError


class ExportError(EngineError):
    """A graph cannot be written."""

    code = "export_failed"
    default_hint = "Read the log of the job; the trained model itself is untouched."


class BundleError(EngineError):
    """A bundle or a model folder is damaged, unsafe or not one of ours."""

    code = "bad_bundle"
    default_hint = "Download the bundle again."


class ReplayFailed(EngineError):
    """The bundle's own runner did not run on the held-out texts."""

    code = "replay_failed"
    default_hint = "Read the log of the job; the bundle was not released."
