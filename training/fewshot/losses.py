"""Losses. Arrays are Paddle tensors; every function returns a scalar."""

from __future__ import annotations

import paddle
import paddle.nn.functional as F


def classification_loss(
    logits: paddle.Tensor,
    targets: paddle.Tensor,
    *,
    multi_label: bool = False,
    label_smoothing: float = 0.0,
    class_weights: paddle.Tensor | None = None,
) -> paddle.Tensor:
    """Mean cross entropy of `logits` [n, K] against int64 [n] or soft float32 [n, K] targets.

    Class weights enter as in a weighted mean: Σ w·loss / Σ w, w being the weight of the text's own class (or the
    target's mean weight). `multi_label`: targets float32 [n, K] of 0 and 1, binary cross entropy over labels.
    """
    if multi_label:
        targets = targets * (1.0 - label_smoothing) + 0.5 * label_smoothing
        losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        if class_weights is not None:
            return (losses * class_weights).sum() / (class_weights.sum() * logits.shape[0])
        return losses.mean()
    n_labels = logits.shape[-1]
    soft = F.one_hot(targets, n_labels) if targets.ndim == 1 else targets
    weights = paddle.matmul(soft, class_weights) if class_weights is not None else None
    if label_smoothing:
        soft = soft * (1.0 - label_smoothing) + label_smoothing / n_labels
    losses = -(soft * F.log_softmax(logits, axis=-1)).sum(axis=-1)
    if weights is None:
        return losses.mean()
    return (losses * weights).sum() / weights.sum()


def rdrop_divergence(first: paddle.Tensor, second: paddle.Tensor) -> paddle.Tensor:
    """½·(KL(p‖q) + KL(q‖p)), mean over the texts (R-Drop, arXiv 2106.14448).

    PaddleNLP sums over texts and classes; with a batch of b texts its alpha does what b·alpha does here.
    """
    log_p, log_q = F.log_softmax(first, axis=-1), F.log_softmax(second, axis=-1)
    p, q = log_p.exp(), log_q.exp()
    return 0.5 * ((p - q) * (log_p - log_q)).sum(axis=-1).mean()


def bernoulli_divergence(first: paddle.Tensor, second: paddle.Tensor) -> paddle.Tensor:
    """The same for independent labels: mean over texts and labels of the symmetric Bernoulli KL."""
    p, q = F.sigmoid(first), F.sigmoid(second)
    return 0.5 * ((p - q) * (first - second)).mean()


def relation_loss(
    vectors: paddle.Tensor, labels: paddle.Tensor, *, sharpness: float = 100.0
) -> paddle.Tensor:
    """RGL (Findings of NAACL 2022, 81): two texts are linked when they are of one class.

    `vectors` [n, H], `labels` int64 [n]. A link's logit is `sharpness` times the cosine of the two vectors, as in the
    authors' code; binary cross entropy against "same class", mean over the ordered pairs of different texts.
    PaddleNLP divides the sum over all pairs by 100 instead; at a batch of 8 that is 0.56 times this.
    """
    n = vectors.shape[0]
    if n < 2:
        return vectors.sum() * 0.0
    unit = F.normalize(vectors, axis=-1)
    similarity = paddle.matmul(unit, unit, transpose_y=True)
    same = (labels.unsqueeze(0) == labels.unsqueeze(1)).astype(vectors.dtype)
    losses = F.binary_cross_entropy_with_logits(sharpness * similarity, same, reduction="none")
    return (losses * (1.0 - paddle.eye(n))).sum() / (n * (n - 1))
