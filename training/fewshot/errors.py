"""Errors of the engine: a `code` that the pages translate, a message, and a hint that says what to do."""

from __future__ import annotations


class EngineError(Exception):
    """Base of every error the engine raises on purpose.

    `code` is stable and unique to the class (pages translate by it), `message` is English and names the
    value that is wrong, `hint` says what to do, `detail` holds JSON values that a translation may use.
    """

    code = "engine_error"
    default_hint = ""

    def __init__(self, message: str, *, hint: str | None = None, **detail: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint
        self.detail = detail

    def as_event(self) -> dict:
        """The last line that a job writes when it ends with this error."""
        return {
            "type": "error",
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "detail": self.detail,
        }


class ConfigError(EngineError):
    code = "bad_config"
    default_hint = "Correct the named setting."


class DataError(EngineError):
    code = "bad_data"
    default_hint = "Correct the named file."


class MissingData(DataError):
    code = "missing_data"
    default_hint = "Put the named file into the data folder."


class UnknownLabel(DataError):
    code = "unknown_label"
    default_hint = "Add the label to label.txt, or correct the line."


class TooFewLabels(DataError):
    code = "too_few_labels"
    default_hint = "A classifier needs at least two labels with texts."


class TooFewTexts(DataError):
    code = "too_few_texts"
    default_hint = "Label more texts first."


class LabelWithoutText(DataError):
    code = "label_without_text"
    default_hint = "Label at least one text with each label, or remove the label."


class TemplateError(EngineError):
    code = "bad_template"
    default_hint = "A template looks like 以下是一条{mask}新闻。{text}"


class TemplateWithoutMask(TemplateError):
    code = "template_without_mask"
    default_hint = "Put {mask} where the label word belongs."


class TemplateWithoutText(TemplateError):
    code = "template_without_text"
    default_hint = "Put {text} where the text belongs."


class TemplateTooLong(TemplateError):
    code = "template_too_long"
    default_hint = "Shorten the template or raise the maximum length."


class VerbalizerError(EngineError):
    code = "bad_label_word"
    default_hint = "Choose another word for the label."


class UnknownWord(VerbalizerError):
    code = "unknown_word"


class WordCollision(VerbalizerError):
    code = "word_collision"
    default_hint = "Give each label a word of its own."


class MissingWord(VerbalizerError):
    code = "missing_word"
    default_hint = "Give the label a word."


class TrainingDiverged(EngineError):
    code = "loss_not_finite"
    default_hint = "Lower the learning rate, or train in fp32."


class NotEnoughMemory(EngineError):
    code = "not_enough_memory"
    default_hint = "Use the smaller batch proposed, or gradient accumulation, or recompute."


class BadCheckpoint(EngineError):
    code = "bad_checkpoint"
    default_hint = "Delete the checkpoint folder and start again."


class VocabularyMismatch(EngineError):
    code = "vocabulary_mismatch"
    default_hint = "Use the tokenizer.json that belongs to these weights."


class BackboneError(EngineError):
    code = "bad_backbone"
    default_hint = "Give a PaddleNLP name or a folder with config.json, weights and vocabulary."


class DeviceError(EngineError):
    code = "device_unavailable"
    default_hint = "Choose device cpu, or install the GPU wheel of Paddle."


class UnsupportedMethod(EngineError):
    code = "unsupported_method"
    default_hint = "Choose another method."


class Cancelled(EngineError):
    """Training was asked to stop. Not a failure: the job door answers with exit code 3."""

    code = "cancelled"
    default_hint = ""
