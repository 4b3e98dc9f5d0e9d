"""Weights of PaddleNLP's ERNIE family, fetched into PaddleNLP's own cache with progress."""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from training.fewshot import backbone_store as store

WEIGHTS = "model_state.pdparams"
VOCABULARY = "vocab.txt"
NEEDED_FILES = (store.CONFIG_FILE, WEIGHTS, VOCABULARY, "tokenizer_config.json", "special_tokens_map.json")
TIMEOUT_SECONDS = 20
CHUNK_BYTES = 1 << 18
EVENT_BYTES = 2 << 20

Listener = Callable[[dict], None]


def models_home() -> Path:
    """PaddleNLP's folder of downloaded models: `models` in PPNLP_HOME (~/.paddlenlp)."""
    return Path(os.environ.get("PPNLP_HOME") or Path.home() / ".paddlenlp") / "models"


def is_complete(folder: Path) -> bool:
    """Whether the files that cannot be made are there; config.json is known to PaddleNLP by name."""
    return (folder / WEIGHTS).is_file() and (folder / VOCABULARY).is_file()


def is_here(name: str) -> bool:
    """Whether `fetch` has nothing left to do for the ERNIE called `name`."""
    folder = models_home() / name
    return is_complete(folder) and (folder / store.CONFIG_FILE).is_file()


def fetch(name: str, emit: Listener, *, home: Path | None = None) -> Path:
    """The folder of the ERNIE called `name`, downloaded from where PaddleNLP downloads it if need be.

    Raises BackboneOffline, which says which folder to put where.
    """
    folder = (home or models_home()) / name
    if not is_complete(folder):
        addresses, _ = paddlenlp_entry(name)
        with store.disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        for file_name, address in addresses.items():
            if not (folder / file_name).is_file():
                download(address, folder / file_name, emit, name=name)
    if not (folder / store.CONFIG_FILE).is_file():
        _, config = paddlenlp_entry(name)
        store.write_json(folder / store.CONFIG_FILE, {"model_type": "ernie", **config})
    return folder


def paddlenlp_entry(name: str) -> tuple[dict[str, str], dict]:
    """({file: address}, configuration) of a model in PaddleNLP's own tables. Imports PaddleNLP."""
    from paddlenlp.transformers import ErnieModel, ErnieTokenizer

    return {
        VOCABULARY: ErnieTokenizer.pretrained_resource_files_map["vocab_file"][name],
        WEIGHTS: ErnieModel.pretrained_resource_files_map["model_state"][name],
    }, dict(ErnieModel.pretrained_init_configuration[name])


def download(address: str, target: Path, emit: Listener, *, name: str) -> None:
    """Writes `address` to `target`: beside, checked for its length, then renamed.

    Progress events count MiB. Raises BackboneOffline, DiskFull.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        if not address.startswith(("https://", "http://")):
            raise ValueError(f"{address!r} is no web address")
        with (
            store.disk_errors(target.parent),
            urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer,  # noqa: S310 (checked above)
            part.open("wb") as file,
        ):
            total = int(answer.headers.get("Content-Length") or 0)
            if total:
                store.require_space(target.parent, total)
            done = reported = 0
            while chunk := answer.read(CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                if done - reported >= EVENT_BYTES or done == total:
                    reported = done
                    emit(
                        {
                            "type": "progress",
                            "stage": "download",
                            "step": done >> 20,
                            "total": total >> 20,
                            "file": target.name,
                        }
                    )
        if total and done != total:
            raise http.client.IncompleteRead(b"", total - done)
        part.replace(target)
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        TimeoutError,
        ConnectionError,
        ValueError,
    ) as error:
        raise offline(name, target.parent, str(error)) from error
    finally:
        part.unlink(missing_ok=True)


def offline(name: str, folder: Path, reason: str) -> store.BackboneOffline:
    """The error that says which folder to put where."""
    return store.BackboneOffline(
        f"{name} is not on this machine and cannot be downloaded ({reason})",
        hint=(
            f"On a machine with a network, load {name} once with PaddleNLP; then copy its folder to {folder} here. "
            f"It needs {', '.join(NEEDED_FILES)}. The shipped wanxing-small-zh needs no download."
        ),
        name=name,
        folder=str(folder),
        files=list(NEEDED_FILES),
    )
