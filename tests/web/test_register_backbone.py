"""The operator registers a local encoder: checked at once, listed, forgotten."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from training.fewshot import backbones as engine
from training.fewshot.config import SHIPPED_BACKBONE
from training.models import RegisteredBackbone
from training.services import backbones

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: Any) -> Path:
    """The shipped encoder, unpacked into the layout of PaddleNLP."""
    return engine.resolve(SHIPPED_BACKBONE, tmp_path_factory.mktemp("cache")).path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, settings: Any) -> Path:
    settings.WANXING_HOME = tmp_path / "home"
    settings.WANXING_HOME.mkdir()
    return tmp_path


def run(*args: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("register_backbone", *args, stdout=out, **options)
    return out.getvalue()


def test_a_good_directory_is_registered_offered_and_forgotten(home: Path, unpacked: Path) -> None:
    folder = shutil.copytree(unpacked, home / "mine", ignore=shutil.ignore_patterns("stamp.json"))
    assert "my-ernie" in run("my-ernie", str(folder))
    assert RegisteredBackbone.objects.get().path == str(folder.resolve())
    assert "my-ernie" in {choice.name for choice in backbones.choices()}
    assert str(folder.resolve()) in run()
    run("my-ernie", str(folder))
    assert RegisteredBackbone.objects.count() == 1
    run(remove="my-ernie")
    assert not RegisteredBackbone.objects.exists()
    assert folder.is_dir()
    with pytest.raises(CommandError, match="my-ernie"):
        run(remove="my-ernie")


@pytest.mark.parametrize("name", [SHIPPED_BACKBONE, "ernie-3.0-base-zh", "../up", "a b", "", "x" * 81])
def test_a_name_that_is_taken_or_odd_is_refused(home: Path, unpacked: Path, name: str) -> None:
    with pytest.raises(CommandError):
        run(name, str(unpacked))
    assert not RegisteredBackbone.objects.exists()


def test_a_directory_that_is_no_encoder_is_refused_with_its_reason(home: Path) -> None:
    empty = home / "empty"
    empty.mkdir()
    with pytest.raises(CommandError, match=r"\[backbone"):
        run("mine", str(empty))
    with pytest.raises(CommandError, match="no such directory"):
        run("mine", str(home / "absent"))
    assert not RegisteredBackbone.objects.exists()


def test_damaged_weights_are_refused(home: Path, unpacked: Path) -> None:
    folder = shutil.copytree(unpacked, home / "mine", ignore=shutil.ignore_patterns("stamp.json"))
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(CommandError):
        run("mine", str(folder))
    assert not RegisteredBackbone.objects.exists()
