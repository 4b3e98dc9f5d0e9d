"""A frozen backbone read by ONNX Runtime: sentence vectors, and the states at a template's masks. No Paddle.

The graph is made once a backbone hash, below the cache folder, from the backbone's own files
(`reader_graph`); `onnx` is imported only then.
"""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from training.fewshot import backbone_store as store
from training.fewshot.backbones import Backbone, sentence_prefix
from training.fewshot.encoding import SoftSpan, plan_sentence
from training.fewshot.errors import BackboneError
from training.fewshot.reader_graph import BUILDER_VERSION
from training.fewshot.runner import SLOW_FUSIONS, TextEncoder, physical_cores
from training.fewshot.tokenization import load_tokenizer

MAX_LENGTH_TOKENS = 128
BATCH_SIZE = 32
WORDS = "embeddings.word_embeddings.weight"
OnBatch = Callable[[int], None]


class Reader:
    """A frozen backbone.

    `hidden_size`: H. `tokenizer`: the backbone's, without truncation. `has_mask_head`: whether its states mean
    something (a backbone without a masked-language-model head gives zeros). Calls may come from one thread at a time.
    """

    def __init__(self, backbone: Backbone, session, tokenizer) -> None:
        self.backbone = backbone
        self.session = session
        self.tokenizer = tokenizer
        self.hidden_size = int(backbone.config["hidden_size"])
        self.max_length = min(MAX_LENGTH_TOKENS, int(backbone.config["max_position_embeddings"]))

    @classmethod
    def load(cls, backbone: Backbone, cache_dir: str | Path, threads: int | None = None) -> Reader:
        """The reader of `backbone`, whose graph is built below `cache_dir` if it is not there yet.

        `threads`: 0 or None means the physical cores. Raises BackboneError.
        """
        path = graph_of(backbone, Path(cache_dir))
        return cls(backbone, _session(path, threads or physical_cores()), load_tokenizer(backbone.path))

    def sentence_vectors(
        self,
        texts: Sequence[str],
        *,
        batch_size: int = BATCH_SIZE,
        max_length: int | None = None,
        on_batch: OnBatch | None = None,
    ) -> np.ndarray:
        """(n, H) float32, unit length: the backbone's own recipe (its prefix, the mean over all tokens).

        Longer texts are cut to `max_length` tokens. `on_batch` hears the number of texts done; what it raises ends
        the work.
        """
        plan = plan_sentence(
            self.tokenizer,
            fields=("a",),
            prefix=sentence_prefix(self.backbone),
            max_length=min(max_length or self.max_length, self.max_length),
            multi_label=False,
        )
        return self.encoded_vectors(plan.encoding, texts, batch_size=batch_size, on_batch=on_batch)

    def encoded_vectors(
        self,
        encoding: dict,
        texts: Sequence[str],
        *,
        batch_size: int = BATCH_SIZE,
        on_batch: OnBatch | None = None,
    ) -> np.ndarray:
        """(n, H) float32: unit mean vectors of texts as `encoding` (one view, see `plan_sentence`) puts them."""
        found = self._run("vectors", encoding, texts, batch_size, on_batch)
        return found.reshape(len(texts), self.hidden_size)

    def mask_states(
        self,
        encoding: dict,
        texts: Sequence[str],
        *,
        soft_spans: Sequence[SoftSpan] = (),
        batch_size: int = BATCH_SIZE,
        on_batch: OnBatch | None = None,
    ) -> np.ndarray:
        """(n, views, masks, H) float32: what the masked language model's decoder reads at each mask.

        `encoding` and `soft_spans` are those of a `plan_prompt`; soft prompts count as the words that they start
        from (see `hardened`). `states @ table.T + bias` are the logits over the vocabulary. Raises BackboneError
        without such a head.
        """
        if not self.has_mask_head:
            raise BackboneError(
                "the backbone has no masked-language-model head",
                hint="Choose a backbone that fills in masks, or the method label_sentence.",
            )
        encoding = hardened(encoding, int(self.backbone.config["vocab_size"]), soft_spans)
        shape = (len(texts), len(encoding["views"]), encoding["n_masks"], self.hidden_size)
        return self._run("states", encoding, texts, batch_size, on_batch).reshape(shape)

    @functools.cached_property
    def has_mask_head(self) -> bool:
        return "cls.predictions.transform.weight" in _names(self.backbone)

    @functools.cached_property
    def table(self) -> np.ndarray:
        """(V, H) float32: the token embeddings, which are the decoder's rows too."""
        names = _names(self.backbone)
        return _tensor(self.backbone, f"ernie.{WORDS}" if f"ernie.{WORDS}" in names else WORDS)

    @functools.cached_property
    def bias(self) -> np.ndarray:
        """(V,) float32: the decoder's bias; zeros where the backbone has none."""
        names = _names(self.backbone)
        for name in ("cls.predictions.decoder_bias", "cls.predictions.decoder.bias"):
            if name in names:
                return _tensor(self.backbone, name)
        return np.zeros(len(self.table), dtype=np.float32)

    def _run(
        self, output: str, encoding: dict, texts: Sequence[str], batch_size: int, on_batch: OnBatch | None
    ) -> np.ndarray:
        """`output` for each text, its views one after the other; texts of like length share a batch."""
        encoder = TextEncoder(encoding, self.tokenizer)
        n_views = len(encoder.views)
        found: np.ndarray | None = None
        # Characters stand in for tokens, so that only a batch is held as token ids.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            arrays = encoder.collate(encoder.rows([texts[index] for index in chosen]))
            values = self.session.run([output], self._feed(arrays))[0]
            if found is None:
                found = np.zeros((len(texts), n_views, *values.shape[1:]), dtype=np.float32)
            found[chosen] = values.reshape(len(chosen), n_views, *values.shape[1:])
            if on_batch is not None:
                on_batch(start + len(chosen))
        return np.zeros(0, dtype=np.float32) if found is None else found

    def _feed(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The graph's inputs. Rows are never empty: they hold [CLS] at least."""
        feed = {
            name: arrays[name].astype(np.int32) for name in ("input_ids", "token_type_ids", "position_ids")
        }
        feed["lengths"] = arrays["attention_mask"].sum(axis=1).astype(np.int32)
        masks = arrays.get("mask_positions")
        feed["mask_positions"] = np.zeros((len(feed["lengths"]), 1), np.int64) if masks is None else masks
        return feed


def hardened(encoding: dict, vocab_size: int, soft_spans: Sequence[SoftSpan] = ()) -> dict:
    """`encoding` without soft prompts: ids from `vocab_size` up become the tokens that they start from.

    An untrained soft prompt is exactly its words (`text_network.SoftPrompt`); one without words is noise, so it is left
    out, and so is every soft id when `soft_spans` does not tell its words.
    """
    words: dict[int, int] = {}
    for span in soft_spans:
        for k in range(span.length if span.init_ids else 0):
            words[vocab_size + span.first + k] = span.init_ids[k % len(span.init_ids)]
    views = []
    for view in encoding["views"]:
        plain = []
        for segment in view:
            if any(token_id >= vocab_size for token_id in segment.get("ids", ())):
                ids = [words.get(i, i) for i in segment["ids"]]
                segment = {**segment, "ids": [i for i in ids if i < vocab_size]}
            plain.append(segment)
        views.append(plain)
    return {**encoding, "views": views}


def graph_of(backbone: Backbone, cache_dir: Path) -> Path:
    """The graph of `backbone` below `cache_dir`, built if it is not there.

    It is written beside and renamed; of two processes at once the last rename stands, and both wrote the same.
    """
    path = cache_dir / f"{backbone.hash[:16]}-{BUILDER_VERSION}.onnx"
    if path.is_file():
        return path
    from safetensors.numpy import load_file

    from training.fewshot import reader_graph

    with store.disk_errors(cache_dir):
        cache_dir.mkdir(parents=True, exist_ok=True)
        weights = load_file(backbone.path / store.WEIGHTS_FILE)
        store.require_space(cache_dir, sum(value.nbytes for value in weights.values()))
        handle, beside = tempfile.mkstemp(prefix=".graph-", suffix=".onnx", dir=cache_dir)
        os.close(handle)
        try:
            reader_graph.write(backbone.config, weights, Path(beside))
            os.replace(beside, path)
        finally:
            Path(beside).unlink(missing_ok=True)
    return path


def _session(path: Path, threads: int):
    """An inference session that gives its cores up between calls: a training run may go on beside it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=SLOW_FUSIONS
        )
    except Exception as error:  # the runtime has a class of its own for each kind of failure
        raise BackboneError(
            f"{path} cannot be loaded: {error}", hint="Delete that file; it is made again.", file=str(path)
        ) from error


def _names(backbone: Backbone) -> set[str]:
    from safetensors import safe_open

    with safe_open(backbone.path / store.WEIGHTS_FILE, framework="np") as file:
        return set(file.keys())


def _tensor(backbone: Backbone, name: str) -> np.ndarray:
    from safetensors import safe_open

    with safe_open(backbone.path / store.WEIGHTS_FILE, framework="np") as file:
        return file.get_tensor(name).astype(np.float32, copy=False)
