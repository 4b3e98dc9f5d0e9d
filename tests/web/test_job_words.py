"""Every stage and error code that a job can carry has words, and the page shows them with the technical text."""

from __future__ import annotations

import ast
import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils import translation

from labeling.files import FileRefused
from labeling.job_words import ERRORS, STAGES, WARNINGS, error_words, stage_words, warning_words
from labeling.models.jobs import JobKind, JobStatus
from tests import factories

ROOT = Path(settings.BASE_DIR)


def trees(*folders: str) -> Iterator[tuple[Path, ast.AST]]:
    """The modules below `folders`, parsed and not imported: Paddle stays away."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def engine_codes() -> dict[str, str]:
    """{code: class} of every error class of the engine that names a code."""
    found = {}
    for _path, tree in trees("training/fewshot"):
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef) or not node.bases:
                continue
            for statement in node.body:
                match statement:
                    case ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(code))):
                        found[code] = node.name
    return found


def keyword_codes() -> set[str]:
    """Codes that the workers give a job themselves: `code="…"`."""
    return {
        keyword.value.value
        for _path, tree in trees("workers")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "code"
        and isinstance(keyword.value, ast.Constant)
        and isinstance(keyword.value.value, str)
    }


def import_codes() -> set[str]:
    """Codes of `ImportRefused("…")`, without the one that no job keeps."""
    return {
        node.args[0].value
        for _path, tree in trees("labeling/services")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "ImportRefused"
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    } - {"taken"}


def stage_names() -> set[str]:
    """Stages as they are written: `{"stage": "x"}`, `stage("x")`, `stage="x"`, a default of `stage`, progress."""
    names: set[Any] = set()
    for _path, tree in trees("training", "workers", "labeling/services"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "stage":
                        names.add(getattr(value, "value", None))
            elif isinstance(node, ast.Call):
                called = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if called in ("stage", "on_progress") and node.args:
                    names.add(getattr(node.args[0], "value", None))
                names |= {getattr(k.value, "value", None) for k in node.keywords if k.arg == "stage"}
            elif isinstance(node, ast.FunctionDef):
                arguments = [*node.args.posonlyargs, *node.args.args]
                defaults = dict(zip(reversed(arguments), reversed(node.args.defaults), strict=False))
                defaults |= {
                    a: d for a, d in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if d
                }
                names |= {getattr(d, "value", None) for a, d in defaults.items() if a.arg == "stage"}
    return {name for name in names if isinstance(name, str) and name}


def warning_codes() -> set[str]:
    """Codes of `warning("x", …)` and of `{"type": "warning", "code": "x"}`."""
    found = set()
    for _path, tree in trees("training/fewshot"):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "warning":
                found.add(ast.literal_eval(node.args[0]))
            elif isinstance(node, ast.Dict):
                held = {
                    key.value: value.value
                    for key, value in zip(node.keys, node.values, strict=True)
                    if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
                }
                if held.get("type") == "warning" and "code" in held:
                    found.add(held["code"])
    return found


def test_every_warning_has_words() -> None:
    assert "train_text_in_test" in warning_codes()
    assert warning_codes() == WARNINGS.keys()


def test_a_warning_carries_its_values() -> None:
    event = {
        "type": "warning",
        "code": "class_missing_in_dev",
        "message": "dev has…",
        "detail": {"labels": ["A", "B"]},
    }
    with translation.override("zh-hans"):
        assert warning_words(event) == "验证集里没有这些标签的文本：A、B。"
    with translation.override("en"):
        assert warning_words(event).endswith("A, B.")
    assert warning_words({**event, "detail": {}}) == "dev has…"
    assert warning_words({"code": "new_one", "message": "what it says"}) == "what it says"
    assert warning_words("an old line") == "an old line"


def test_every_code_has_words() -> None:
    engine = engine_codes()
    assert {"bad_template", "replay_failed", "backbone_offline"} <= engine.keys()
    missing = (engine.keys() | keyword_codes() | import_codes() | FileRefused.MESSAGES.keys()) - ERRORS.keys()
    assert missing == set(), "add them to labeling/job_words.py"


def test_no_words_without_a_code() -> None:
    known = engine_codes().keys() | keyword_codes() | import_codes() | FileRefused.MESSAGES.keys()
    assert ERRORS.keys() - known == set()


def test_every_stage_has_words() -> None:
    names = stage_names()
    assert {"load", "train", "export", "import", "predict"} <= names
    assert names - STAGES.keys() == set(), "add them to labeling/job_words.py"


def test_a_stage_inside_a_part_says_both() -> None:
    with translation.override("zh-hans"):
        assert stage_words("auto:2:5/train") == "比较几种方法（2 / 5） · 训练"
        assert stage_words("refit/train") == "连同验证集再训练一遍 · 训练"
        assert stage_words("train") == "训练"
    with translation.override("en"):
        assert "(2 of 5)" in stage_words("auto:2:5/train")
    assert stage_words("new:9/step") == "new · step"


@pytest.mark.parametrize("language", ["zh-hans", "en"])
def test_an_error_says_what_is_wrong_and_what_to_do(language: str) -> None:
    with translation.override(language):
        for code in ERRORS:
            message, hint = map(str, error_words(code, "", ""))
            assert len(message) >= 4, code
            assert len(hint) >= 4, code
            # There is no value to fill in: what was wrong stands in the technical text.
            assert "%" not in message + hint, code


def test_an_unknown_code_keeps_what_the_job_said() -> None:
    assert error_words("never_heard_of", "what it said", "do this") == ("what it said", "do this")


@pytest.mark.django_db
@pytest.mark.parametrize("language", ["zh-hans", "en"])
def test_the_page_shows_the_words_and_folds_the_technical_text(language: str) -> None:
    project = factories.make_project()
    job = factories.make_job(
        project,
        JobKind.TRAIN,
        status=JobStatus.FAILED,
        error_code="word_collision",
        error_message="labels A and B share the word 车",
        error_hint="Give each label a word of its own.",
        error_detail="",
    )
    client = Client()
    client.force_login(project.created_by)
    client.cookies["django_language"] = language
    page = html.unescape(client.get(reverse("job_status", args=[project.pk, job.pk])).content.decode())
    with translation.override(language):
        message, hint = error_words(job.error_code, "", "")
        assert str(message) in page
        assert str(hint) in page
    shown, folded = page.split("<details>")
    assert "share the word" not in shown
    assert "word_collision\nlabels A and B share the word 车\nGive each label" in folded
