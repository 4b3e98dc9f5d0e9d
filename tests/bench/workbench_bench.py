"""How long the workbench waits for the model, alone and with a training run beside it.

    python -m tests.bench.workbench_bench [--rounds 15] [--port 8199] [--data ../shared/data]

Starts the whole house on a data folder of its own, fills a project with FewCLUE tnews (train, 1,000 texts of the
pool) and asks as the page does, through the broker: ten texts after a change of the template, ten and 240 texts after
a change of a word (nothing is read but the new word), 240 texts after a change of the template. Then once more while
a run trains. Prints medians and 95th percentiles in milliseconds, from the call of the service to the parsed answer.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

N_POOL = 1000
WORDS = (
    "图书",
    "手机",
    "足球",
    "演唱会",
    "粮食",
    "航班",
    "小说",
    "军舰",
    "楼市",
    "基金",
    "校园",
    "跑车",
    "外交",
    "游戏",
)
FORMS = (
    "这是第{n}条{{mask}}新闻。{{text}}",
    "第{n}版，{{mask}}：{{text}}",
    "{{text}}第{n}条，{{mask}}新闻。",
)


def fill_project(data: Path) -> Any:
    """A project of tnews texts."""
    from django.contrib.auth import get_user_model

    from labeling.models import Example, Project
    from labeling.models.texts import text_hash
    from labeling.services import labels as label_service
    from labeling.services import words as label_words

    user = get_user_model().objects.create_user(username="bench", password=None)
    project = Project.objects.create(name="bench", created_by=user)
    label_service.add_labels(project=project, lines=(data / "label.txt").read_text(encoding="utf-8"))
    label_words.save_template(project=project, user=user, text="这是一条{mask}新闻。{text}")
    labels = {label.name: label for label in project.labels.all()}
    rows = {}
    for line in (data / "train.txt").read_text(encoding="utf-8").splitlines():
        text, _, name = line.rpartition("\t")
        rows[text_hash(text)] = (text, labels[name], "train")
    for text in (data / "data.txt").read_text(encoding="utf-8").splitlines()[:N_POOL]:
        rows.setdefault(text_hash(text), (text, None, "pool"))
    Example.objects.bulk_create(
        Example(
            project=project,
            text=text,
            text_hash=key,
            label=label,
            status="labelled" if label else "open",
            split=split,
            order=number,
        )
        for number, (key, (text, label, split)) in enumerate(rows.items())
    )
    return project


def wait_for_live(seconds: float = 120) -> None:
    """Until the live worker announces itself."""
    from django.conf import settings

    from workers import broker
    from workers.announce import worker_listens

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with (
            contextlib.suppress(Exception),
            settings.BROKER.client(broker.CACHE, timeout_seconds=2) as client,
        ):
            if worker_listens(client, "live"):
                return
        time.sleep(0.3)
    raise SystemExit("no live worker came up")


class Bench:
    """Asks one project, each question as a new change of one editor."""

    def __init__(self, project: Any, rounds: int) -> None:
        from training.services import workbench

        self.project, self.rounds, self.workbench = project, rounds, workbench
        self.ids = workbench.shown_texts(project)
        self.label = project.labels.first()
        self.number = self.template = 0

    def next_template(self) -> str:
        self.template += 1
        return FORMS[self.template % len(FORMS)].format(n=self.template)

    def draft(self, template: str | None = None, word: str | None = None, method: str = "") -> Any:
        words = {self.label.pk: word} if word else None
        return self.workbench.draft_of(self.project, template=template, words=words, method=method)

    def timed(self, ask: Callable[[int], Any]) -> float:
        self.number += 1
        began = time.perf_counter()
        ask(self.number)
        return (time.perf_counter() - began) * 1000

    def answers(self, draft: Any) -> float:
        return self.timed(
            lambda n: self.workbench.ask_answers(
                draft, example_ids=self.ids, editor="bench:1", number=n, timeout_seconds=60
            )
        )

    def words(self, draft: Any) -> float:
        return self.timed(
            lambda n: self.workbench.ask_words(draft, editor="bench:1", number=n, timeout_seconds=60)
        )

    def accuracy(self, draft: Any) -> float:
        return self.timed(
            lambda n: self.workbench.ask_accuracy(draft, editor="bench:1", number=n, timeout_seconds=60)
        )

    def run(self, title: str) -> None:
        self.answers(self.draft())
        self.accuracy(self.draft())
        few = max(3, self.rounds // 3)
        word_rounds = [WORDS[number % len(WORDS)] for number in range(self.rounds)]
        report(
            title,
            "10 texts, another template",
            [self.answers(self.draft(self.next_template())) for _ in range(self.rounds)],
        )
        report(title, "10 texts, another word", [self.answers(self.draft(word=word)) for word in word_rounds])
        report(
            title,
            "words' readings, another template",
            [self.words(self.draft(self.next_template())) for _ in range(few)],
        )
        report(
            title,
            "240 texts, another template",
            [self.accuracy(self.draft(self.next_template())) for _ in range(few)],
        )
        report(
            title, "240 texts, another word", [self.accuracy(self.draft(word=word)) for word in word_rounds]
        )
        report(
            title,
            "240 texts, cloze, another template",
            [self.accuracy(self.draft(self.next_template(), method="cloze")) for _ in range(few)],
        )
        proposals = [
            self.timed(
                lambda n: self.workbench.ask_proposals(
                    self.draft(), label_id=self.label.pk, editor="bench:1", number=n, timeout_seconds=60
                )
            )
            for _ in range(3)
        ]
        report(title, "words proposed for a label", proposals)


def report(title: str, name: str, values: list[float]) -> None:
    ordered = sorted(values)
    high = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    print(
        f"{title:>14} | {name:<34} | median {statistics.median(values):7.0f} ms | p95 {high:7.0f} ms | n {len(values)}",
        flush=True,
    )


def start_training(project: Any) -> Any:
    """A run that is in its training steps."""
    from training.services.runs import request_run

    run = request_run(
        project=project,
        user=project.created_by,
        form_data={
            "method": "label_sentence",
            "template": str(project.templates.first().pk),
            "num_train_epochs": 400,
            "max_steps": -1,
        },
    )
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        run.job.refresh_from_db()
        if run.job.stage == "train" and run.job.step > 2:
            return run
        if run.job.is_finished:
            raise SystemExit(f"the run ended: {run.job.error_code} {run.job.error_message}")
        time.sleep(0.5)
    raise SystemExit("the run did not begin to train")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--port", default="8199")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--no-training", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the house is stopped then too
    with tempfile.TemporaryDirectory(prefix="wx-bench-") as home:
        os.environ.update(WANXING_HOME=home, PORT=options.port, DJANGO_SETTINGS_MODULE="webapp.settings")
        house = subprocess.Popen(
            [sys.executable, "manage.py", "up"], stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            import django

            django.setup()
            wait_for_live()
            project = fill_project(options.data / "tnews")
            bench = Bench(project, options.rounds)
            bench.run("alone")
            if not options.no_training:
                run = start_training(project)
                bench.run("while training")
                run.job.request_cancel()
        finally:
            os.killpg(house.pid, signal.SIGTERM)
            house.wait(timeout=60)


if __name__ == "__main__":
    main()
