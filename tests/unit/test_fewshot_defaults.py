"""What is left open in a configuration, and what is made of it."""

from __future__ import annotations

import pytest

from tests.unit import fewshot_tiny as tiny
from training.fewshot import model
from training.fewshot.config import FewShotConfig

pytest.importorskip("paddle")


@pytest.mark.parametrize(("method", "frozen"), [("label_sentence", 1), ("finetune", 0)])
def test_label_sentences_train_the_upper_third(tmp_path, method: str, frozen: int):
    backbone = tiny.backbone(tmp_path)
    values = {"method": method, "max_steps": 2, "device": "cpu", "max_seq_length": 32}
    fitted = model.fit(
        FewShotConfig.from_json({**values, "template": "{text}是{mask}"}), tiny.data(), backbone=backbone
    )
    start = tiny.backbone(tmp_path)
    from safetensors.numpy import load_file

    before = load_file(start.path / "model.safetensors")
    moved = [
        (layer.linear1.weight.numpy() != before[f"ernie.encoder.layers.{number}.linear1.weight"]).any()
        for number, layer in enumerate(fitted.network.ernie.encoder.layers)
    ]
    assert moved == [frozen == 0, True]
    assert fitted.config.freeze_layers == frozen
