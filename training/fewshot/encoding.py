"""How a text becomes arrays. Writes `encoding.json`, which `runner.py` reads. Imports no Paddle.

encoding.json
-------------
::

    {"version": 1,
     "max_length": 128,                      tokens of one row, everything included
     "pad_id": 1, "unk_id": 3, "mask_id": 19500,
     "space_id": 6,                          the bare "▁" piece of a SentencePiece vocabulary, or null
     "inputs": ["input_ids", "token_type_ids", "position_ids", "attention_mask"],
                                             the arrays that this model's graph takes, always in this order;
                                             prompt models add "mask_positions"
     "n_masks": 0,                           M: columns of mask_positions
     "multi_label": false,                   true: probabilities by sigmoid, each label by itself
     "views": [ [segment, …], … ]}           one list of segments a template; the usual model has one

A segment is one of::

    {"ids": [0, 38, 556, 12], "type": 0}     fixed token ids (specials, prompt words, soft prompts as
                                             vocab_size + k); never truncated
    {"ids": [19500, 19500], "mask": true, "type": 0}
                                             the same, and these are the M positions of mask_positions
    {"text": "a", "type": 0, "truncate": true, "drop_space": false}
                                             the text ("b": the second text of a pair), encoded by
                                             tokenizer.json without special tokens; with drop_space its first
                                             id is dropped if it is `space_id`

"position" (int, optional, on any segment): position ids of the segment count up from it instead of going on.

From a text to a row
--------------------
1. A pair "a<TAB>b" is split at its first tab if any segment asks for "b"; otherwise all of it is "a".
2. budget = max_length − (all fixed ids) − (texts with truncate false). Texts with truncate true share the
   budget: while they are too long together, the longest loses its last token (a before b when equal).
3. input_ids: the segments one after the other; token_type_ids: each segment's "type"; position_ids: 0, 1, 2 …
   (or from "position"); attention_mask: 1. mask_positions: indices into the row of the mask segment's ids,
   M of them (a graph without masks does not have this input).
4. A batch is padded on the right to its longest row: pad_id, 0, 0, 0.

Several views: a text is encoded once a view; its logits are the mean over its views. Rows are ordered by view
inside a text: row = text * len(views) + view.

Probabilities: calibration.json {"temperature": t, "thresholds": [..] | null, "prior": [..] | null}:
z = logits / t − log(prior) if a prior is given, then softmax; with multi_label, sigmoid(logits / t), label k is
given when its probability ≥ thresholds[k].
"""

from __future__ import annotations

ENCODING_VERSION = 1
INPUTS = ("input_ids", "token_type_ids", "position_ids", "attention_mask", "mask_positions")
