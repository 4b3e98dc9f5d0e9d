"""Backbones by name or folder: the shipped one, PaddleNLP's ERNIE family, folders of an operator.

Whatever it came from, a resolved backbone is a folder as described in `backbone_store`: ErnieConfig, float32
safetensors under the keys of `ErnieForMaskedLM`, and a tokenizer.json. Nothing downstream reads a pickle.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from training.fewshot import backbone_download, backbone_folders
from training.fewshot import backbone_store as store
from training.fewshot.config import SHIPPED_BACKBONE
from training.fewshot.errors import BackboneError

SHIPPED_FOLDER = Path(__file__).parent / "backbone"

Listener = Callable[[dict], None]


@dataclass(frozen=True)
class Backbone:
    """A backbone ready to load: `path` holds config.json, model.safetensors and tokenizer.json.

    `hash` is 64 hexadecimal digits over what it was made from; it is the backbone's version.
    """

    name: str
    path: Path
    hash: str
    config: dict


@dataclass(frozen=True)
class KnownBackbone:
    """One line of the form's list. `parameters_millions` counts encoder and embeddings."""

    name: str
    layers: int
    hidden: int
    parameters_millions: float
    download_megabytes: float
    shipped: bool = False


KNOWN_BACKBONES: tuple[KnownBackbone, ...] = (
    KnownBackbone(SHIPPED_BACKBONE, 12, 384, 29.1, 0, shipped=True),
    KnownBackbone("ernie-3.0-nano-zh", 4, 312, 17.9, 72),
    KnownBackbone("ernie-3.0-micro-zh", 4, 384, 23.4, 94),
    KnownBackbone("ernie-3.0-mini-zh", 6, 384, 26.9, 108),
    KnownBackbone("ernie-3.0-medium-zh", 6, 768, 75.4, 302),
    KnownBackbone("ernie-3.0-base-zh", 12, 768, 117.9, 472),
    KnownBackbone("ernie-3.0-xbase-zh", 20, 1024, 296.0, 1184),
)


def resolve(
    name_or_path: str | Path,
    cache_dir: str | Path,
    on_event: Listener | None = None,
    *,
    trusted: bool = False,
    download: bool = True,
) -> Backbone:
    """The backbone called `name_or_path`, unpacked or converted under `cache_dir` if it is not there yet.

    A folder is one of PaddleNLP or of Hugging Face. `trusted`: an operator vouches for it, so pickled weights in
    it may be read. Without `download` one that is not on this machine is BackboneOffline, and PaddleNLP is not imported.
    Raises BackboneError or one of its children in `backbone_store` and `backbone_folders`.
    """
    cache_dir = Path(cache_dir)
    emit = on_event or (lambda event: None)
    name = str(name_or_path)
    if name == SHIPPED_BACKBONE:
        return _resolve_shipped(cache_dir, SHIPPED_FOLDER, SHIPPED_BACKBONE)
    if name in {known.name for known in KNOWN_BACKBONES}:
        unpacked = _unpacked(cache_dir, name)
        if unpacked is not None:
            return unpacked
        if not download and not backbone_download.is_here(name):
            raise store.BackboneOffline(
                f"{name} is not on this machine yet", hint="Train once with it: that downloads it.", name=name
            )
        return _resolve_folder(backbone_download.fetch(name, emit), cache_dir, name, trusted=True)
    folder = Path(name_or_path)
    if folder.is_dir():
        return _resolve_folder(folder.resolve(), cache_dir, folder.resolve().name, trusted=trusted)
    raise BackboneError(
        f"{name!r} is neither a known backbone nor a folder on this machine",
        hint=f"Known are {', '.join(known.name for known in KNOWN_BACKBONES)}.",
        name=name,
    )


def sentence_prefix(backbone: Backbone) -> str:
    """What a sentence encoder wants before a text ("query: " for the shipped one, see its model card)."""
    known = backbone.config.get("sentence_prefix")
    return known if known is not None else "query: " if backbone.name.startswith("wanxing-") else ""


def _resolve_shipped(cache_dir: Path, folder: Path, name: str) -> Backbone:
    """The 8-bit files in `folder/name`, checked against `folder/SHA256SUMS`, widened to float32."""
    checksums = store.read_checksums(folder / "SHA256SUMS")
    for file_name, expected in checksums.items():
        path = folder / name / file_name
        try:
            found = store.sha256_of(path)
        except OSError as error:
            raise store.BackboneDamaged(f"{path} cannot be read: {error.strerror}", file=str(path)) from error
        if found != expected:
            raise store.BackboneDamaged(
                f"{path} is damaged: SHA-256 is {found[:12]}…, expected {expected[:12]}…", file=str(path)
            )
    version = hashlib.sha256(
        "\n".join(f"{digest}  {file_name}" for file_name, digest in sorted(checksums.items())).encode()
    ).hexdigest()

    def write(beside: Path) -> None:
        from safetensors.numpy import load_file

        stored = load_file(folder / name / "weights.int8.safetensors")
        weights = store.dequantise(stored)
        store.require_space(beside, 2 * sum(value.nbytes for value in weights.values()))
        # The decoder's bias is one parameter under two names; PaddleNLP would fill an absent one with zeros.
        weights["cls.predictions.decoder.bias"] = weights["cls.predictions.decoder_bias"]
        store.write_weights(beside, weights)
        for file_name in (store.CONFIG_FILE, store.TOKENIZER_FILE):
            (beside / file_name).write_bytes((folder / name / file_name).read_bytes())

    path = store.publish(cache_dir, f"{name}-{version[:12]}", version, write)
    return Backbone(name=name, path=path, hash=version, config=store.read_json(path / store.CONFIG_FILE))


def _unpacked(cache_dir: Path, name: str) -> Backbone | None:
    """The backbone `name` if an earlier call left it whole in `cache_dir`: its source need not be there any more."""
    for path in sorted(cache_dir.glob(f"{name}-{'[0-9a-f]' * 12}")):
        try:
            version = store.read_json(path / store.STAMP_FILE).get("source_hash", "")
        except store.BackboneDamaged:
            continue
        if path.name == f"{name}-{version[:12]}" and store.is_whole(path, version):
            return Backbone(name, path, version, store.read_json(path / store.CONFIG_FILE))
    return None


def _resolve_folder(folder: Path, cache_dir: Path, name: str, *, trusted: bool) -> Backbone:
    """A folder of PaddleNLP or Hugging Face, converted once for each content."""
    config = backbone_folders.read_config(folder)
    version = _version_of(folder)

    def write(beside: Path) -> None:
        tensors = backbone_folders.read_tensors(folder, trusted=trusted)
        backbone_folders.check_tensors(tensors, config, folder)
        store.require_space(beside, 2 * sum(value.nbytes for value in tensors.values()))
        backbone_folders.write_tokenizer(folder, beside, config)
        store.write_json(beside / store.CONFIG_FILE, config)
        store.write_weights(beside, tensors)

    safe = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "backbone"
    path = store.publish(cache_dir, f"{safe}-{version[:12]}", version, write)
    return Backbone(name=name, path=path, hash=version, config=store.read_json(path / store.CONFIG_FILE))


def _version_of(folder: Path) -> str:
    """Hash over the files that a conversion reads."""
    shards = sorted(path.name for path in folder.glob("model-*-of-*.safetensors"))
    digest = hashlib.sha256()
    for file_name in (*backbone_folders.SOURCE_FILES, *shards):
        if (folder / file_name).is_file():
            digest.update(f"{store.sha256_of(folder / file_name)}  {file_name}\n".encode())
    return digest.hexdigest()
