"""The fast model and the look at the labels, by real workers on the real broker."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from redis.exceptions import RedisError

from labeling.models.quality import SuspectKind
from labeling.models.texts import Split
from labeling.services import annotate, learning, probe_requests, quality, queue_orders, scores
from tests import factories as make
from tests.training.character_vectors import embed, sentence_vectors
from training.services import probe
from workers import broker
from workers.enqueue import ask_probe

TEXTS = {
    "体育": ["主队三比一取胜", "球员伤愈复出", "教练谈比赛战术", "联赛冠军出炉", "门将扑出点球", "决赛门票售罄", "女排连胜五场", "马拉松起跑"],
    "财经": ["股票市场大涨", "银行下调利率", "基金净值回升", "公司公布财报", "汇率小幅波动", "债券发行规模扩大", "黄金价格走高", "通胀数据公布"],
    "美食": ["红烧肉怎么做", "面条汤底的秘诀", "这家火锅很辣", "甜点店排长队", "早餐包子配豆浆", "烤鱼外焦里嫩", "凉拌菜的做法", "米饭怎样更香"],
}  # fmt: skip


def wait_for(what: Callable[[], Any], seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.2)
    raise AssertionError("it did not come about in time")


def make_texts(project: Any) -> list[Any]:
    """The texts with their labels, for learning; and as many without in the pool."""
    examples = []
    for name, texts in TEXTS.items():
        label = make.make_label(project, name, words=(name,))
        examples += [make.make_example(project, text, label=label, split=Split.TRAIN) for text in texts]
        for text in texts:
            make.make_example(project, f"{text}，记者报道")
    return examples


def test_decisions_reach_the_probe_and_its_scores_the_page(transactional_db, start_worker):
    project = make.make_project()
    make_texts(project)
    embed(project)
    probe.label_sentences(project, sentence_vectors)  # kept beside, so the worker needs no backbone here
    start_worker("probe")
    ask_probe(project.pk)
    found = wait_for(lambda: scores.read(project.pk, "probe"))
    assert (found.n_labelled, len(found)) == (24, 24)
    wait_for(lambda: all(queue_orders.read(project.pk, name) for name in queue_orders.ORDERS))
    assert wait_for(lambda: learning.read(project.pk)).newest.n_labelled == 24

    probe_requests.register_probe(ask_probe)
    for example in project.examples.filter(label__isnull=True)[:3]:
        annotate.decide(
            project=project, user=project.created_by, example_id=example.pk, action="label",
            label_id=project.labels.first().pk,
        )  # fmt: skip
    newer = wait_for(lambda: (now := scores.read(project.pk, "probe")) and now.n_labelled == 27 and now)
    assert len(newer) == 21
    assert np.isfinite(newer.proba.astype(float)).all()


@pytest.mark.database
def test_a_look_at_the_labels_finds_what_was_planted(transactional_db, start_worker):
    project = make.make_project(template="以下是一条{mask}新闻。{text}")
    examples = make_texts(project)
    labels = list(project.labels.order_by("position"))
    planted = examples[0]  # a match report among the market news
    planted.label = labels[1]
    planted.save()
    double = make.make_example(project, "股票市场大涨！", label=labels[2], split=Split.TRAIN)
    kept_out = make.make_example(project, "股票市场，大涨", label=labels[0], split=Split.TEST)
    start_worker("bulk")
    check = quality.request_check(project=project, user=project.created_by)

    def ended() -> bool:
        check.job.refresh_from_db()
        return check.job.is_finished

    wait_for(ended, 240)
    assert check.job.status == "succeeded", check.job.error_detail
    check.refresh_from_db()
    assert (check.n_labelled, check.skipped) == (25, "")
    errors = list(quality.standing(project, SuspectKind.ERRORS))
    assert planted.pk in [one.example_id for one in errors]
    found = next(one for one in errors if one.example_id == planted.pk)
    assert found.suggested_label == labels[0]
    doubles = {one.example_id for one in quality.standing(project, SuspectKind.DUPLICATES)}
    assert doubles >= {double.pk, examples[8].pk}
    everywhere = {one.example_id for kind in SuspectKind.values for one in quality.standing(project, kind)}
    assert kept_out.pk not in everywhere

    annotate.decide(
        project=project, user=project.created_by, example_id=planted.pk, action="label",
        label_id=labels[1].pk, source="review",
    )  # fmt: skip
    again = quality.request_check(project=project, user=project.created_by)
    assert again.pk != check.pk
    check = again
    wait_for(ended, 240)
    assert planted.pk not in [one.example_id for one in quality.standing(project, SuspectKind.ERRORS)]


def test_without_a_broker_nothing_is_sent_and_nobody_waits(settings, tmp_path, monkeypatch):
    settings.BROKER = broker.address(tmp_path, "")
    monkeypatch.setattr(
        "workers.enqueue.app.send_task", lambda *_, **__: pytest.fail("Celery would try for seconds")
    )
    with pytest.raises(RedisError):
        ask_probe(1)
