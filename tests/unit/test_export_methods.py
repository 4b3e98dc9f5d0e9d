"""Every trainable method exports right after training and after loading, and answers the same."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit import fewshot_tiny
from training.fewshot import model as models
from training.fewshot.config import FewShotConfig
from training.fewshot.export import export
from training.fewshot.runner import Classifier

SHORT = {"max_steps": 4, "train_batch_size": 8, "max_seq_length": 48, "seed": 3}
METHODS = {
    "label_sentence": {"method": "label_sentence"},
    "prompt": {"method": "prompt", "template": "这是{mask}新闻。{text}"},
    "soft prompt": {"method": "prompt", "template": "{soft:这是}{mask}{soft}{text}", "soft_encoder": "lstm"},
    "two templates": {
        "method": "prompt",
        "template": "这是{mask}。{text}",
        "extra_templates": ("主题{mask}。{text}",),
    },
    "finetune": {"method": "finetune"},
    "frozen": {"method": "label_sentence", "freeze_layers": 1},
    "probe": {"method": "probe"},
    "zero_shot": {"method": "zero_shot"},
    "zero_shot cloze": {"method": "zero_shot", "zero_shot_by": "cloze", "calibration": "empty"},
    "zero_shot mixture": {"method": "zero_shot", "zero_shot_by": "mixture", "template": "这是{mask}。{text}"},
    "mixture": {
        "method": "mixture",
        "template": "这是{mask}。{text}",
        "extra_templates": ("{soft:主题}{mask}。{text}",),
    },
    "pair": {"method": "pair"},
    "two label sentences": {
        "method": "label_sentence",
        "template": "这是{mask}。{text}",
        "extra_templates": ("主题{mask}。{text}",),
    },
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_exports_after_training_and_after_loading(tmp_path, name):
    data = fewshot_tiny.pairs() if name == "pair" else fewshot_tiny.data()
    config = FewShotConfig(**SHORT, **METHODS[name])
    fitted = models.fit(config, data, backbone=fewshot_tiny.backbone(tmp_path / "backbone"))
    texts = [*data.test.texts, "", "球" * 200, "好\n差", "好\t" + "球" * 200]
    expected = fitted.predict_proba(texts)
    export(fitted, tmp_path / "after training")
    np.testing.assert_array_equal(fitted.predict_proba(texts), expected)
    fitted.save(tmp_path / "model")
    export(models.load(tmp_path / "model"), tmp_path / "after loading")
    for folder in ("after training", "after loading"):
        for graph in ("model.onnx", "model.json"):
            found = Classifier.load(tmp_path / folder, threads=1, graph=tmp_path / folder / graph)
            assert found.labels == [label.name for label in data.labels]
            np.testing.assert_allclose(
                found.predict_proba(texts), expected, atol=1e-5, err_msg=f"{folder} {graph}"
            )
