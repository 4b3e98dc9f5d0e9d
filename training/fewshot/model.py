"""`fit` makes a FittedModel out of a configuration and data; a FittedModel predicts, saves and loads."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from training.fewshot import data as datas
from training.fewshot import evaluation
from training.fewshot.backbones import Backbone, resolve
from training.fewshot.batching import Watch
from training.fewshot.config import FewShotConfig
from training.fewshot.data import FewShotData, Split
from training.fewshot.errors import BadCheckpoint, DeviceError, EngineError, VocabularyMismatch
from training.fewshot.paths import as_asked, as_choice, choosing, notices, single_paths
from training.fewshot.runner import TextEncoder, given_labels, probabilities
from training.fewshot.template import Template
from training.fewshot.tokenization import load_tokenizer
from training.fewshot.verbalizer import Label

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from training.fewshot.text_network import TextNetwork

Listener = Callable[[dict], None]
MODEL_VERSION = 1


@dataclasses.dataclass
class FittedModel:
    """A trained classifier. `network` is a paddle.nn.Layer in evaluation mode; `labels` are in class-id order.

    `notes` says what was chosen and why; `history` holds the metric events of training.
    """

    config: FewShotConfig
    method: str
    labels: tuple[Label, ...]
    templates: tuple[Template, ...]
    encoding: dict
    tokenizer: Tokenizer
    network: TextNetwork
    backbone: dict
    calibration: dict
    tokenizer_file: Path
    notes: dict = dataclasses.field(default_factory=dict)
    history: list[dict] = dataclasses.field(default_factory=list)
    seconds: dict = dataclasses.field(default_factory=dict)
    warnings: list[dict] = dataclasses.field(default_factory=list)
    # With `refit_on_dev`, the model that had not learnt dev: what dev may be measured by. Not saved.
    before_refit: FittedModel | None = None
    # The texts that calibration read and their logits: long texts are not read twice. Not saved.
    already_read: tuple[tuple[str, ...], np.ndarray] | None = None

    @property
    def judged_by_dev(self) -> FittedModel:
        """The model whose answers to dev mean something: itself, unless it has learnt dev."""
        return self.before_refit or self

    @property
    def input_names(self) -> list[str]:
        """The arrays that the network reads, in the order of its forward."""
        return list(self.encoding["inputs"])

    @property
    def multi_label(self) -> bool:
        return bool(self.encoding["multi_label"])

    def encode(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """int64 arrays of all rows of `texts` (text by text, view by view inside a text)."""
        encoder = TextEncoder(self.encoding, self.tokenizer)
        return encoder.collate(encoder.rows(texts))

    def predict_logits(
        self,
        texts: Sequence[str],
        *,
        batch_size: int | None = None,
        on_event: Listener | None = None,
        should_stop: Callable[[], bool] | None = None,
        stage: str = "predict",
    ) -> np.ndarray:
        """(n_texts, n_labels) float32, the mean over views, before calibration."""
        if self.already_read is not None and self.already_read[0] == tuple(texts):
            return self.already_read[1].copy()
        from training.fewshot.forward import network_logits

        return network_logits(
            self.network,
            TextEncoder(self.encoding, self.tokenizer),
            texts,
            batch_size=batch_size or self.config.eval_batch_size,
            watch=Watch(stage, on_event, should_stop),
        )

    def predict_proba(self, texts: Sequence[str], **options) -> np.ndarray:
        """(n_texts, n_labels) float32, calibrated; rows sum to 1 unless the task is multi-label."""
        return probabilities(self.predict_logits(texts, **options), self.calibration, self.multi_label)

    def evaluate(self, split: Split, proba: np.ndarray | None = None, **options) -> dict:
        """The dict E of decision 0001 over the labelled texts of `split`."""
        rows = np.flatnonzero(split.labelled)
        chosen = split.take(rows)
        found = self.predict_proba(chosen.texts, **options) if proba is None else proba[rows]
        names = [label.name for label in self.labels]
        given = given_labels(found, self.calibration) if self.multi_label else None
        return evaluation.evaluate(found, chosen.labels, names, given=given)

    def save(self, folder: str | Path) -> None:
        """Writes the model folder of decision 0001 (without onnx/): beside, then renamed into place."""
        from safetensors.numpy import save_file

        folder = Path(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".model-", dir=folder.parent))
        try:
            weights = self.network.arrays()
            save_file(weights, beside / "weights.safetensors")
            shutil.copyfile(self.tokenizer_file, beside / "tokenizer.json")
            for name, value in (
                ("config.json", self._description()),
                ("labels.json", [label.to_json() for label in self.labels]),
                ("template.json", [template.to_json() for template in self.templates]),
                ("encoding.json", self.encoding),
                ("calibration.json", self.calibration),
            ):
                text = json.dumps(value, ensure_ascii=False, indent=1)
                (beside / name).write_text(text + "\n", encoding="utf-8")
            beside.chmod(0o755)
            if folder.exists():
                aside = Path(tempfile.mkdtemp(prefix=".old-", dir=folder.parent))
                folder.rename(aside / "old")
                beside.rename(folder)
                shutil.rmtree(aside, ignore_errors=True)
            else:
                beside.rename(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _description(self) -> dict:
        return {
            "version": MODEL_VERSION,
            "method": self.method,
            "task": self.config.task,
            "config": self.config.to_json(),
            "backbone": self.backbone,
            "network": self.network.describe(),
            "versions": versions(),
            "notes": self.notes,
            "history": self.history,
            "warnings": self.warnings,
        }


def fit(
    config: FewShotConfig,
    data: FewShotData,
    checkpoint_dir: str | Path | None = None,
    on_event: Listener | None = None,
    *,
    backbone: Backbone | None = None,
    cache_dir: str | Path | None = None,
    should_stop: Callable[[], bool] | None = None,
    whole_checkpoints: bool = False,
) -> FittedModel:
    """The model that `config` makes of `data.train`; `data.dev` steers stopping, choices and temperature only.

    Raises an EngineError before time is spent when data, template or words cannot work, Cancelled when
    `should_stop` says so, TrainingDiverged on a loss that is not finite. Resumes from a whole checkpoint of the
    same run in `checkpoint_dir`; with `whole_checkpoints` each checkpoint also holds `model/`, which `load` reads.
    """
    emit = on_event or (lambda event: None)
    emit({"type": "stage", "stage": "load"})
    warnings = datas.check(data, config.task)
    paths = single_paths(data) if config.task == "hierarchical" else None
    if config.task == "hierarchical" and paths is None:
        warnings += notices(data)
    choose_device(config.device)
    from training.fewshot import distributed

    distributed.check(config)
    distributed.join()
    backbone = backbone or resolve(config.backbone, cache_dir or default_cache_dir(), emit)
    from training.fewshot.bench import Order
    from training.fewshot.methods import fit_method

    for event in warnings:
        emit(event)
    folder = Path(checkpoint_dir) if checkpoint_dir else None
    stop = should_stop or (lambda: False)
    order = Order(config, data, backbone, emit, stop, folder, whole_checkpoints)
    if paths is None:
        model = fit_method(order)
    else:
        order = order.but(
            config=choosing(config, data, paths),
            data=as_choice(data, paths),
            as_asked=lambda model: as_asked(model, data, paths),
        )
        model = order.as_asked(fit_method(order))
    model.warnings = [*data.warnings, *warnings, *model.warnings]
    return model


def load(folder: str | Path) -> FittedModel:
    """The model that `save` wrote. Raises BadCheckpoint on a damaged folder, VocabularyMismatch on a foreign one."""
    folder = Path(folder)
    try:
        parts = {
            name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            for name in ("config", "labels", "template", "encoding", "calibration")
        }
        from safetensors.numpy import load_file

        weights = load_file(folder / "weights.safetensors")
    except EngineError:
        raise
    except Exception as error:  # the disk, JSON and safetensors each raise their own class
        raise BadCheckpoint(f"{folder} cannot be read: {error}", path=str(folder)) from error
    described = parts["config"]
    tokenizer = load_tokenizer(folder)
    words = weights.get("ernie.embeddings.word_embeddings.weight")
    if words is None or tokenizer.get_vocab_size() > len(words):
        raise VocabularyMismatch(
            f"tokenizer.json has {tokenizer.get_vocab_size()} tokens, the weights "
            f"{0 if words is None else len(words)}"
        )
    from training.fewshot.methods import build_from_weights

    return FittedModel(
        config=FewShotConfig.from_json(described["config"]),
        method=described["method"],
        labels=tuple(Label.from_json(value) for value in parts["labels"]),
        templates=tuple(Template.from_json(value) for value in parts["template"]),
        encoding=parts["encoding"],
        tokenizer=tokenizer,
        network=build_from_weights(described, weights),
        backbone=described["backbone"],
        calibration=parts["calibration"],
        tokenizer_file=folder / "tokenizer.json",
        notes=described.get("notes", {}),
        history=described.get("history", []),
        warnings=described.get("warnings", []),
    )


def choose_device(device: str) -> str:
    """Sets Paddle's device; "auto" takes a GPU where there is one. Raises DeviceError."""
    import paddle

    has_gpu = paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    if device == "gpu" and not has_gpu:
        raise DeviceError("no GPU: this Paddle was built for the CPU, or no device is visible")
    on_gpu = has_gpu and device != "cpu"
    paddle.set_device(f"gpu:{paddle.distributed.ParallelEnv().device_id}" if on_gpu else "cpu")
    return paddle.get_device()


def default_cache_dir() -> Path:
    """Where backbones are unpacked: `backbones` in WANXING_HOME (./.wanxing)."""
    return Path(os.environ.get("WANXING_HOME") or ".wanxing") / "backbones"


def versions() -> dict[str, str]:
    """Versions of what made a model."""
    import platform
    from importlib import metadata

    found = {"python": platform.python_version()}
    for name in ("paddlepaddle", "paddlepaddle-gpu", "paddlenlp", "numpy", "tokenizers"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
