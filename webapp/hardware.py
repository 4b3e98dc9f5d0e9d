"""What this machine has, found without importing Paddle."""

import contextlib
import importlib.metadata
import shutil
import subprocess


def gpu_names() -> list[str]:
    """The NVIDIA GPUs that the driver lists; [] without a driver."""
    if not shutil.which("nvidia-smi"):
        return []
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        found = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        return [line.strip() for line in found.stdout.splitlines() if line.strip()]
    return []


def has_gpu_paddle() -> bool:
    """Whether the installed Paddle is the one for CUDA."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return bool(importlib.metadata.version("paddlepaddle-gpu"))
    return False


def can_train_on_gpu() -> bool:
    """Whether a worker for the queue `gpu` makes sense here: CUDA's Paddle and a device."""
    return has_gpu_paddle() and bool(gpu_names())
