"""Two processes on one machine train the model that one process trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.unit import fewshot_tiny as tiny
from training.fewshot.config import FewShotConfig
from training.fewshot.errors import UnsupportedMethod

paddle = pytest.importorskip("paddle")

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(
    not paddle.distributed.is_available(), reason="this Paddle has no collective communication"
)
def test_two_processes_give_the_numbers_of_one(tmp_path: Path):
    from safetensors.numpy import load_file

    tiny.write_folder(tmp_path / "data")
    backbone = tiny.backbone(tmp_path / "backbone")
    flags = [
        *("--data_dir", str(tmp_path / "data"), "--model_name_or_path", str(backbone.path), "--do_train"),
        *("--do_eval", "--method", "label_sentence", "--prompt", "{text}是{mask}", "--max_steps", "6"),
        *("--per_device_train_batch_size", "6", "--freeze_dropout", "--device", "cpu", "--eval_steps", "0"),
        *("--save_steps", "3", "--learning_rate", "1e-3", "--max_seq_length", "40"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WANXING_HOME": str(tmp_path / "home")}
    launch = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--backend", "gloo", "--log_dir"]
    starts = {
        "one": ["-m", "training.fewshot.cli"],
        "two": [*launch, str(tmp_path / "log"), str(ROOT / "training/fewshot/cli.py")],
    }
    for name, start in starts.items():
        done = subprocess.run(
            [sys.executable, *start, *flags, "--output_dir", str(tmp_path / name)],
            cwd=ROOT,
            env={**environment, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        logs = "".join(path.read_text() for path in (tmp_path / "log").glob("workerlog.*"))
        assert done.returncode == 0, done.stderr[-2000:] + logs[-3000:]
    results = [json.loads((tmp_path / name / "all_results.json").read_text()) for name in starts]
    assert results[0]["eval_loss"] == pytest.approx(results[1]["eval_loss"], abs=1e-5)
    one, two = (load_file(tmp_path / name / "model" / "weights.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        # A bias on the keys changes no attention: its gradient is rounding alone, and Adam makes steps of it.
        if not name.endswith("k_proj.bias"):
            assert np.allclose(value, two[name], atol=2e-4), name
    start = load_file(backbone.path / "model.safetensors")["ernie.encoder.layers.1.linear1.weight"]
    assert np.abs(two["ernie.encoder.layers.1.linear1.weight"] - start).max() > 1e-3
    assert [path.name for path in sorted((tmp_path / "two").glob("checkpoint-*"))] == [
        "checkpoint-3",
        "checkpoint-6",
    ]


def test_shares_cover_a_batch_and_weigh_as_its_mean(monkeypatch):
    from training.fewshot import distributed

    batch = np.arange(5)
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    shares, weights = [], []
    for number in ("0", "1"):
        monkeypatch.setenv("PADDLE_TRAINER_ID", number)
        shares.append(distributed.share_of(batch))
        weights.append(distributed.weight_of(batch))
    assert sorted(np.concatenate(shares).tolist()) == batch.tolist()
    values = np.array([3.0, 1.0, 4.0, 1.0, 5.0])
    means = [w * values[s].mean() for w, s in zip(weights, shares, strict=True)]
    assert np.mean(means) == pytest.approx(values.mean())
    assert len(distributed.share_of(np.arange(1))) == 1
    assert distributed.weight_of(np.arange(1)) == 0.0


@pytest.mark.parametrize(
    "changes", [{"method": "auto"}, {"use_pool": True}, {"adapt": "mlm"}, {"train_batch_size": 1}]
)
def test_what_processes_cannot_do_together_is_said_first(monkeypatch, changes):
    from training.fewshot import distributed

    distributed.check(FewShotConfig(**changes))
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    with pytest.raises(UnsupportedMethod):
        distributed.check(FewShotConfig(**changes))
