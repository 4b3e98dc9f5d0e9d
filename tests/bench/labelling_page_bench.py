"""From the key to the painted text, from the key to the stored decision, and what a killed web process costs.

    python -m tests.bench.labelling_page_bench [--decisions 80] [--labels 200]

Starts the whole house on an empty folder (SQLite, synchronous FULL), signs in a real Chromium and labels by keyboard.
Painted: from the keydown event's time stamp to the first task after the frame that shows the next text. Stored: the
POST of the decision, as the browser's resource timing saw it. Then it labels flat out, kills every web process with
SIGKILL in between, and compares what the page decided with what the database holds."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.e2e.conftest import CHROMIUM, FLAGS, ROOT, start_house, stop_house

SEED = """
import random
from django.contrib.auth import get_user_model
from labeling.models import Example
from labeling.models.texts import text_hash
from labeling.services.labels import add_labels
from labeling.services.projects import create_project
user = get_user_model().objects.create_superuser("bench", "bench@example.org", "correct horse battery")
project = create_project(user=user, name="测速")
add_labels(project=project, lines="\\n".join(f"大类{n // 20}##中类{n // 5}##标签{n:03d}" for n in range(LABELS)))
texts = [f"第{n}条：图书馆周末开放到晚上九点，读者凭借阅卡入场，三楼自习室同时开放。" for n in range(2000)]
Example.objects.bulk_create(
    Example(project=project, text=text, text_hash=text_hash(text), order=n) for n, text in enumerate(texts)
)
print(project.pk)
"""
WATCH = """
window.paints = [];
let pressed = null;
document.addEventListener("keydown", (event) => { pressed = event.timeStamp; }, true);
const channel = new MessageChannel();
channel.port1.onmessage = () => {
  if (pressed === null) return;
  window.paints.push(performance.now() - pressed);
  pressed = null;
};
new MutationObserver(() => requestAnimationFrame(() => channel.port2.postMessage(0)))
  .observe(document.getElementById("text"), { childList: true, characterData: true, subtree: true });
"""


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of them lie."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def seed(home: Path, labels: int) -> int:
    """A project with that many labels and 2,000 texts; its id."""
    environment = {**os.environ, "WANXING_HOME": str(home), "DJANGO_SETTINGS_MODULE": "webapp.settings"}
    code = SEED.replace("LABELS", str(labels))
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.strip().splitlines()[-1])


def web_processes(supervisor: int) -> list[int]:
    """The web server's processes below the supervisor."""
    parents: dict[int, int] = {}
    commands: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                commands[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue

    def below(pid: int) -> bool:
        while pid in parents:
            if pid == supervisor:
                return True
            pid = parents[pid]
        return False

    return [pid for pid, command in commands.items() if "granian" in command and below(pid)]


def measure(page: Any, decisions: int) -> dict[str, float]:
    """Labels at a person's pace; milliseconds."""
    page.evaluate(WATCH)
    page.evaluate("performance.clearResourceTimings(); performance.setResourceTimingBufferSize(5000)")
    for number in range(decisions):
        page.keyboard.press("1234567890"[number % 10])
        page.wait_for_timeout(250)
    page.wait_for_timeout(1500)
    painted = page.evaluate("window.paints")
    stored = page.evaluate(
        "performance.getEntriesByType('resource').filter(one => one.name.endsWith('/label/decisions/'))"
        ".map(one => one.duration)"
    )
    return {
        "decisions": len(painted),
        "painted_p50_ms": round(percentile(painted, 0.5), 1),
        "painted_p95_ms": round(percentile(painted, 0.95), 1),
        "painted_max_ms": round(max(painted), 1),
        "stored_p50_ms": round(percentile(stored, 0.5), 1),
        "stored_p95_ms": round(percentile(stored, 0.95), 1),
    }


def flat_out(page: Any, house: Any, project: int, decisions: int) -> dict[str, int]:
    """Labels as fast as keys can be pressed while the web processes are killed; lost and doubled decisions."""
    page.evaluate(
        "const add = Storage.prototype.setItem; window.sent = [];"
        "Storage.prototype.setItem = function (key, value) {"
        " if (key.startsWith('wanxing.pending')) window.sent.push(JSON.parse(value).client_id);"
        " return add.call(this, key, value); }; null"
    )
    killed = 0
    for number in range(decisions):
        page.locator("#text:not(.muted)").wait_for(timeout=120_000)  # the texts at hand may be used up
        page.keyboard.press("1234567890"[number % 10])
        page.wait_for_timeout(30)
        if number % 60 == 30:
            for pid in web_processes(house.process.pid):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    deadline = time.monotonic() + 180
    pending = "Object.keys(localStorage).filter(key => key.startsWith('wanxing.pending')).length"
    while page.evaluate(pending) and time.monotonic() < deadline:
        page.wait_for_timeout(500)
    sent = page.evaluate("window.sent")
    database = sqlite3.connect(house.home / "wanxing.sqlite3")
    rows = database.execute(
        "SELECT client_id, example_id FROM labeling_annotation WHERE project_id = ?", (project,)
    )
    stored = [(str(client), example) for client, example in rows.fetchall()]
    ids = [client for client, _ in stored]
    texts = [example for client, example in stored if client in {one.replace("-", "") for one in sent}]
    return {
        "killed_processes": killed,
        "decided": len(sent),
        "lost": len({one.replace("-", "") for one in sent} - set(ids)),
        "doubled": len(ids) - len(set(ids)),
        "texts_decided_twice": len(texts) - len(set(texts)),
    }


def main() -> None:
    """Prints one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=80)
    parser.add_argument("--labels", type=int, default=200)
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder)
        house = start_house(home)
        try:
            project = seed(home, options.labels)
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = browser.new_context(base_url=house.url, locale="zh-CN").new_page()
            page.goto("/sign-in/")
            page.fill("[name=username]", "bench")
            page.fill("[name=password]", "correct horse battery")
            page.press("[name=password]", "Enter")
            page.wait_for_load_state()
            page.goto(f"/p/{project}/label/")
            page.wait_for_timeout(2000)
            found: dict[str, Any] = measure(page, options.decisions)
            found["killed"] = flat_out(page, house, project, 200)
            print(json.dumps(found, ensure_ascii=False, indent=1))
            browser.close()
        finally:
            stop_house(house.process)


if __name__ == "__main__":
    main()
