"""What lies in a bundle: the graph, the model's JSON files, a runner, its packages, a self-test, two READMEs."""

from __future__ import annotations

import json
import platform
import re
import shutil
from importlib import metadata
from pathlib import Path

import numpy as np

from training.fewshot import runner
from training.fewshot.bundle.archive import write_sums
from training.fewshot.export import MODEL_FILES
from training.fewshot.export_errors import BundleError

HERE = Path(__file__).parent
SELF_TEST_TOLERANCE = 1e-3
# int8 adds up exactly everywhere, but the float steps between round differently by processor and turn a level now and
# then: up to 0.05 was measured between AVX-512 with VNNI and an emulated Haswell (60 texts, 15 labels).
INT8_SELF_TEST_TOLERANCE = 0.15
PACKAGES = {
    "onnx": ("numpy", "onnxruntime", "tokenizers"),
    "int8": ("numpy", "onnxruntime", "tokenizers"),
    # Paddle imports setuptools at once and declares it for Python 3.12 only.
    "paddle": ("numpy", "paddlepaddle", "setuptools", "tokenizers"),
}
GRAPH_FILES = {
    "onnx": "onnx/model.onnx",
    "int8": "onnx/model.onnx",
    "paddle": "paddle/model.json, paddle/model.pdiparams",
}
FORMAT_NAMES = {"onnx": "ONNX fp32", "int8": "ONNX int8", "paddle": "Paddle fp32"}


def self_test_texts() -> list[str]:
    """Neutral texts written for this program; a bundle never carries its owner's texts."""
    return (HERE / "selftest.txt").read_text(encoding="utf-8").splitlines()


def safe_name(name: str) -> str:
    """`name` with only letters (of any script), digits, dot, dash and underscore: for file names."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-._")[:80] or "model"


def installed_version(package: str) -> str:
    """The installed version; Paddle's GPU wheel goes by another name but runs the same graphs."""
    for name in (package, f"{package}-gpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    raise BundleError(f"{package} is not installed, so its version cannot be pinned")


def assemble(
    folder: Path, *, model_dir: Path, graph_dir: Path, fmt: str, name: str, self_test_proba: np.ndarray
) -> None:
    """Fills the empty `folder` with everything of a bundle, checksums last.

    `graph_dir` holds the graph in the bundle's layout; `self_test_proba`: (n_texts, n_labels) of the trained
    model on `self_test_texts()`. An int8 graph is tested against its own answers: how far those are from the trained
    model's is for the replay to judge.
    """
    shutil.copytree(graph_dir, folder, dirs_exist_ok=True)
    for file_name in MODEL_FILES:
        source = model_dir / file_name
        if source.is_file():
            shutil.copyfile(source, folder / file_name)
        elif file_name not in ("template.json", "calibration.json"):
            raise BundleError(f"the model folder has no {file_name}")
    # infer.py is the very file that the workers import.
    shutil.copyfile(Path(runner.__file__), folder / "infer.py")
    if fmt == "int8":
        self_test_proba = runner.Classifier.load(folder, 1).predict_proba(self_test_texts())
    packages = {package: installed_version(package) for package in PACKAGES[fmt]}
    pins = "".join(f"{package}=={version}\n" for package, version in packages.items())
    (folder / "requirements.txt").write_text(pins, encoding="utf-8")
    labels = runner.read_json(model_dir / "labels.json")
    facts = _facts(model_dir)
    _write_json(
        folder / "versions.json", {"format": fmt, "python": platform.python_version(), **packages, **facts}
    )
    _write_json(
        folder / "selftest.json",
        {
            "texts": self_test_texts(),
            "labels": [label["name"] for label in labels],
            "proba": [[round(float(value), 7) for value in row] for row in self_test_proba],
            "tolerance": INT8_SELF_TEST_TOLERANCE if fmt == "int8" else SELF_TEST_TOLERANCE,
        },
    )
    fields = {
        "name": name,
        "labels": _cell("、".join(label["name"] for label in labels)),
        "template": _cell(_template_text(model_dir)),
        "method": _cell(str(facts["method"])),
        "backbone": _cell(f"{facts['backbone']['name']} ({str(facts['backbone']['hash'])[:12]})"),
        "packages": ", ".join(f"{package} {version}" for package, version in packages.items()),
        "graph": GRAPH_FILES[fmt],
        "format": FORMAT_NAMES[fmt],
    }
    for file_name in ("README.zh.md", "README.en.md"):
        text = (HERE / file_name).read_text(encoding="utf-8")
        (folder / file_name).write_text(_filled(text, fields), encoding="utf-8")
    write_sums(folder)


def _facts(model_dir: Path) -> dict:
    """Method, backbone and training versions from the model's config.json; never a path of this machine."""
    path = model_dir / "config.json"
    config = runner.read_json(path) if path.is_file() else {}
    settings = config.get("config") or config
    backbone = config.get("backbone") or settings.get("backbone") or {}
    if isinstance(backbone, str):
        backbone = {"name": backbone, "hash": config.get("backbone_hash", "")}
    return {
        "method": config.get("method") or settings.get("method", ""),
        "backbone": {"name": Path(str(backbone.get("name", ""))).name, "hash": backbone.get("hash", "")},
        "trained_with": config.get("versions", {}),
    }


def _template_text(model_dir: Path) -> str:
    """The templates as they are typed, divided by slashes."""
    path = model_dir / "template.json"
    templates = runner.read_json(path) if path.is_file() else []
    return " / ".join("".join(_part_text(part) for part in parts) for parts in templates)


def _part_text(part: dict) -> str:
    """One part of a template: words as they are, the others as {text}, {mask}, {soft:词}, {sep}."""
    kind, value = part.get("kind", "hard"), part.get("value") or ""
    if kind == "hard":
        return value
    if kind == "text":
        return "{text}" if value in ("", "a") else "{text_b}"
    return f"{{{kind}:{value}}}" if kind == "soft" and value else f"{{{kind}}}"


def _cell(text: str) -> str:
    """Text for one cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|") or "—"


def _filled(text: str, fields: dict[str, str]) -> str:
    """The template with each {field} replaced in one pass: what a label contains is not looked at again."""
    return re.sub(r"\{(\w+)\}", lambda match: fields.get(match[1], match[0]), text)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n", encoding="utf-8")
