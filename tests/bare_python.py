"""A Python that holds what an ONNX bundle asks for, and nothing of this project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from training.fewshot.bundle import contents

PINNED = [f"{name}=={contents.installed_version(name)}" for name in contents.PACKAGES["onnx"]]


@pytest.fixture(scope="session")
def bare_python() -> Path:
    """Python with numpy, onnxruntime and tokenizers only; made once under .cache and used again."""
    home = (
        Path(__file__).parents[1]
        / ".cache"
        / f"bundle-venv-{sys.version_info.major}.{sys.version_info.minor}"
    )
    python = home / "bin" / "python"
    mark = home / "pins.txt"
    if not mark.is_file() or mark.read_text(encoding="utf-8").split() != PINNED:
        shutil.rmtree(home, ignore_errors=True)
        home.parent.mkdir(exist_ok=True)
        (home.parent / ".gitignore").write_text("*\n", encoding="utf-8")
        venv.create(home, with_pip=True)
        made = subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINNED],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            shutil.rmtree(home, ignore_errors=True)
            if os.environ.get("CI"):
                pytest.fail(f"the bundle's packages cannot be installed: {made.stderr[-500:]}")
            pytest.skip("the bundle's packages cannot be installed: no package index can be reached")
        mark.write_text("\n".join(PINNED), encoding="utf-8")
    return python
