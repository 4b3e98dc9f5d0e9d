"""The encoders that the form offers: the shipped one, the ERNIE family, and what the operator registered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _

from training.fewshot.backbones import KNOWN_BACKBONES, SHIPPED_FOLDER
from training.fewshot.config import SHIPPED_BACKBONE
from training.models import RegisteredBackbone

# Weights, gradients and Adam's two moments in float32, and about as much again for activations and the runtime.
BYTES_PER_PARAMETER_IN_TRAINING = 4 * 4
RUNTIME_BYTES = 900 * 1024**2


@dataclass(frozen=True, slots=True)
class Choice:
    """One encoder of the form. `path` is given for a registered folder, "" for one known by name."""

    name: str
    path: str
    parameters_millions: float | None
    download_megabytes: float
    present: bool

    @property
    def title(self) -> str:
        """The name with its size and what choosing it would mean."""
        if self.parameters_millions is None:
            return _("%(name)s（本机登记的目录）") % {"name": self.name}
        values = {"name": self.name, "millions": round(self.parameters_millions)}
        if self.name == SHIPPED_BACKBONE:
            return _("%(name)s（随程序附带，%(millions)d 百万参数）") % values
        if self.present:
            return _("%(name)s（已下载，%(millions)d 百万参数）") % values
        return _("%(name)s（%(millions)d 百万参数，首次使用要下载 %(megabytes)d MB）") % {
            **values,
            "megabytes": round(self.download_megabytes),
        }

    @property
    def training_bytes(self) -> int:
        """A rough need of memory for training it on a processor."""
        parameters = (self.parameters_millions or 30.0) * 1e6
        return int(parameters * BYTES_PER_PARAMETER_IN_TRAINING) + RUNTIME_BYTES

    @property
    def disk_bytes(self) -> int:
        """A rough need of disk for one run: the model twice (Paddle, ONNX) and two checkpoints with moments."""
        return int((self.parameters_millions or 30.0) * 1e6 * 4 * 8)


def cache_dir() -> Path:
    """Where unpacked and converted encoders lie."""
    return Path(settings.WANXING_HOME) / "backbones"


def choices() -> list[Choice]:
    """Every encoder that a run may use, the shipped one first."""
    found = [
        Choice(
            name=known.name,
            path="",
            parameters_millions=known.parameters_millions,
            download_megabytes=known.download_megabytes,
            present=_is_here(known.name, shipped=known.shipped),
        )
        for known in KNOWN_BACKBONES
    ]
    names = {choice.name for choice in found}
    for registered in RegisteredBackbone.objects.all():
        if registered.name not in names:
            here = (Path(registered.path) / "config.json").is_file()
            found.append(Choice(registered.name, registered.path, None, 0, here))
    return found


def choice_of(name: str) -> Choice | None:
    """The encoder called `name`, or None."""
    return next((choice for choice in choices() if choice.name == name), None)


def download_folder(name: str) -> Path:
    """Where PaddleNLP keeps the download of a backbone known by name."""
    return Path(settings.WANXING_HOME) / "paddlenlp" / "models" / name


def _is_here(name: str, *, shipped: bool) -> bool:
    if shipped:
        return (SHIPPED_FOLDER / name / "config.json").is_file()
    downloads = download_folder(name)
    if any(downloads.glob("*.pdparams")) or any(downloads.glob("*.safetensors")):
        return True
    return any(cache_dir().glob(f"{name}-*/stamp.json")) or any(cache_dir().glob(f"{name}/stamp.json"))
