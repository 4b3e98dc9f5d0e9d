"""Small real models for tests of exports: ERNIE with random weights under a head of a few labels."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from training.fewshot.backbones import SHIPPED_FOLDER
from training.fewshot.config import SHIPPED_BACKBONE
from training.fewshot.runner import TextEncoder, probabilities, read_tokenizer

TOKENIZER = SHIPPED_FOLDER / SHIPPED_BACKBONE / "tokenizer.json"
LABELS = [
    {"name": "新闻,体育", "words": ["体育"]},
    {"name": "财经|股票", "words": ["财经"]},
    {"name": "科技", "words": ["科技"]},
]
VOCABULARY = 19501
INPUTS = ["input_ids", "token_type_ids", "position_ids", "attention_mask"]


def encoding(*, masks: int = 0, views: int = 1, max_length: int = 48) -> dict:
    """An encoding.json: `这是[MASK]。<text>` when there are masks, else the text alone."""
    view = [{"ids": [0], "type": 0}]
    if masks:
        view += [{"ids": [19500] * masks, "mask": True, "type": 0}, {"ids": [12, 13], "type": 0}]
    view += [{"text": "a", "type": 0, "truncate": True, "drop_space": False}, {"ids": [2], "type": 0}]
    return {
        "version": 1,
        "max_length": max_length,
        "pad_id": 1,
        "unk_id": 3,
        "mask_id": 19500,
        "space_id": 6,
        "inputs": [*INPUTS, *(["mask_positions"] if masks else [])],
        "n_masks": masks,
        "multi_label": False,
        "views": [view] * views,
    }


class TinyModel:
    """What exports need of a FittedModel, around a two-layer ERNIE."""

    def __init__(self, *, masks: int = 0, views: int = 1, seed: int = 7) -> None:
        import paddle
        from paddlenlp.transformers import ErnieConfig, ErnieModel

        class Network(paddle.nn.Layer):
            def __init__(self) -> None:
                super().__init__()
                config = ErnieConfig(
                    vocab_size=VOCABULARY,
                    hidden_size=16,
                    num_hidden_layers=2,
                    num_attention_heads=2,
                    intermediate_size=32,
                    max_position_embeddings=64,
                    type_vocab_size=2,
                    pad_token_id=1,
                )
                self.ernie = ErnieModel(config)
                self.out = paddle.nn.Linear(16, len(LABELS))

            def forward(self, input_ids, token_type_ids, position_ids, attention_mask, mask_positions=None):
                bias = (1.0 - attention_mask.astype("float32")).unsqueeze([1, 2]) * -1e4
                hidden = self.ernie(input_ids, token_type_ids, position_ids, bias)[0]
                if mask_positions is None:
                    weight = attention_mask.astype("float32").unsqueeze(-1)
                    return self.out((hidden * weight).sum(1) / weight.sum(1))
                chosen = paddle.take_along_axis(hidden, mask_positions.unsqueeze(-1), 1, broadcast=True)
                return self.out(chosen.mean(1))

        paddle.seed(seed)
        self.network = Network()
        # Random weights of the usual size answer alike to every text; larger ones tell texts apart.
        for parameter in self.network.parameters():
            if len(parameter.shape) == 2:
                parameter.set_value(paddle.randn(parameter.shape))
        self.network.eval()
        self.encoding = encoding(masks=masks, views=views)
        self.input_names = self.encoding["inputs"]
        self.encoder = TextEncoder(self.encoding, read_tokenizer(TOKENIZER))
        self.calibration = {"temperature": 1.3, "thresholds": None, "prior": None}

    def predict_proba(self, texts) -> np.ndarray:
        import paddle

        arrays = self.encoder.collate(self.encoder.rows(texts))
        with paddle.no_grad():
            logits = self.network(
                **{name: paddle.to_tensor(arrays[name]) for name in self.input_names}
            ).numpy()
        logits = logits.reshape(len(texts), len(self.encoder.views), -1).mean(axis=1)
        return probabilities(logits, self.calibration, multi_label=False)

    def save(self, folder: str | Path) -> None:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(TOKENIZER, folder / "tokenizer.json")
        values = {
            "encoding": self.encoding,
            "labels": LABELS,
            "calibration": self.calibration,
            "template": [
                [
                    {"kind": "hard", "value": "这是"},
                    {"kind": "mask", "value": ""},
                    {"kind": "soft", "value": "。"},
                    {"kind": "text", "value": "a"},
                ]
            ],
            "config": {
                "method": "prompt",
                "backbone": {"name": "/srv/secret/tiny", "hash": "ab" * 32},
                "versions": {"paddlepaddle": "3.3.1"},
            },
        }
        for name, value in values.items():
            (folder / f"{name}.json").write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
