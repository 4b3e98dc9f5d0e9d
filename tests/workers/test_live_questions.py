"""Questions to a real live worker over the real broker: answers, refusals, the newest, dead workers, a dead broker."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.conf import settings

from tests.unit import fewshot_tiny
from training.models import RegisteredBackbone
from training.services import live
from training.services.live import LiveFailed, LiveTimeout, LiveUnavailable
from workers import broker, questions
from workers.live import ask, awaited, raise_newest

pytestmark = pytest.mark.django_db(transaction=True)

StartWorker = Callable[[str], subprocess.Popen[bytes]]
SECONDS = 60.0
LONG = ["球赛队员进门轮胎发动机油银行股市利率" * 4] * 30_000


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """A two-layer backbone that the operator registered."""
    fewshot_tiny.backbone(tmp_path / "tiny")
    RegisteredBackbone.objects.create(name="tiny", path=str(tmp_path / "tiny"))
    return "tiny"


def vectors(texts: list[str], **options: Any) -> Any:
    options = {"timeout_seconds": SECONDS, **options}
    return ask("sentence_vectors", {"backbone": "tiny", "texts": texts}, **options)


class Asked(threading.Thread):
    """A question in a thread of its own: `outcome` is its answer, or the error."""

    def __init__(self, texts: list[str], **options: Any) -> None:
        super().__init__()
        self.texts, self.options = texts, options
        self.outcome: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.outcome = vectors(self.texts, **self.options)
        except live.LiveError as error:
            self.outcome = error

    def wait(self) -> Any:
        self.join(SECONDS)
        return self.outcome


def pool_process_of(worker: subprocess.Popen[bytes]) -> int:
    """The process of the worker's pool: the child that answers."""
    found = [pid for pid in _children(worker.pid) if b"celery" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(found) == 1, found
    return found[0]


def wait_until_at_work(pid: int) -> None:
    """Return once the process has computed for half a second more: its question has reached it."""

    def ticks() -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    began, deadline = ticks(), time.monotonic() + SECONDS
    while ticks() - began < os.sysconf("SC_CLK_TCK") / 2:
        assert time.monotonic() < deadline, "the question did not reach the worker"
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    return [int(found) for found in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_real_worker_answers_each_asker_its_own(tiny: str, start_worker: StartWorker) -> None:
    start_worker("live")
    hostile = ["球赛", "", "轮胎" * 5000, "😀\u202e反\u202c", "坏\ud800", "\x00\x1b[31m", "{text}{mask}"]
    found = np.array(vectors(hostile))
    assert found.shape == (len(hostile), fewshot_tiny.HIDDEN)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    taken = []
    for _ in range(30):
        began = time.perf_counter()
        vectors(["球赛"])
        taken.append(time.perf_counter() - began)
    print(f"round trip: median {statistics.median(taken) * 1000:.1f} ms, longest {max(taken) * 1000:.1f} ms")

    words = ["球赛", "轮胎", "银行", "股市", "ab", "cd", "ef", "gh"]
    alone = np.array(vectors(words))
    for _ in range(5):
        for asked, expected in zip([Asked([word]) for word in words], alone, strict=True):
            assert np.allclose(np.array(asked.wait())[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("question", "payload", "code"),
    [
        ("sentence_vectors", {"backbone": "/etc", "texts": ["一"]}, "bad_backbone"),
        ("sentence_vectors", {"backbone": "ernie-3.0-nano-zh", "texts": ["一"]}, "backbone_offline"),
        ("predict", {"model_folder": "/etc", "texts": ["一"]}, "unexpected"),
        ("predict", {}, "unexpected"),
        ("os.system", {"command": "true"}, "unexpected"),
    ],
)
def test_what_cannot_be_answered_says_why(
    start_worker: StartWorker, question: str, payload: dict, code: str
) -> None:
    start_worker("live")
    with pytest.raises(LiveFailed) as failed:
        ask(question, payload, timeout_seconds=SECONDS)
    assert failed.value.code == code
    assert str(failed.value)


def test_the_newest_question_of_an_editor_wins(tiny: str, start_worker: StartWorker) -> None:
    worker = start_worker("live")
    vectors(["暖"])
    first = Asked(LONG, newest=("7:page", 1))
    wait_until_at_work(pool_process_of(worker))
    between = [Asked(LONG, newest=("7:page", number)) for number in (2, 3)]
    other = Asked(["轮胎"], newest=("8:page", 1))
    time.sleep(0.3)
    last = np.array(vectors(["球赛"], newest=("7:page", 4)))
    assert last.shape == (1, fewshot_tiny.HIDDEN)
    assert [asked.wait() for asked in (first, *between)] == [{"superseded": True}] * 3
    assert len(other.wait()) == 1, "another editor's question is answered"
    assert vectors(["球赛"], newest=("7:page", 3)) == {"superseded": True}
    assert len(vectors(["球赛"], newest=("7:page", 4))) == 1, "the same number again is no older"


def test_a_question_that_nobody_awaits_does_no_work(embedded_broker: broker.BrokerAddress) -> None:
    with settings.BROKER.client(broker.CACHE) as client:
        raise_newest(client, "7:page", 5)
        assert raise_newest(client, "7:page", 2) == 5
    now = time.time()
    assert awaited(now + 60, ("7:page", 5))()
    assert not awaited(now + 60, ("7:page", 4))()
    assert not awaited(now - 1, None)()
    idle = questions.answer("no such question", {}, awaited(now - 1, None))
    assert idle == {"answer": {"superseded": True}}


def test_no_answer_in_time_is_a_timeout_and_ends_the_work(tiny: str, start_worker: StartWorker) -> None:
    start_worker("live")
    vectors(["暖"])
    with pytest.raises(LiveTimeout):
        vectors(LONG, timeout_seconds=0.5)
    assert len(vectors(["球赛"])) == 1


def test_without_a_worker_it_is_said_at_once(tiny: str, start_worker: StartWorker) -> None:
    with settings.BROKER.client(broker.CACHE) as client:
        client.flushdb()
    with pytest.raises(LiveUnavailable):
        vectors(["球赛"])
    worker = start_worker("live")
    assert len(vectors(["球赛"])) == 1
    waiting = Asked(LONG)
    wait_until_at_work(pool_process_of(worker))
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    assert isinstance(waiting.wait(), LiveUnavailable), "it does not wait to the end for a dead worker"
    with pytest.raises(LiveUnavailable):
        vectors(["球赛"])


def test_a_process_that_dies_under_a_question_fails_it_and_the_next_is_answered(
    tiny: str, start_worker: StartWorker
) -> None:
    worker = start_worker("live")
    vectors(["暖"])
    answering = pool_process_of(worker)
    waiting = Asked(LONG)
    wait_until_at_work(answering)
    os.kill(answering, signal.SIGKILL)
    assert isinstance(waiting.wait(), LiveFailed)
    assert len(vectors(["球赛"])) == 1


def test_a_dead_broker_is_said_at_once(settings: Any, tmp_path: Path) -> None:
    settings.BROKER = broker.BrokerAddress(
        f"redis+socket://{tmp_path}/none.sock?virtual_host=0", embedded=True
    )
    with pytest.raises(LiveUnavailable):
        ask("sentence_vectors", {"backbone": "tiny", "texts": ["一"]}, timeout_seconds=SECONDS)
