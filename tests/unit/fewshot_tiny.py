"""A backbone of two narrow layers with random weights, and easy made data: the engine's tests train on it in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from training.fewshot.backbones import Backbone
from training.fewshot.data import FewShotData, empty_split, make_split
from training.fewshot.verbalizer import Label

HIDDEN, LAYERS, INNER, POSITIONS = 32, 2, 64, 64
SPECIALS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]")
CHARACTERS = (
    "这是一条关于的新闻。主题体育汽车财经电竞球赛队员进门轮胎发动机油银行股市利率钱abcdefgh很好不差,?"
)
BALL, CAR, MONEY = "球赛队员进门", "轮胎发动机油", "银行股市利率"
LABELS = (Label("sports", ("体育",)), Label("car", ("汽车",)), Label("finance", ("财经", "钱")))


def tokenizer() -> Tokenizer:
    """A token a character, in ERNIE's style of special tokens."""
    words = [*SPECIALS, *dict.fromkeys(CHARACTERS)]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made.add_special_tokens(list(SPECIALS))
    return made


def backbone(folder: Path, seed: int = 0) -> Backbone:
    """Writes the backbone's folder and returns it resolved."""
    made = tokenizer()
    config = {
        "model_type": "ernie",
        "vocab_size": made.get_vocab_size(),
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "intermediate_size": INNER,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2,
        "use_task_id": False,
        "initializer_range": 0.02,
        "pad_token_id": 0,
        "layer_norm_eps": 1e-12,
    }
    random = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return random.normal(0, 0.3 if len(shape) > 1 else 0.02, shape).astype(np.float32)

    weights = {
        "ernie.embeddings.word_embeddings.weight": normal(config["vocab_size"], HIDDEN),
        "ernie.embeddings.position_embeddings.weight": 0.1 * normal(POSITIONS, HIDDEN),
        "ernie.embeddings.token_type_embeddings.weight": 0.1 * normal(2, HIDDEN),
        "cls.predictions.transform.weight": normal(HIDDEN, HIDDEN),
        "cls.predictions.transform.bias": normal(HIDDEN),
        "cls.predictions.decoder_bias": normal(config["vocab_size"]),
    }
    norms = ["ernie.embeddings.layer_norm", "cls.predictions.layer_norm"]
    for layer in range(LAYERS):
        at = f"ernie.encoder.layers.{layer}"
        for name, wide, narrow in (
            *((f"self_attn.{part}", HIDDEN, HIDDEN) for part in ("q_proj", "k_proj", "v_proj", "out_proj")),
            ("linear1", HIDDEN, INNER),
            ("linear2", INNER, HIDDEN),
        ):
            weights[f"{at}.{name}.weight"] = normal(wide, narrow)
            weights[f"{at}.{name}.bias"] = normal(narrow)
        norms += [f"{at}.norm1", f"{at}.norm2"]
    for name in norms:
        weights[f"{name}.weight"] = np.ones(HIDDEN, dtype=np.float32)
        weights[f"{name}.bias"] = np.zeros(HIDDEN, dtype=np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(weights, folder / "model.safetensors")
    made.save(str(folder / "tokenizer.json"))
    return Backbone("tiny", folder, f"{seed:064d}", config)


def texts(n: int, seed: int) -> tuple[list[str], list[str]]:
    """`n` texts whose characters tell their class, and the class names."""
    random = np.random.default_rng(seed)
    made, names = [], []
    for number in range(n):
        label = number % 3
        own = (BALL, CAR, MONEY)[label]
        picked = [str(random.choice(list(own))) for _ in range(int(random.integers(3, 8)))]
        noise = [str(random.choice(list("abcdefgh"))) for _ in range(int(random.integers(0, 4)))]
        made.append("".join(random.permutation(picked + noise)))
        names.append(LABELS[label].name)
    return made, names


def data(n_train: int = 36, n_dev: int = 30, n_test: int = 30) -> FewShotData:
    """Three classes that a trained model tells apart."""
    names = [label.name for label in LABELS]
    splits = []
    for seed, n in enumerate((n_train, n_dev, n_test), start=1):
        splits.append(make_split(*texts(n, seed), names) if n else empty_split(3, "single"))
    return FewShotData(LABELS, *splits)


PAIR_LABELS = (Label("different", ("不",)), Label("same", ("很",)))


def pairs(n_train: int = 48, n_test: int = 40) -> FewShotData:
    """Pairs of texts: of one class ("same") or of two."""
    names = [label.name for label in PAIR_LABELS]
    splits = []
    for seed, n in ((11, n_train), (12, n_test)):
        made, labels = texts(3 * n, seed)
        rows, told = [], []
        for number in range(n):
            # texts() goes round the classes, so three further on is the same class and one further another.
            step = 3 if number % 2 else 1
            first = 3 * (number // 2)
            rows.append(f"{made[first]}\t{made[(first + step) % len(made)]}")
            told.append("same" if labels[first] == labels[(first + step) % len(made)] else "different")
        splits.append(make_split(rows, told, names))
    return FewShotData(PAIR_LABELS, splits[0], empty_split(2, "single"), splits[1])


def write_folder(folder: Path) -> None:
    """The same data as the recipe's five files."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, n) in enumerate((("train", 36), ("dev", 30), ("test", 30)), start=1):
        lines = [f"{text}\t{label}" for text, label in zip(*texts(n, seed), strict=True)]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    words = [f"{label.name}=={word}" for label in LABELS for word in label.words]
    (folder / "label.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    (folder / "data.txt").write_text("\n".join(texts(20, 9)[0]) + "\n", encoding="utf-8")
