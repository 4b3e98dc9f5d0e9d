"""A real model folder that is quick to make: an ONNX graph that counts the tokens of each label's name.

A text answers with the label whose name it holds most often, so tests can say what must come out.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from training.fewshot.backbones import SHIPPED_FOLDER
from training.fewshot.config import SHIPPED_BACKBONE
from training.fewshot.runner import Classifier, read_tokenizer

TOKENIZER = SHIPPED_FOLDER / SHIPPED_BACKBONE / "tokenizer.json"


def write_model(folder: Path, labels: Sequence[str]) -> None:
    """The model folder of decision 0001, as far as the runner reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = read_tokenizer(TOKENIZER)
    votes = np.zeros((tokenizer.get_vocab_size(), len(labels)), dtype=np.float32)
    for index, label in enumerate(labels):
        for character in label:
            for token in tokenizer.encode(character, add_special_tokens=False).ids:
                votes[token, index] = 2.0
        for token in tokenizer.encode(label, add_special_tokens=False).ids:
            votes[token, index] = 4.0
    votes[tokenizer.token_to_id("▁")] = 0.0
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["votes", "input_ids"], ["rows"]),
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
            helper.make_node("Mul", ["rows", "wide"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "middle"], ["logits"], keepdims=0),
        ],
        "word_counter",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "length"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", len(labels)])],
        [
            numpy_helper.from_array(votes, "votes"),
            numpy_helper.from_array(np.array([2]), "last"),
            numpy_helper.from_array(np.array([1]), "middle"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "onnx").mkdir(exist_ok=True)
    onnx.save(model, folder / "onnx" / "model.onnx")
    shutil.copyfile(TOKENIZER, folder / "tokenizer.json")
    encoding = {
        "version": 1,
        "max_length": 64,
        "pad_id": 1,
        "unk_id": 3,
        "mask_id": 19500,
        "space_id": 6,
        "inputs": ["input_ids", "attention_mask"],
        "n_masks": 0,
        "multi_label": False,
        "views": [[{"text": "a", "type": 0, "truncate": True, "drop_space": False}]],
    }
    for name, value in (
        ("encoding", encoding),
        ("labels", [{"name": label, "words": [label]} for label in labels]),
        ("calibration", {"temperature": 1.0}),
        ("config", {"method": "prompt"}),
    ):
        (folder / f"{name}.json").write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def load_model(folder: Path) -> Classifier:
    """The classifier in `folder`, on one thread."""
    return Classifier.load(folder, threads=1)
