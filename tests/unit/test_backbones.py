"""Backbones: the shipped one unpacks once and whole; folders are converted without torch; pickles need trust."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from training.fewshot import backbone_download, backbone_store, backbones
from training.fewshot.backbone_store import (
    BackboneDamaged,
    BackboneOffline,
    BackboneUntrusted,
)
from training.fewshot.backbones import KNOWN_BACKBONES, SHIPPED_FOLDER, resolve
from training.fewshot.config import SHIPPED_BACKBONE
from training.fewshot.errors import BackboneError
from training.fewshot.tokenization import load_tokenizer

PROJECT = Path(__file__).parents[2]
TOKENS = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *"天气新闻体育财经好坏的是"]
CONFIG = {
    "model_type": "ernie",
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
    "use_task_id": True,
    "task_type_vocab_size": 3,
}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    return resolve(SHIPPED_BACKBONE, tmp_path_factory.mktemp("cache"))


def test_the_shipped_backbone_is_the_stored_one_widened(shipped):
    stored = load_file(SHIPPED_FOLDER / SHIPPED_BACKBONE / "weights.int8.safetensors")
    wide = load_file(shipped.path / "model.safetensors")
    key = "ernie.encoder.layers.3.linear1.weight"
    scale = stored[f"{key}.scale"].astype(np.float32)
    np.testing.assert_array_equal(wide[key], stored[key].astype(np.float32) * scale)
    assert {value.dtype for value in wide.values()} == {np.dtype(np.float32)}
    matrices = {key for key in stored if not key.endswith(".scale")}
    assert set(wide) == matrices | {"cls.predictions.decoder.bias"}
    assert shipped.config["hidden_size"] == 384
    assert shipped.path.name == f"{SHIPPED_BACKBONE}-{shipped.hash[:12]}"


def test_the_card_beside_the_shipped_backbone_names_its_licence():
    assert "MIT" in (SHIPPED_FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_paddlenlp_loads_it_with_the_head_tied(shipped):
    from paddlenlp.transformers import ErnieForMaskedLM

    model = ErnieForMaskedLM.from_pretrained(str(shipped.path))
    state = model.state_dict()
    for key, value in load_file(shipped.path / "model.safetensors").items():
        np.testing.assert_array_equal(state[key].numpy(), value)
    assert model.cls.predictions.decoder.weight is model.ernie.embeddings.word_embeddings.weight


def test_a_second_call_writes_nothing(shipped):
    before = {path.name: path.stat().st_mtime_ns for path in shipped.path.iterdir()}
    assert resolve(SHIPPED_BACKBONE, shipped.path.parent) == shipped
    assert {path.name: path.stat().st_mtime_ns for path in shipped.path.iterdir()} == before


@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_a_damaged_cache_is_unpacked_again(shipped, tmp_path, damage):
    cache = tmp_path / "cache"
    shutil.copytree(shipped.path.parent, cache)
    weights = cache / shipped.path.name / "model.safetensors"
    if damage == "gone":
        weights.unlink()
    else:
        content = bytearray(weights.read_bytes())
        content[-100] ^= 1
        weights.write_bytes(content[: -1 if damage == "cut" else None])
    again = resolve(SHIPPED_BACKBONE, cache)
    assert backbone_store.sha256_of(again.path / "model.safetensors") == backbone_store.sha256_of(
        shipped.path / "model.safetensors"
    )
    assert [path.name for path in cache.iterdir()] == [shipped.path.name]


@pytest.mark.parametrize("name", ["weights.int8.safetensors", "tokenizer.json"])
def test_a_damaged_shipped_file_is_named(tmp_path, monkeypatch, name):
    copy = tmp_path / "shipped"
    shutil.copytree(SHIPPED_FOLDER, copy)
    path = copy / SHIPPED_BACKBONE / name
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(backbones, "SHIPPED_FOLDER", copy)
    with pytest.raises(BackboneDamaged) as raised:
        resolve(SHIPPED_BACKBONE, tmp_path / "cache")
    assert raised.value.code == "backbone_damaged"
    assert name in raised.value.message
    assert "git checkout" in raised.value.hint
    path.unlink()
    with pytest.raises(BackboneDamaged, match=name):
        resolve(SHIPPED_BACKBONE, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_processes_at_once_end_with_one_whole_folder(tmp_path):
    code = f"from training.fewshot.backbones import resolve; print(resolve('{SHIPPED_BACKBONE}', {str(tmp_path)!r}).path)"
    started = [
        subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    paths = {process.communicate()[0].strip() for process in started}
    assert {process.returncode for process in started} == {0}
    assert len(paths) == 1
    assert [str(path) for path in tmp_path.iterdir()] == [*paths]


def test_a_full_disk_is_a_named_error_and_leaves_nothing(tmp_path):
    def write(folder):
        (folder / "half").write_bytes(b"x")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(backbone_store.DiskFull) as raised:
        backbone_store.publish(tmp_path, "b-1", "hash", write)
    assert raised.value.code == "disk_full"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(backbone_store.DiskFull, match="MiB are needed"):
        backbone_store.require_space(tmp_path, 1 << 60)


# --- folders -----------------------------------------------------------------------------------------------------


def hugging_face_tensors(config, *, head=True, seed=3):
    """Random weights under Hugging Face's names, matrices [out, in]."""
    random = np.random.default_rng(seed)
    hidden, inner = config["hidden_size"], config["intermediate_size"]

    def array(*shape):
        return random.normal(0.0, 0.4, shape).astype(np.float32)

    tensors = {
        "embeddings.word_embeddings.weight": array(config["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": array(config["max_position_embeddings"], hidden),
        "embeddings.token_type_embeddings.weight": array(config["type_vocab_size"], hidden),
        "embeddings.LayerNorm.weight": 1 + array(hidden),
        "embeddings.LayerNorm.bias": array(hidden),
        "pooler.dense.weight": array(hidden, hidden),
        "pooler.dense.bias": array(hidden),
    }
    if config.get("use_task_id"):
        tensors["embeddings.task_type_embeddings.weight"] = array(config["task_type_vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{layer}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            tensors[f"{at}.attention.{name}.weight"] = array(hidden, hidden)
            tensors[f"{at}.attention.{name}.bias"] = array(hidden)
        tensors[f"{at}.intermediate.dense.weight"] = array(inner, hidden)
        tensors[f"{at}.intermediate.dense.bias"] = array(inner)
        tensors[f"{at}.output.dense.weight"] = array(hidden, inner)
        tensors[f"{at}.output.dense.bias"] = array(hidden)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            tensors[f"{at}.{name}.weight"] = 1 + array(hidden)
            tensors[f"{at}.{name}.bias"] = array(hidden)
    if head:
        tensors["cls.predictions.transform.dense.weight"] = array(hidden, hidden)
        tensors["cls.predictions.transform.dense.bias"] = array(hidden)
        tensors["cls.predictions.transform.LayerNorm.weight"] = 1 + array(hidden)
        tensors["cls.predictions.transform.LayerNorm.bias"] = array(hidden)
        tensors["cls.predictions.bias"] = array(config["vocab_size"])
    return tensors


def reference_forward(tensors, config, ids):
    """Scores over the vocabulary [length, words], written down from the BERT paper, with Hugging Face's names."""
    from math import erf

    def linear(x, name):
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    def gelu(x):
        return x * 0.5 * (1 + np.vectorize(erf)(x / np.sqrt(2.0)))

    words = tensors["embeddings.word_embeddings.weight"]
    x = words[ids] + tensors["embeddings.position_embeddings.weight"][: len(ids)]
    x = x + tensors["embeddings.token_type_embeddings.weight"][0]
    if config.get("use_task_id"):
        x = x + tensors["embeddings.task_type_embeddings.weight"][0]
    x = norm(x, "embeddings.LayerNorm")
    heads = config["num_attention_heads"]
    for layer in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{layer}"
        query, key, value = (
            linear(x, f"{at}.attention.self.{name}").reshape(len(ids), heads, -1).transpose(1, 0, 2)
            for name in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1])
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (weights / weights.sum(-1, keepdims=True)) @ value
        mixed = mixed.transpose(1, 0, 2).reshape(len(ids), -1)
        x = norm(x + linear(mixed, f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm")
        inner = gelu(linear(x, f"{at}.intermediate.dense"))
        x = norm(x + linear(inner, f"{at}.output.dense"), f"{at}.output.LayerNorm")
    x = norm(gelu(linear(x, "cls.predictions.transform.dense")), "cls.predictions.transform.LayerNorm")
    return x @ words.T + tensors["cls.predictions.bias"]


def write_hugging_face(folder, *, prefix, config, tensors, vocabulary=True):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    named = {key if key.startswith("cls.") else prefix + key: value for key, value in tensors.items()}
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})
    if vocabulary:
        (folder / "vocab.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")


def paddle_scores(path, ids):
    import paddle
    from paddlenlp.transformers import ErnieForMaskedLM

    model = ErnieForMaskedLM.from_pretrained(str(path))
    model.eval()
    with paddle.no_grad():
        found = model(paddle.to_tensor([ids]))
    found = found[0] if isinstance(found, list | tuple) else found
    return found.numpy().reshape(len(ids), -1)


@pytest.mark.parametrize("kind", ["ernie", "bert"])
def test_a_hugging_face_folder_computes_the_same_after_conversion(tmp_path, kind):
    config = {**CONFIG, "model_type": kind, "use_task_id": kind == "ernie"}
    tensors = hugging_face_tensors(config)
    folder = tmp_path / f"hf {kind}"
    write_hugging_face(folder, prefix=f"{kind}.", config=config, tensors=tensors)
    found = resolve(folder, tmp_path / "cache")
    assert found.name == f"hf {kind}"
    tokenizer = load_tokenizer(found.path)
    ids = [1, *tokenizer.encode("天气新闻好", add_special_tokens=False).ids, 3, 2]
    assert len(ids) == 8
    np.testing.assert_allclose(
        paddle_scores(found.path, ids), reference_forward(tensors, config, ids), atol=2e-5
    )
    assert resolve(folder, tmp_path / "cache") == found


def test_shards_half_precision_and_old_names_are_read(tmp_path):
    tensors = hugging_face_tensors(CONFIG)
    whole = tmp_path / "whole"
    write_hugging_face(whole, prefix="ernie.", config=CONFIG, tensors=tensors)
    old = {
        "ernie."
        + key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for key, value in tensors.items()
        if not key.startswith("cls.")
    }
    shards = tmp_path / "shards"
    write_hugging_face(shards, prefix="ernie.", config=CONFIG, tensors={})
    (shards / "model.safetensors").unlink()
    keys = sorted(old)
    names = {
        key: f"model-0000{1 + (index > len(keys) // 2)}-of-00002.safetensors"
        for index, key in enumerate(keys)
    }
    for name in set(names.values()):
        save_file({key: old[key].astype(np.float16) for key in keys if names[key] == name}, shards / name)
    (shards / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}), encoding="utf-8")
    first = load_file(resolve(whole, tmp_path / "cache").path / "model.safetensors")
    second = load_file(resolve(shards, tmp_path / "cache").path / "model.safetensors")
    assert set(second) == {key for key in first if not key.startswith("cls.")}
    for key, value in second.items():
        np.testing.assert_allclose(value, first[key], atol=2e-3)


@pytest.fixture(scope="module")
def paddle_folder(tmp_path_factory):
    """A folder as PaddleNLP's save_pretrained writes it: a pickle, a vocabulary, configurations."""
    from paddlenlp.transformers import ErnieConfig, ErnieForMaskedLM, ErnieTokenizer

    folder = tmp_path_factory.mktemp("paddle") / "tiny-ernie"
    folder.mkdir()
    (folder / "source.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    ErnieForMaskedLM(ErnieConfig(**CONFIG)).save_pretrained(str(folder))
    ErnieTokenizer(str(folder / "source.txt")).save_pretrained(str(folder))
    assert (folder / "model_state.pdparams").is_file()
    return folder


def test_a_paddlenlp_folder_needs_trust_and_then_computes_the_same(paddle_folder, tmp_path):
    with pytest.raises(BackboneUntrusted) as raised:
        resolve(paddle_folder, tmp_path)
    assert raised.value.code == "backbone_untrusted"
    assert list(tmp_path.iterdir()) == []
    found = resolve(paddle_folder, tmp_path, trusted=True)
    ids = [1, 5, 6, 3, 2]
    np.testing.assert_allclose(paddle_scores(found.path, ids), paddle_scores(paddle_folder, ids), atol=1e-6)
    assert load_tokenizer(found.path).encode("天气", add_special_tokens=False).ids == [5, 6]


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_a_pickle_that_wants_to_run_something_is_refused_even_with_trust(paddle_folder, tmp_path):
    folder = tmp_path / "evil"
    shutil.copytree(paddle_folder, folder)
    (folder / "model_state.pdparams").write_bytes(pickle.dumps({"ernie.x": Evil(tmp_path / "owned")}))
    with pytest.raises(BackboneUntrusted, match="mkdir"):
        resolve(folder, tmp_path / "cache", trusted=True)
    assert not (tmp_path / "owned").exists()


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def drop_tensor(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["ernie.encoder.layer.1.output.dense.bias"]
    save_file(tensors, folder / "model.safetensors")


def torch_only(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


BROKEN = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "backbone_incomplete", "config.json"),
    "config is no JSON": (
        lambda folder: (folder / "config.json").write_text("{"),
        "backbone_damaged",
        "config.json",
    ),
    "roberta": (lambda folder: edit_config(folder, model_type="roberta"), "backbone_unsupported", "roberta"),
    "relative positions": (
        lambda folder: edit_config(folder, position_embedding_type="relative_key"),
        "backbone_unsupported",
        "absolute",
    ),
    "other size": (lambda folder: edit_config(folder, hidden_size=16), "backbone_incomplete", "shape"),
    "no hidden size": (
        lambda folder: edit_config(folder, hidden_size=None),
        "backbone_incomplete",
        "hidden_size",
    ),
    "no vocabulary": (lambda folder: (folder / "vocab.txt").unlink(), "backbone_incomplete", "vocab.txt"),
    "vocabulary too large": (
        lambda folder: (folder / "vocab.txt").write_text("\n".join([*TOKENS, *"abcdefgh"]), encoding="utf-8"),
        "backbone_incomplete",
        "20 rows",
    ),
    "weights cut": (
        lambda folder: (folder / "model.safetensors").write_bytes(
            (folder / "model.safetensors").read_bytes()[:500]
        ),
        "backbone_damaged",
        "model.safetensors",
    ),
    "tensor missing": (drop_tensor, "backbone_incomplete", "encoder.layers.1.linear2.bias"),
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(),
        "backbone_incomplete",
        "no weights",
    ),
    "torch pickle": (torch_only, "backbone_unsupported", "pytorch_model.bin"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_folder_is_a_named_error_and_leaves_nothing(tmp_path, name):
    damage, code, said = BROKEN[name]
    folder = tmp_path / "model"
    write_hugging_face(folder, prefix="ernie.", config=CONFIG, tensors=hugging_face_tensors(CONFIG))
    damage(folder)
    with pytest.raises(BackboneError) as raised:
        resolve(folder, tmp_path / "cache", trusted=True)
    assert raised.value.code == code
    assert said in raised.value.message
    assert raised.value.hint
    assert not list((tmp_path / "cache").glob("*")) if (tmp_path / "cache").exists() else True


def test_a_name_that_is_nothing_lists_what_is_known(tmp_path):
    with pytest.raises(BackboneError) as raised:
        resolve("ernie-9.0-zh", tmp_path)
    assert "ernie-3.0-nano-zh" in raised.value.hint


# --- downloads ---------------------------------------------------------------------------------------------------


@pytest.fixture
def serve():
    servers = []

    def start(handler):
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Nothing: the test's output stays readable."""


class Cut(BaseHTTPRequestHandler):
    """Promises more than it sends."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        self.wfile.write(b"x" * 1000)

    def log_message(self, *args):
        """Nothing: the test's output stays readable."""


def at_address(monkeypatch, tmp_path, address):
    """Lets PaddleNLP's table of addresses point to a server of the test; everything else is as it is."""
    real = backbone_download.paddlenlp_entry

    def entry(name):
        files, _ = real(name)
        return {file_name: f"{address}/{file_name}" for file_name in files}, CONFIG

    monkeypatch.setattr(backbone_download, "paddlenlp_entry", entry)
    monkeypatch.setenv("PPNLP_HOME", str(tmp_path / "paddlenlp"))
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)


def test_an_ernie_is_downloaded_once_with_progress(monkeypatch, tmp_path, serve, paddle_folder):
    at_address(monkeypatch, tmp_path, serve(partial(Quiet, directory=str(paddle_folder))))
    events = []
    found = resolve("ernie-3.0-nano-zh", tmp_path / "cache", events.append)
    assert found.name == "ernie-3.0-nano-zh"
    assert {event["file"] for event in events} == {"vocab.txt", "model_state.pdparams"}
    assert {event["stage"] for event in events} == {"download"}
    ids = [1, 5, 6, 3, 2]
    np.testing.assert_allclose(paddle_scores(found.path, ids), paddle_scores(paddle_folder, ids), atol=1e-6)
    shutil.rmtree(tmp_path / "paddlenlp")
    monkeypatch.setattr(backbone_download, "paddlenlp_entry", None)
    assert resolve("ernie-3.0-nano-zh", tmp_path / "cache") == found, "what is unpacked needs no download"


@pytest.mark.parametrize("failure", ["refused", "cut", "missing"])
def test_offline_says_which_folder_to_put_where(monkeypatch, tmp_path, serve, failure):
    if failure == "refused":
        address = "http://127.0.0.1:9"
    else:
        address = serve(Cut if failure == "cut" else partial(Quiet, directory=str(tmp_path)))
    at_address(monkeypatch, tmp_path, address)
    with pytest.raises(BackboneOffline) as raised:
        resolve("ernie-3.0-base-zh", tmp_path / "cache")
    folder = tmp_path / "paddlenlp" / "models" / "ernie-3.0-base-zh"
    assert raised.value.code == "backbone_offline"
    for said in (str(folder), "config.json", "model_state.pdparams", "vocab.txt"):
        assert said in raised.value.hint
    assert list(folder.iterdir()) == []


def test_the_folder_put_there_by_hand_is_used(monkeypatch, tmp_path, paddle_folder):
    monkeypatch.setenv("PPNLP_HOME", str(tmp_path))
    shutil.copytree(paddle_folder, tmp_path / "models" / "ernie-3.0-mini-zh")
    found = resolve("ernie-3.0-mini-zh", tmp_path / "cache")
    assert found.config["hidden_size"] == CONFIG["hidden_size"]


def test_paddlenlp_knows_every_ernie_on_the_list_and_the_sizes_are_right():
    for known in KNOWN_BACKBONES:
        if known.shipped:
            config = json.loads((SHIPPED_FOLDER / known.name / "config.json").read_text(encoding="utf-8"))
        else:
            addresses, config = backbone_download.paddlenlp_entry(known.name)
            assert set(addresses) == {"vocab.txt", "model_state.pdparams"}
            assert all(address.startswith("https://") for address in addresses.values())
        hidden, inner = config["hidden_size"], config.get("intermediate_size", 3072)
        assert (known.layers, known.hidden) == (config["num_hidden_layers"], hidden)
        rows = config["vocab_size"] + config["max_position_embeddings"] + config["type_vocab_size"]
        layer = 4 * hidden * hidden + 2 * hidden * inner + 9 * hidden + inner
        millions = (rows * hidden + known.layers * layer + hidden * hidden) / 1e6
        assert known.parameters_millions == pytest.approx(millions, rel=0.01), known.name
        if not known.shipped:
            assert known.download_megabytes == pytest.approx(4 * millions, rel=0.03), known.name
