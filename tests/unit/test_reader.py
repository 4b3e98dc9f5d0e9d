"""The reader against the network that training uses, and on hostile texts."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.unit import fewshot_tiny
from training.fewshot import reader as readers
from training.fewshot.backbones import Backbone
from training.fewshot.encoding import plan_prompt, plan_sentence
from training.fewshot.errors import BackboneError
from training.fewshot.reader import Reader, hardened
from training.fewshot.runner import TextEncoder
from training.fewshot.template import parse

TEXTS = [
    "球赛队员进门",
    "",
    "轮胎 abc",
    "银行股市利率钱" * 1500,
    "😀🎉",
    "\u202e反\u202c\x00",
    "坏\ud800",
    "钱" * 40,
]
TEMPLATES = ("这是{mask}新闻。{text}", "{text}主题是{mask}。")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return fewshot_tiny.backbone(tmp_path_factory.mktemp("reader") / "tiny", seed=3)


@pytest.fixture(scope="module")
def reader(tiny: Backbone) -> Reader:
    return Reader.load(tiny, tiny.path.parent / "graphs", threads=1)


def prompt_plan(reader: Reader, *templates: str, n_masks: int = 2):
    return plan_prompt(
        reader.tokenizer,
        [parse(written) for written in templates],
        n_masks=n_masks,
        vocab_size=len(reader.table),
        max_length=48,
        multi_label=False,
    )


def with_tasks(tiny: Backbone, folder: Path) -> Backbone:
    """The same backbone with task embeddings, as ERNIE 3.0 has them, and ReLU."""
    folder.mkdir()
    weights = load_file(tiny.path / "model.safetensors")
    random = np.random.default_rng(5)
    weights["ernie.embeddings.task_type_embeddings.weight"] = random.normal(
        0, 0.3, (3, fewshot_tiny.HIDDEN)
    ).astype(np.float32)
    save_file(weights, folder / "model.safetensors")
    config = {
        **tiny.config,
        "use_task_id": True,
        "task_id": 1,
        "task_type_vocab_size": 3,
        "hidden_act": "relu",
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer.json").write_bytes((tiny.path / "tokenizer.json").read_bytes())
    return Backbone("tasks", folder, "f" * 64, config)


@pytest.mark.parametrize("tasks", [False, True])
def test_vectors_and_states_are_those_of_the_training_network(
    tiny: Backbone, tmp_path: Path, tasks: bool
) -> None:
    import paddle

    from training.fewshot.text_network import MaskHead, TextNetwork, load_backbone, mean_vector

    backbone = with_tasks(tiny, tmp_path / "tasks") if tasks else tiny
    reader = Reader.load(backbone, tmp_path / "graphs", threads=1)
    ernie, head = load_backbone(backbone.path)
    network = TextNetwork(ernie, 2)
    network.eval()
    mask_head = MaskHead(fewshot_tiny.HIDDEN, backbone.config["hidden_act"])
    for name, parameter in mask_head.named_parameters():
        parameter.set_value(head[name])

    def by_paddle(encoding: dict) -> tuple[np.ndarray, np.ndarray, dict]:
        encoder = TextEncoder(encoding, reader.tokenizer)
        arrays = encoder.collate(encoder.rows(TEXTS))
        tensors = [paddle.to_tensor(arrays[name]) for name in encoder.inputs]
        with paddle.no_grad():
            hidden = network.run_layers(network.embed(*tensors[:3]), tensors[3])
            means = mean_vector(hidden, tensors[3]).numpy()
            states = mask_head(hidden).numpy()
        return means / np.linalg.norm(means, axis=1, keepdims=True), states, arrays

    plan = plan_sentence(reader.tokenizer, fields=("a",), prefix="", max_length=64, multi_label=False)
    found = reader.sentence_vectors(TEXTS, batch_size=3)
    np.testing.assert_allclose(found, by_paddle(plan.encoding)[0], atol=2e-4)

    plan = prompt_plan(reader, *TEMPLATES)
    states = reader.mask_states(plan.encoding, TEXTS, batch_size=3)
    assert states.shape == (len(TEXTS), 2, 2, fewshot_tiny.HIDDEN)
    _, everywhere, arrays = by_paddle(plan.encoding)
    expected = np.take_along_axis(everywhere, arrays["mask_positions"][..., None], axis=1)
    np.testing.assert_allclose(states.reshape(expected.shape), expected, atol=2e-3)
    np.testing.assert_array_equal(reader.table, ernie.embeddings.word_embeddings.weight.numpy())
    np.testing.assert_array_equal(reader.bias, head["decoder_bias"])


def test_a_text_gives_the_same_whatever_shares_its_batch(reader: Reader) -> None:
    together = reader.sentence_vectors(TEXTS, batch_size=len(TEXTS))
    for index, text in enumerate(TEXTS):
        np.testing.assert_allclose(reader.sentence_vectors([text])[0], together[index], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_no_texts_give_no_rows(reader: Reader) -> None:
    assert reader.sentence_vectors([]).shape == (0, fewshot_tiny.HIDDEN)
    plan = prompt_plan(reader, *TEMPLATES)
    assert reader.mask_states(plan.encoding, []).shape == (0, 2, 2, fewshot_tiny.HIDDEN)


def test_batches_are_told_and_can_end_the_work(reader: Reader) -> None:
    told: list[int] = []
    reader.sentence_vectors(TEXTS, batch_size=3, on_batch=told.append)
    assert told == [3, 6, 8]

    def stop(done: int) -> None:
        raise KeyError(done)

    with pytest.raises(KeyError):
        reader.sentence_vectors(TEXTS, batch_size=3, on_batch=stop)


def test_a_soft_prompt_is_read_as_its_words(reader: Reader) -> None:
    soft = prompt_plan(reader, "{soft:这是}{mask}{soft:新闻}。{text}")
    hard = prompt_plan(reader, "这是{mask}新闻。{text}")
    found = reader.mask_states(soft.encoding, TEXTS, soft_spans=soft.soft_spans)
    np.testing.assert_allclose(found, reader.mask_states(hard.encoding, TEXTS), atol=1e-6)


def test_a_soft_prompt_without_words_is_left_out(reader: Reader) -> None:
    soft = prompt_plan(reader, "{soft}{mask}。{text}")
    plain = hardened(soft.encoding, len(reader.table), soft.soft_spans)
    assert all(i < len(reader.table) for view in plain["views"] for part in view for i in part.get("ids", ()))
    found = reader.mask_states(soft.encoding, TEXTS, soft_spans=soft.soft_spans)
    bare = prompt_plan(reader, "{mask}。{text}")
    np.testing.assert_allclose(found, reader.mask_states(bare.encoding, TEXTS), atol=1e-6)


def test_a_backbone_without_mask_head_still_gives_vectors(tiny: Backbone, tmp_path: Path) -> None:
    folder = tmp_path / "headless"
    folder.mkdir()
    weights = load_file(tiny.path / "model.safetensors")
    save_file({k: v for k, v in weights.items() if not k.startswith("cls.")}, folder / "model.safetensors")
    (folder / "tokenizer.json").write_bytes((tiny.path / "tokenizer.json").read_bytes())
    reader = Reader.load(Backbone("headless", folder, "e" * 64, tiny.config), tmp_path / "graphs", threads=1)
    assert reader.sentence_vectors(["球赛"]).shape == (1, fewshot_tiny.HIDDEN)
    with pytest.raises(BackboneError, match="no masked-language-model head"):
        reader.mask_states(prompt_plan(reader, *TEMPLATES).encoding, ["球赛"])


@pytest.mark.parametrize(
    "lost", ["ernie.encoder.layers.1.linear2.weight", "ernie.embeddings.layer_norm.bias"]
)
def test_a_lost_tensor_is_named_and_leaves_no_graph(tiny: Backbone, tmp_path: Path, lost: str) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    weights = load_file(tiny.path / "model.safetensors")
    del weights[lost]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(BackboneError, match=lost.removeprefix("ernie.")):
        readers.graph_of(Backbone("broken", folder, "d" * 64, tiny.config), tmp_path / "graphs")
    assert list((tmp_path / "graphs").iterdir()) == []


def test_a_damaged_graph_says_which_file(tiny: Backbone, tmp_path: Path) -> None:
    path = readers.graph_of(tiny, tmp_path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BackboneError, match=path.name):
        Reader.load(tiny, tmp_path, threads=1)


def _build(tiny: Backbone, folder: Path) -> None:
    readers.graph_of(tiny, folder)


def test_two_processes_build_at_once_and_leave_one_graph(tiny: Backbone, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_build, args=(tiny, tmp_path)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert [path.suffix for path in tmp_path.iterdir()] == [".onnx"]
    assert Reader.load(tiny, tmp_path, threads=1).sentence_vectors(["球赛"]).shape == (1, fewshot_tiny.HIDDEN)


def test_neither_paddle_nor_onnx_is_imported_to_read(tiny: Backbone, reader: Reader) -> None:
    code = (
        "import sys; from pathlib import Path; from training.fewshot.backbones import Backbone\n"
        "from training.fewshot.reader import Reader\n"
        f"import json; folder = Path({str(tiny.path)!r})\n"
        f"backbone = Backbone('tiny', folder, {tiny.hash!r}, json.loads((folder / 'config.json').read_text()))\n"
        "reader = Reader.load(backbone, folder.parent / 'graphs', 1); reader.sentence_vectors(['球赛'])\n"
        "print([name for name in ('paddle', 'paddlenlp', 'onnx') if name in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
