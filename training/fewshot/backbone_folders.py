"""Folders of PaddleNLP and of Hugging Face, read into ErnieConfig and float32 tensors of ErnieForMaskedLM.

BERT and ERNIE are the same network but for names: `bert.` for `ernie.`, and in Hugging Face's files Linear weights
are `[out, in]`. Reading needs neither Paddle nor torch.
"""

from __future__ import annotations

import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from training.fewshot import backbone_store as store
from training.fewshot.errors import BackboneError

Tensors = dict[str, np.ndarray]

PICKLES = ("model_state.pdparams",)
TORCH_PICKLES = ("pytorch_model.bin",)
INDEX_FILE = "model.safetensors.index.json"
VOCABULARY_FILE = "vocab.txt"
NEEDED = "config.json, model_state.pdparams or model.safetensors, vocab.txt or tokenizer.json"
SOURCE_FILES = (
    store.CONFIG_FILE,
    store.WEIGHTS_FILE,
    store.TOKENIZER_FILE,
    VOCABULARY_FILE,
    INDEX_FILE,
    "tokenizer_config.json",
    *PICKLES,
)

# ErnieConfig's field: what an absent one means in both libraries.
CONFIG_FIELDS = {
    "vocab_size": None,
    "hidden_size": None,
    "num_hidden_layers": None,
    "num_attention_heads": None,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
    "pad_token_id": 0,
    "layer_norm_eps": 1e-12,
    "use_task_id": False,
    "task_id": 0,
    "task_type_vocab_size": 3,
}

# Hugging Face's name: (ErnieForMaskedLM's name, whether a matrix is turned).
HUGGING_FACE_NAMES = (
    (r"embeddings\.(word|position|token_type|task_type)_embeddings\.weight", r"ernie.embeddings.\1_embeddings.weight", False),
    (r"embeddings\.LayerNorm\.(weight|bias)", r"ernie.embeddings.layer_norm.\1", False),
    (r"encoder\.layer\.(\d+)\.attention\.self\.query\.(weight|bias)", r"ernie.encoder.layers.\1.self_attn.q_proj.\2", True),
    (r"encoder\.layer\.(\d+)\.attention\.self\.key\.(weight|bias)", r"ernie.encoder.layers.\1.self_attn.k_proj.\2", True),
    (r"encoder\.layer\.(\d+)\.attention\.self\.value\.(weight|bias)", r"ernie.encoder.layers.\1.self_attn.v_proj.\2", True),
    (r"encoder\.layer\.(\d+)\.attention\.output\.dense\.(weight|bias)", r"ernie.encoder.layers.\1.self_attn.out_proj.\2", True),
    (r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\.(weight|bias)", r"ernie.encoder.layers.\1.norm1.\2", False),
    (r"encoder\.layer\.(\d+)\.intermediate\.dense\.(weight|bias)", r"ernie.encoder.layers.\1.linear1.\2", True),
    (r"encoder\.layer\.(\d+)\.output\.dense\.(weight|bias)", r"ernie.encoder.layers.\1.linear2.\2", True),
    (r"encoder\.layer\.(\d+)\.output\.LayerNorm\.(weight|bias)", r"ernie.encoder.layers.\1.norm2.\2", False),
    (r"pooler\.dense\.(weight|bias)", r"ernie.pooler.dense.\1", True),
    (r"cls\.predictions\.transform\.dense\.(weight|bias)", r"cls.predictions.transform.\1", True),
    (r"cls\.predictions\.transform\.LayerNorm\.(weight|bias)", r"cls.predictions.layer_norm.\1", False),
    (r"cls\.predictions\.(?:decoder\.)?bias", r"cls.predictions.decoder_bias", False),
    (r"cls\.predictions\.decoder\.weight", r"cls.predictions.decoder.weight", False),
)  # fmt: skip


class Unsupported(BackboneError):
    """An architecture that ErnieForMaskedLM cannot hold."""

    code = "backbone_unsupported"
    default_hint = "ERNIE and BERT encoders with absolute positions can be used."


def read_config(folder: Path) -> dict:
    """ErnieConfig's fields from a config.json of PaddleNLP or Hugging Face. Raises Unsupported."""
    path = folder / store.CONFIG_FILE
    if not path.is_file():
        raise store.BackboneIncomplete(f"{folder} has no config.json", hint=f"The folder needs {NEEDED}.")
    given = store.read_json(path)
    kind = given.get("model_type", "ernie")
    if kind not in ("ernie", "bert"):
        raise Unsupported(f"{path}: model_type {kind!r} is neither ernie nor bert", model_type=kind)
    if given.get("position_embedding_type", "absolute") != "absolute" or given.get("is_decoder"):
        raise Unsupported(f"{path}: only encoders with absolute positions can be used")
    config: dict[str, Any] = {"model_type": "ernie", "architectures": ["ErnieForMaskedLM"]}
    for field, default in CONFIG_FIELDS.items():
        config[field] = given.get(field, default)
        if config[field] is None:
            raise store.BackboneIncomplete(
                f"{path} has no {field}", hint="Take the config.json of the same model."
            )
    if config["hidden_act"] not in ("gelu", "relu"):
        raise Unsupported(f"{path}: activation {config['hidden_act']!r} is neither gelu nor relu")
    return config


def read_tensors(folder: Path, *, trusted: bool) -> Tensors:
    """Tensors under ErnieForMaskedLM's names, float32. Pickled weights only with `trusted`.

    Raises BackboneUntrusted, BackboneIncomplete, BackboneDamaged.
    """
    stored = _safetensors(folder)
    if stored is None:
        stored = _pickled(folder, trusted=trusted)
    turned = any(".attention.self.query." in key for key in stored)
    tensors = _from_hugging_face(stored) if turned else _from_paddle(stored)
    for key, value in tensors.items():
        tensors[key] = np.ascontiguousarray(value, dtype=np.float32)
    _untie(tensors, folder)
    return tensors


def check_tensors(tensors: Tensors, config: dict, folder: Path) -> None:
    """Raises BackboneIncomplete on the first tensor that is missing or has another shape than `config` says."""
    hidden, inner, words = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    expected: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (words, hidden),
        "embeddings.position_embeddings.weight": (config["max_position_embeddings"], hidden),
        "embeddings.token_type_embeddings.weight": (config["type_vocab_size"], hidden),
        "embeddings.layer_norm.weight": (hidden,),
        "embeddings.layer_norm.bias": (hidden,),
    }
    if config["use_task_id"]:
        expected["embeddings.task_type_embeddings.weight"] = (config["task_type_vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        sizes = {f"self_attn.{part}_proj": (hidden, hidden) for part in ("q", "k", "v", "out")}
        sizes |= {"linear1": (hidden, inner), "linear2": (inner, hidden)}
        for name, size in sizes.items():
            expected[f"encoder.layers.{layer}.{name}.weight"] = size
            expected[f"encoder.layers.{layer}.{name}.bias"] = size[1:]
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            expected[f"encoder.layers.{layer}.{name}"] = (hidden,)
    hint = "Weights and config.json must come from the same model."
    for name, shape in expected.items():
        value = tensors.get(f"ernie.{name}")
        if value is None:
            raise store.BackboneIncomplete(f"{folder}: the weights have no {name}", hint=hint, tensor=name)
        if value.shape != shape:
            raise store.BackboneIncomplete(
                f"{folder}: {name} has shape {list(value.shape)}, config.json says {list(shape)}",
                hint=hint,
                tensor=name,
            )


def write_tokenizer(folder: Path, target: Path, config: dict) -> None:
    """`target/tokenizer.json`: made from vocab.txt for ERNIE, else the folder's own, else made from vocab.txt."""
    from training.fewshot.tokenization import (
        load_tokenizer,
        read_vocabulary,
        special_ids,
        wordpiece_tokenizer,
    )

    kind = store.read_json(folder / store.CONFIG_FILE).get("model_type", "ernie")
    vocabulary = folder / VOCABULARY_FILE
    own = folder / store.TOKENIZER_FILE
    if vocabulary.is_file() and (kind == "ernie" or not own.is_file()):
        settings = {}
        if (folder / "tokenizer_config.json").is_file():
            settings = store.read_json(folder / "tokenizer_config.json")
        tokenizer = wordpiece_tokenizer(
            read_vocabulary(vocabulary),
            lowercase=settings.get("do_lower_case", True),
            strip_accents=settings.get("strip_accents"),
        )
    elif own.is_file():
        tokenizer = load_tokenizer(own)
    else:
        raise store.BackboneIncomplete(
            f"{folder} has neither vocab.txt nor tokenizer.json", hint=f"The folder needs {NEEDED}."
        )
    special_ids(tokenizer)
    largest = max(tokenizer.get_vocab().values())
    if largest >= config["vocab_size"]:
        raise store.BackboneIncomplete(
            f"{folder}: the vocabulary has id {largest}, the weights have {config['vocab_size']} rows",
            hint="Vocabulary and weights must come from the same model.",
        )
    tokenizer.save(str(target / store.TOKENIZER_FILE))


def _safetensors(folder: Path) -> Tensors | None:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    names = []
    if (folder / store.WEIGHTS_FILE).is_file():
        names = [store.WEIGHTS_FILE]
    elif (folder / INDEX_FILE).is_file():
        names = sorted(set(store.read_json(folder / INDEX_FILE).get("weight_map", {}).values()))
    tensors: Tensors = {}
    for name in names:
        if Path(name).name != name:
            raise store.BackboneDamaged(f"{folder / INDEX_FILE} names {name!r}, which is no plain file name")
        try:
            tensors |= load_file(folder / name)
        except (SafetensorError, OSError, TypeError, KeyError) as error:
            raise store.BackboneDamaged(
                f"{folder / name} cannot be read: {error}", file=name, hint="Copy the file again."
            ) from error
    return tensors if names else None


class _PlainUnpickler(pickle.Unpickler):
    """Builds arrays and containers, and refuses every other class or function that a pickle names."""

    ALLOWED = frozenset(
        {
            ("builtins", "tuple"),
            ("collections", "OrderedDict"),
            ("numpy", "dtype"),
            ("numpy", "ndarray"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self.ALLOWED:
            raise store.BackboneUntrusted(
                f"the weights want to run {module}.{name}", hint="Take the weights from another place."
            )
        return super().find_class(module, name)


def _pickled(folder: Path, *, trusted: bool) -> Tensors:
    path = next((folder / name for name in PICKLES if (folder / name).is_file()), None)
    if path is None:
        for name in TORCH_PICKLES:
            if (folder / name).is_file():
                raise Unsupported(
                    f"{folder / name} is a torch pickle, which is not read here",
                    hint="Save the model as safetensors (save_pretrained(..., safe_serialization=True)).",
                )
        raise store.BackboneIncomplete(f"{folder} has no weights", hint=f"The folder needs {NEEDED}.")
    if not trusted:
        raise store.BackboneUntrusted(
            f"{path} is a pickle, and this folder is not registered", file=str(path)
        )
    try:
        content = _PlainUnpickler(io.BytesIO(path.read_bytes())).load()
    except BackboneError:
        raise
    except Exception as error:  # a broken pickle raises nearly anything
        raise store.BackboneDamaged(
            f"{path} cannot be read: {error}", file=str(path), hint="Copy or download the file again."
        ) from error
    if not isinstance(content, dict):
        raise store.BackboneDamaged(f"{path} holds no state dict", file=str(path))
    tensors = {}
    for key, value in content.items():
        # Paddle 2 and 3 store (name, array), earlier ones the array; the entry of names is a dict.
        array = value[1] if isinstance(value, tuple) and len(value) == 2 else value
        if isinstance(array, np.ndarray):
            tensors[key] = array
    return tensors


def _from_paddle(stored: Tensors) -> Tensors:
    tensors = {}
    for key, value in stored.items():
        name = re.sub(r"^(bert|ernie)\.", "", key)
        if name.startswith(("embeddings.", "encoder.", "pooler.")):
            tensors[f"ernie.{name}"] = value
        elif name.startswith("cls.predictions."):
            # BERT's head in PaddleNLP keeps its tied matrix under another name.
            tensors[name.replace("decoder_weight", "decoder.weight")] = value
    return tensors


def _from_hugging_face(stored: Tensors) -> Tensors:
    tensors = {}
    for key, value in stored.items():
        name = (
            re.sub(r"^(bert|ernie|model)\.", "", key).replace(".gamma", ".weight").replace(".beta", ".bias")
        )
        for pattern, replacement, turned in HUGGING_FACE_NAMES:
            if match := re.fullmatch(pattern, name):
                is_matrix = turned and name.endswith(".weight")
                tensors[match.expand(replacement)] = value.T if is_matrix else value
                break
    return tensors


def _untie(tensors: Tensors, folder: Path) -> None:
    """Drops the tied decoder matrix and writes the decoder's bias under both of its names."""
    decoder = tensors.pop("cls.predictions.decoder.weight", None)
    words = tensors.get("ernie.embeddings.word_embeddings.weight")
    if decoder is not None and words is not None and not np.array_equal(decoder, words):
        raise Unsupported(f"{folder}: the decoder's matrix is not tied to the word embeddings")
    for name, other in (("decoder_bias", "decoder.bias"), ("decoder.bias", "decoder_bias")):
        if f"cls.predictions.{name}" in tensors:
            tensors[f"cls.predictions.{other}"] = tensors[f"cls.predictions.{name}"]
