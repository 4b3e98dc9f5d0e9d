"""Scores of an untrained backbone against cases worked out by hand, and against the networks' first logits."""

import numpy as np
import pytest

from tests.unit import fewshot_tiny as tiny
from training.fewshot import verbalizer, zero_shot

TABLE = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0], [-1.0, 0.0]], dtype=np.float32)
BIAS = np.array([0.0, 0.5, 0.0, 1.0], dtype=np.float32)


def test_a_word_of_one_token_is_read_at_the_first_mask():
    states = np.array([[[3.0, 4.0], [10.0, 10.0]]])
    assert zero_shot.word_scores(states, TABLE, BIAS, [[0], [1]]).tolist() == [[3.0, 4.5]]


def test_a_word_of_several_tokens_has_their_mean():
    states = np.array([[[3.0, 4.0], [1.0, 2.0]]])
    # token 0 at mask 0: 3; token 2 at mask 1: 2·1 + 2·2 = 6
    assert zero_shot.word_scores(states, TABLE, BIAS, [[0, 2]]).tolist() == [[4.5]]


def test_a_label_has_the_mean_of_its_words_and_templates_are_averaged():
    views = np.array([[[[3.0, 4.0]], [[1.0, 0.0]]]])
    # view 1: word 0 → 3, word 3 → −2, word 1 → 4.5; view 2: 1, 0, 0.5
    scores = zero_shot.cloze_scores(views, TABLE, BIAS, [[[0], [3]], [[1]]])
    assert scores.tolist() == [[(2.0 - 1.0) / 2, 2.5]]


def test_more_tokens_than_masks_is_refused():
    with pytest.raises(ValueError, match="1 to 1 tokens"):
        zero_shot.word_scores(np.zeros((1, 1, 2)), TABLE, BIAS, [[0, 1]])


def test_calibration_takes_away_what_the_reference_prefers():
    scores = np.array([[5.0, 1.0], [2.0, 1.0]])
    assert zero_shot.calibrated_by(scores, np.array([[4.0, 0.0]])).tolist() == [[1.0, 1.0], [-2.0, 1.0]]
    pool = np.array([[4.0, 0.0], [2.0, 2.0]])
    assert zero_shot.calibrated_by(scores, pool).tolist() == [[2.0, 0.0], [-1.0, 0.0]]
    with pytest.raises(ValueError, match="reference"):
        zero_shot.calibrated_by(scores, np.zeros((0, 2)))


def test_label_sentences_by_hand():
    rows = zero_shot.label_vectors(np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), [0, 0, 1], 2)
    assert rows.tolist() == [[0.5, 0.5], [0.0, 1.0]]
    texts = np.array([[2.0, 0.0], [0.0, 3.0]])
    raw = zero_shot.label_sentence_scores(texts, rows, centred=False, scale=1.0)
    assert np.allclose(raw, [[np.sqrt(0.5), 0.0], [np.sqrt(0.5), 1.0]])
    # Seen from the middle (¼, ¾) the rows point in opposite directions.
    centred = zero_shot.label_sentence_scores(texts, rows, scale=1.0)
    assert np.allclose(centred[:, 0], -centred[:, 1])
    assert centred[0, 0] > 0 > centred[1, 0]


def test_mixing_takes_the_geometric_mean_of_probabilities():
    first, second = np.log([[0.9, 0.1]]), np.log([[0.5, 0.5]])
    assert np.allclose(zero_shot.mixed(first + 7.0, second, 0.0), first)
    halves = np.exp(zero_shot.mixed(first, second, 0.5))[0]
    assert halves[0] / halves[1] == pytest.approx(np.sqrt(9.0))


def test_the_cloze_network_starts_from_these_scores(tmp_path):
    """The same formula twice, here in numpy and in the trainable network: they must not drift apart."""
    import paddle

    from training.fewshot.networks import PromptNetwork
    from training.fewshot.text_network import load_backbone

    backbone = tiny.backbone(tmp_path)
    words = verbalizer.build(tiny.LABELS, tiny.tokenizer())
    ernie, head = load_backbone(backbone.path)
    network = PromptNetwork(ernie, 3, n_masks=2, n_words=4, soft=True)
    network.start_from(head, words)
    network.eval()
    ids = np.array([[1, 4, 4, 9, 10, 2], [1, 11, 4, 4, 12, 2]], dtype=np.int64)
    masks = np.array([[1, 2], [2, 3]], dtype=np.int64)
    ones, zeros = np.ones_like(ids), np.zeros_like(ids)
    positions = np.tile(np.arange(ids.shape[1]), (2, 1))
    arrays = [paddle.to_tensor(a) for a in (ids, zeros, positions, ones, masks)]
    with paddle.no_grad():
        states = network.read(network.embed(*arrays[:3]), arrays[3], arrays[4]).numpy()
        logits = network(*arrays).numpy()
    found = zero_shot.cloze_scores(states, network.words.numpy(), head["decoder_bias"], words.token_ids)
    assert np.allclose(found, logits, atol=1e-4)
