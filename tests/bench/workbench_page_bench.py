"""From the keystroke to the redraw: the workbench page in a real browser, alone and with a training run beside it.

    python -m tests.bench.workbench_page_bench [--rounds 20] [--data ../shared/data] [--no-training]

Starts the whole house on a data folder of its own, imports FewCLUE tnews (train, dev, 1,000 titles of the pool) and
types into the page as a person does. Measured are the page's own performance marks: from the input event of a key to
the frame after the answers for ten texts were drawn (`answers`), and to the accuracy on up to 240 labelled texts
(`accuracy`, half a second of waiting for the next key included). `burst` types ten keys 80 ms apart and measures from
the last one; `asked` is how many of its keys were answered at all. Prints one JSON object; milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.e2e.conftest import CHROMIUM, FLAGS, ROOT, House, start_house, stop_house

PASSWORD = "a-long-enough-passphrase"
N_POOL = 1000
LETTERS = "新车球股房书"
COUNT = "name => performance.getEntriesByName(name).length"
LAST = "name => Math.round(performance.getEntriesByName(name).at(-1).duration)"


def tnews(data: Path, place: Path) -> Path:
    """The recipe's folder with a shortened pool."""
    folder = place / "tnews"
    folder.mkdir()
    for name in ("train.txt", "dev.txt", "label.txt"):
        shutil.copy(data / "tnews" / name, folder)
    titles = (data / "tnews" / "data.txt").read_text(encoding="utf-8").splitlines()[:N_POOL]
    (folder / "data.txt").write_text("\n".join(titles) + "\n", encoding="utf-8")
    return folder


def enter(page: Any, house: House, folder: Path) -> None:
    """The first account, the project with its texts, and its workbench in front of the browser."""
    page.goto(house.url)
    page.fill("[name=username]", "bench")
    page.fill("[name=password1]", PASSWORD)
    page.fill("[name=password2]", PASSWORD)
    page.locator("main button.cta").click()
    page.wait_for_load_state()
    subprocess.run(
        [sys.executable, "manage.py", "import_dataset", "tnews", str(folder)],
        cwd=ROOT,
        env={**os.environ, "WANXING_HOME": str(house.home)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    open_workbench(page, house)


def open_workbench(page: Any, house: House) -> None:
    """The page, until it has answered and measured once: the backbone is loaded then."""
    page.goto(f"{house.url}/p/1/labels/")
    page.locator(".accuracy-number:visible").wait_for(timeout=300_000)
    page.wait_for_timeout(1000)


def wait_for_more(page: Any, name: str, before: int) -> int:
    """Milliseconds of the measure that follows the first `before` ones."""
    deadline = time.monotonic() + 60
    while page.evaluate(COUNT, name) <= before:
        if time.monotonic() > deadline:
            raise SystemExit(f"no {name} within a minute")
        page.wait_for_timeout(10)
    return page.evaluate(LAST, name)


def one_key(page: Any, letter: str, name: str = "workbench-answers") -> int:
    """Type `letter` where the focus is; milliseconds until the page shows what follows from it."""
    before = page.evaluate(COUNT, name)
    page.keyboard.insert_text(letter)
    return wait_for_more(page, name, before)


def burst(page: Any) -> tuple[int, int]:
    """Ten keys 80 ms apart: milliseconds from the last one to its answers, and how many redraws there were."""
    before = page.evaluate(COUNT, "workbench-answers")
    for number in range(10):
        page.keyboard.insert_text(LETTERS[number % len(LETTERS)])
        page.wait_for_timeout(80)
    page.wait_for_timeout(1500)
    return page.evaluate(LAST, "workbench-answers"), page.evaluate(COUNT, "workbench-answers") - before


def summary(values: list[int]) -> dict[str, int]:
    ordered = sorted(values)
    return {
        "n": len(ordered),
        "median": round(statistics.median(ordered)),
        "p95": ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))],
        "max": ordered[-1],
    }


def measure(page: Any, rounds: int) -> dict[str, Any]:
    """Keys into a label word, keys into the template, bursts, and the accuracy that comes second."""
    found: dict[str, Any] = {}
    field = page.locator(".words-input").nth(2)
    word, template = field.input_value(), page.locator("#template").input_value()
    for name, place in (("word", field), ("template", page.locator("#template"))):
        took = []
        for number in range(rounds):
            place.fill(word if name == "word" else template)
            page.wait_for_timeout(700)
            place.press("End" if name == "word" else "Home")
            took.append(one_key(page, LETTERS[number % len(LETTERS)]))
            page.wait_for_timeout(300)
        found[f"answers_{name}"] = summary(took)
        place.fill(word if name == "word" else template)
    field.focus()
    field.press("End")
    lasts = [burst(page) for _round in range(max(3, rounds // 5))]
    found["burst"] = {
        **summary([one for one, _n in lasts]),
        "asked": round(statistics.mean(n for _one, n in lasts), 1),
    }
    took = []
    for number in range(max(3, rounds // 4)):
        field.fill(word)
        page.wait_for_timeout(2500)
        field.press("End")
        took.append(one_key(page, LETTERS[number % len(LETTERS)], "workbench-accuracy"))
    found["accuracy"] = summary(took)
    field.fill(word)
    page.wait_for_timeout(1500)
    return found


def start_training(page: Any, house: House) -> None:
    """A run with the usual settings, until it is really training."""
    page.goto(f"{house.url}/p/1/train/")
    page.locator("button.big").click()
    page.wait_for_url("**/runs/1/")
    page.wait_for_timeout(25_000)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--no-training", action="store_true")
    options = parser.parse_args()
    if not (options.data / "tnews").is_dir():
        raise SystemExit(f"no FewCLUE data at {options.data}")
    if CHROMIUM is None:
        raise SystemExit("Chromium is not installed")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        home = Path(place) / "home"
        home.mkdir()
        house = start_house(home)
        try:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = browser.new_page(locale="zh-CN", viewport={"width": 1280, "height": 900})
            enter(page, house, tnews(options.data, Path(place)))
            found = {
                "cores": os.cpu_count(),
                "machine": platform.machine(),
                "alone": measure(page, options.rounds),
            }
            if not options.no_training:
                start_training(page, house)
                open_workbench(page, house)
                found["while_training"] = measure(page, options.rounds)
                page.goto(f"{house.url}/p/1/runs/1/")
                found["run_then"] = page.locator(".badge").first.text_content()
            browser.close()
        finally:
            stop_house(house.process)
    print(json.dumps({**found, "load": os.getloadavg()}, ensure_ascii=False, indent=2))


if __name__ == "__main__":
    main()
