"""The table of token embeddings cut to the tokens that occur in the training rows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np

from training.fewshot.text_network import TextNetwork


class UsedWords:
    """Leaves `network` only the embedding rows that `rows` use: without weight decay the others would not move anyway.

    `rows` hold the same rows with ids into the smaller table; ids beyond the vocabulary (soft prompts) follow it as
    before. `also`: further ids counted among the used, the padding's first.
    """

    def __init__(self, network: TextNetwork, rows: Sequence[dict], also: Sequence[int]) -> None:
        self.network = network
        self.table = network.words
        vocabulary = int(self.table.shape[0])
        used = np.unique(np.concatenate([row["input_ids"] for row in rows] + [list(also)]))
        n_soft = max(int(used.max()) + 1 - vocabulary, 0)
        self.used = used[used < vocabulary]
        place = np.zeros(vocabulary + n_soft, dtype=np.int64)
        place[self.used] = np.arange(len(self.used))
        place[vocabulary:] = len(self.used) + np.arange(n_soft)
        self.rows = [{**row, "input_ids": place[np.asarray(row["input_ids"])]} for row in rows]
        self.place = place
        self.pad_id = self.place_of(also[0])
        network.replace_words(self.table.numpy()[self.used])

    def place_of(self, token_id: int) -> int:
        """The id in the smaller table of a token in use."""
        return int(self.place[token_id])

    def padded(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        """`input_ids` of a batch of `rows`, [n, L] int64, with the smaller table's id where nothing stands."""
        return np.where(attention_mask == 1, input_ids, self.pad_id)

    @contextlib.contextmanager
    def whole_table(self) -> Iterator[None]:
        """The whole vocabulary in place, with what was learnt so far, as long as the block runs."""
        layer = self.network.ernie.embeddings.word_embeddings
        cut = layer.weight
        self.put_back()
        try:
            yield
        finally:
            layer.weight = cut

    def put_back(self) -> None:
        """Gives the network the whole vocabulary with what was learnt."""
        whole = self.table.numpy()
        whole[self.used] = self.network.words.numpy()
        self.network.replace_words(whole)
