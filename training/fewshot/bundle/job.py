"""The export job: pack each format asked for, replay it from the zip, report."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.fewshot import parity, runner
from training.fewshot.bundle import contents
from training.fewshot.bundle.archive import write_zip
from training.fewshot.errors import ConfigError, EngineError
from training.fewshot.export import EXACT_FORMATS, FORMATS, graph_in_layout

# A page stays usable and the figure is exact to a permille with far fewer; more only takes time.
MAX_REPLAYED = 5000
Emit = Callable[[dict], None]


def run(folder: Path, emit: Emit, load: Callable[[Path], Any]) -> dict:
    """See `export.run_export_job`."""
    spec = _read_spec(folder / "spec.json")
    model_dir = Path(spec["model_dir"])
    emit({"type": "stage", "stage": "load"})
    rows = read_replay(folder / "replay.jsonl")
    texts = [row["text"] for row in rows]
    labels = [label["name"] for label in runner.read_json(model_dir / "labels.json")]
    model = load(model_dir)
    emit({"type": "stage", "stage": "predict"})
    reference = (
        np.asarray(model.predict_proba(texts), dtype=np.float32) if texts else np.zeros((0, len(labels)))
    )
    self_test = np.asarray(model.predict_proba(contents.self_test_texts()), dtype=np.float32)
    artifacts = []
    for number, fmt in enumerate(spec["formats"]):
        emit({"type": "stage", "stage": "export", "format": fmt})
        emit({"type": "progress", "stage": "export", "step": number, "total": len(spec["formats"])})
        artifact = _pack(folder, fmt, spec["name"], model, model_dir, self_test)
        emit({"type": "stage", "stage": "replay", "format": fmt})
        artifact |= _replayed(folder / artifact["file"], fmt, texts, rows, labels, model_dir, reference, emit)
        if not artifact["ok"]:
            (folder / artifact["file"]).unlink(missing_ok=True)
            emit(
                {
                    "type": "warning",
                    "code": "artifact_refused",
                    "message": f"{fmt}: {artifact['refused_because']}",
                }
            )
        artifacts.append(artifact)
    emit({"type": "progress", "stage": "export", "step": len(artifacts), "total": len(artifacts)})
    report = {"artifacts": artifacts}
    beside = folder / ".report.json.part"
    beside.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    beside.replace(folder / "report.json")
    return report


def read_replay(path: Path) -> list[dict]:
    """The held-out texts (`{"text", "label"?}` a line); none when the file is absent."""
    if not path.is_file():
        return []
    rows: list[dict] = []
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip() and len(rows) < MAX_REPLAYED:
                rows.append(json.loads(line))
    return rows


def _read_spec(path: Path) -> dict:
    spec = runner.read_json(path)
    formats = list(dict.fromkeys(spec.get("formats") or EXACT_FORMATS))
    unknown = [fmt for fmt in formats if fmt not in FORMATS]
    if unknown:
        raise ConfigError(f"unknown export format {unknown[0]!r}", hint=f"One of {', '.join(FORMATS)}.")
    if not Path(spec.get("model_dir", "")).is_dir():
        raise ConfigError(f"model_dir {spec.get('model_dir')!r} is no folder")
    return {**spec, "formats": formats, "name": contents.safe_name(str(spec.get("name") or "model"))}


def _pack(folder: Path, fmt: str, name: str, model, model_dir: Path, self_test: np.ndarray) -> dict:
    """Writes the zip; returns its line of the report without the replay's figures."""
    root = f"{name}-{fmt}"
    target = folder / f"{root}.zip"
    ready = model_dir / "onnx" / "model.onnx"
    with (
        tempfile.TemporaryDirectory(prefix="wanxing-bundle-") as scratch,
        graph_in_layout(model, fmt, ready) as graph_dir,
    ):
        contents.assemble(
            Path(scratch),
            model_dir=model_dir,
            graph_dir=graph_dir,
            fmt=fmt,
            name=name,
            self_test_proba=self_test,
        )
        write_zip(Path(scratch), target, root)
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"format": fmt, "file": target.name, "bytes": target.stat().st_size, "sha256": digest}


def _replayed(
    archive: Path,
    fmt: str,
    texts: Sequence[str],
    rows: Sequence[dict],
    labels: Sequence[str],
    model_dir: Path,
    reference: np.ndarray,
    emit: Emit,
) -> dict:
    """The report's figures for one artefact; a runner that fails is a refusal, not an error of the job."""
    path = model_dir / "calibration.json"
    calibration = runner.read_json(path) if path.is_file() else {}
    multi_label = bool(runner.read_json(model_dir / "encoding.json").get("multi_label"))
    truth = [_label_ids(row.get("label"), labels, multi_label) for row in rows]
    try:
        replay = parity.replay_bundle(
            archive,
            texts,
            labels,
            tick=lambda: emit({"type": "progress", "stage": "replay", "step": 0, "total": len(texts)}),
        )
    except EngineError as error:
        nothing = dict.fromkeys(("max_abs_difference", "same_label_share", "accuracy", "texts_per_second"))
        return {
            "ok": False,
            "refused_because": error.code,
            "refused_detail": error.message,
            **nothing,
            "reference_accuracy": None,
            "n_replayed": 0,
        }
    gate = parity.INT8 if fmt == "int8" else parity.FP32
    return parity.compare(replay, reference, runner.decide(reference, calibration, multi_label), truth, gate)


def _label_ids(label: object, labels: Sequence[str], multi_label: bool) -> list[int] | None:
    """Class ids of a true label; None when it is unknown or absent."""
    if label is None or label == "":
        return None
    if isinstance(label, list):
        names = [str(name) for name in label]
    else:
        names = str(label).split(",") if multi_label else [str(label)]
    if any(name not in labels for name in names):
        return None
    return [list(labels).index(name) for name in names]
