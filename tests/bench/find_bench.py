"""Search, filters and orders of the list at 1,000,000 texts.

    python -m tests.bench.find_bench [--rows 1000000] [--queries 600] [--keep FOLDER] [--plans]
    python -m tests.postgres -- python -m tests.bench.find_bench

Texts are made here from a made-up vocabulary with Zipf frequencies. 30 % are labelled by eight people, 65 % have a
prediction, 10 % a weak label. Each query is one page of the list (`search.page_of`, its rows included) for a random
set of zero to four filters, a search or none, one of all orders, and every second time the page after it; each runs
once, so nothing is answered from a result that the same query left behind. Prints one JSON object: p50, p95 and the
longest in ms, by kind, and the slowest with their filters; with --plans what the database plans for the slowest.
On SQLite a file below a temporary folder (or --keep); with DATABASE_URL that database, which must be empty.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

CHUNK = 5_000
START = datetime(2026, 8, 1, tzinfo=UTC)
PEOPLE, LABELS = 8, 15


def make_texts(rng: random.Random) -> Iterator[str]:
    """Texts of 8 to 60 characters without end."""
    characters = [chr(code) for code in range(0x4E00, 0x4E00 + 2500)]
    weights = list(itertools.accumulate(1 / (rank + 8) for rank in range(len(characters))))
    words = [
        "".join(rng.choices(characters, cum_weights=weights, k=rng.choice([2, 2, 2, 3])))
        for _ in range(20_000)
    ]
    ranks = list(itertools.accumulate(1 / (rank + 20) for rank in range(len(words))))
    while True:
        for drawn in (rng.choices(words, cum_weights=ranks, k=400) for _ in range(100)):
            at = 0
            while at < 380:
                n = min(4 + int(rng.expovariate(0.25)), 24)
                text = "".join(drawn[at : at + n])
                at += n
                yield (
                    text
                    + rng.choice(["", "", "，", "2026", " iPhone", "100%", "？"])
                    + str(rng.randrange(10**6))
                )


def build(rows: int) -> dict[str, Any]:
    """Fill the empty database; returns its project and how long the parts took."""
    from django.contrib.auth import get_user_model
    from django.db import connection, transaction

    from labeling.models import Example, Prediction, Project, Rule, WeakLabel
    from labeling.services import text_index
    from tests import factories as make

    owner = make.make_user("bench")
    project = make.make_project(owner)
    people = [owner, *(make.make_member(project) for _ in range(PEOPLE - 1))]
    labels = [make.make_label(project) for _ in range(LABELS)]
    rule = Rule.objects.create(
        project=project, kind="contains", pattern="一", label=labels[0], applied_at=START
    )
    rng = random.Random(5)
    texts = make_texts(rng)
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous = OFF")
    took = {"rows": 0.0, "index": 0.0}
    columns = ("id", "project_id", "text", "text_hash", "split", "status", "label_id", "flagged", "decided_by_id", "suggestion",
               "n_comments", "n_deciders", '"order"', "created_at", "decided_at")  # fmt: skip
    label_weights = list(itertools.accumulate(1 / (rank + 2) for rank in range(LABELS)))
    for first in range(1, rows + 1, CHUNK):
        made = []
        predictions, weak = [], []
        for pk in range(first, min(first + CHUNK, rows + 1)):
            text = next(texts)
            labelled = rng.random() < 0.3
            status = "labelled" if labelled else rng.choices(["open", "skipped", "disputed"], [93, 6, 1])[0]
            label = rng.choices(labels, cum_weights=label_weights)[0] if labelled else None
            split = rng.choices(["pool", "train", "dev", "test"], [60, 20, 10, 10])[0]
            decided = (
                START + timedelta(seconds=rng.randrange(90 * 86_400))
                if status in ("labelled", "skipped")
                else None
            )
            made.append((
                pk, project.pk, text, rng.randbytes(16), split, status, label.pk if label else None, rng.random() < 0.005,
                rng.choice(people).pk if labelled else None,
                rng.choices(["", "accepted", "overruled"], [55, 40, 5])[0] if labelled else "",
                1 if rng.random() < 0.003 else 0, int(labelled), rng.getrandbits(62),
                START + timedelta(seconds=pk // 10), decided,
            ))  # fmt: skip
            if not labelled and rng.random() < 0.93:
                predictions.append(
                    (pk, rng.choices(labels, cum_weights=label_weights)[0].pk, rng.betavariate(5, 2))
                )
            if rng.random() < 0.1 and split in ("train", "pool"):
                weak.append(pk)
        began = time.perf_counter()
        with transaction.atomic():
            adapt = connection.ops.adapt_datetimefield_value
            values = [(*row[:13], adapt(row[13]), adapt(row[14]) if row[14] else None) for row in made]
            with connection.cursor() as cursor:
                fill(cursor, f"{Example._meta.db_table} ({', '.join(columns)})", values)
                fill(
                    cursor,
                    f"{Prediction._meta.db_table} (project_id, example_id, model_id, label_id, confidence, margin, probabilities, label_ids)",
                    [
                        (project.pk, pk, 7, label_id, share, 0.0, "[]", "[]")
                        for pk, label_id, share in predictions
                    ],
                )
                fill(
                    cursor,
                    f"{WeakLabel._meta.db_table} (project_id, rule_id, example_id, label_id)",
                    [(project.pk, rule.pk, pk, labels[0].pk) for pk in weak],
                )
            took["rows"] += time.perf_counter() - began
            began = time.perf_counter()
            text_index.add_texts([(row[0], project.pk, row[2]) for row in made])
        took["index"] += time.perf_counter() - began
        if first % (20 * CHUNK) == 1:
            print(f"{first - 1} of {rows}", file=sys.stderr, flush=True)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT setval(pg_get_serial_sequence('{Example._meta.db_table}', 'id'), {rows})")
            cursor.execute("VACUUM ANALYZE")  # as autovacuum does after an import
    assert Project.objects.count() == 1
    assert get_user_model().objects.count() == PEOPLE
    return {"build_rows_seconds": round(took["rows"], 1), "build_index_seconds": round(took["index"], 1)}


def fill(cursor: Any, table: str, rows: list[tuple[Any, ...]]) -> None:
    """Insert rows as fast as the database takes them."""
    from django.db import connection

    if connection.vendor == "postgresql":
        with cursor.copy(f"COPY {table} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    elif rows:
        cursor.executemany(f"INSERT INTO {table} VALUES ({', '.join(['%s'] * len(rows[0]))})", rows)


def some_words(rng: random.Random, rows: int) -> list[str]:
    """Things to search for: taken from the texts, common and rare, one character to phrases, and what is not there."""
    from labeling.models import Example

    found = []
    for pk in (rng.randrange(1, rows + 1) for _ in range(60)):
        text = Example.objects.get(pk=pk).text
        at = rng.randrange(0, max(1, len(text) - 12))
        n = rng.choice([1, 2, 2, 2, 2, 3, 4, 6])
        found.append(text[at : at + n].strip() or "的")
    pairs = [f"{one} {two}" for one, two in itertools.pairwise(found[::3])]
    return [*found, *pairs, "iphone", "100%", "2026", "没有这样的文本", "鑫鑫", '"iPhone"', "a", "7", "？"]


def queries(rng: random.Random, n: int, rows: int) -> Iterator[dict[str, str]]:
    """Addresses as the page makes them."""
    from labeling.models import Label
    from labeling.services.filters import SORTS

    labels = [str(pk) for pk in Label.objects.values_list("pk", flat=True)]
    words = some_words(rng, rows)
    filters: list[Any] = [
        lambda: {"label": rng.choice([*labels, "none"])},
        lambda: {"by": str(rng.randrange(1, PEOPLE + 1))},
        lambda: {"status": rng.choice(["open", "labelled", "skipped", "disputed"])},
        lambda: {"split": rng.choice(["train", "dev", "test", "pool"])},
        lambda: {"flagged": "1"},
        lambda: {"commented": "1"},
        lambda: {"suggestion": rng.choice(["accepted", "overruled", "none"])},
        lambda: {"predicted": rng.choice(labels)},
        lambda: rng.choice([{"sure_from": "90"}, {"sure_to": "30"}, {"sure_from": "45", "sure_to": "55"}]),
        lambda: rng.choice(
            [{"length_from": "40"}, {"length_to": "14"}, {"length_from": "20", "length_to": "21"}]
        ),
        lambda: rng.choice(
            [{"date_from": "2026-09-01", "date_to": "2026-09-02"}, {"date_from": "2026-10-01"}]
        ),
        lambda: {"dated": "imported", "date_from": "2026-08-01", "date_to": "2026-08-01"},
        lambda: {"rule": "any"},
    ]
    sorts = ["" if name == "imported" else name for name in SORTS]
    # Each filter alone and each word alone in every order, then what comes by chance.
    alone = [{}, *(one() for one in filters), *({"q": word} for word in words[::8])]
    yield from ({**values, "sort": sort} for sort in sorts for values in alone)
    for _ in range(n):
        values: dict[str, str] = {"sort": rng.choice(sorts)}
        for one in rng.sample(filters, rng.choice([0, 1, 1, 2, 2, 3, 4])):
            values.update(one())
        if rng.random() < 0.5:
            values["q"] = rng.choice(words)
        yield values


def measure(n: int, rows: int, *, cpu: bool = False) -> list[tuple[float, dict[str, str], int]]:
    """(ms, what was asked for, rows shown) of each page; `cpu`: of this process's own time, whoever else computes."""
    from labeling.models import Project
    from labeling.services import search
    from labeling.services.filters import Choices, Filters

    project = Project.objects.get()
    choices = Choices.of(project)
    rng = random.Random(11)
    found = []
    clock = time.process_time if cpu else time.perf_counter
    search.page_of(project, Filters(), n=50)
    for number, values in enumerate(queries(rng, n, rows)):
        filters = Filters.of(values, choices)
        began = clock()
        page = search.page_of(project, filters)
        found.append((1000 * (clock() - began), filters.active, len(page.examples)))
        if page.after and number % 2:
            began = clock()
            second = search.page_of(project, filters, after=page.after)
            taken = 1000 * (clock() - began)
            found.append((taken, {**filters.active, "page": "2"}, len(second.examples)))
    return found


def summary(found: list[tuple[float, dict[str, str], int]]) -> dict[str, Any]:
    """Percentiles by kind of query."""

    def of(times: list[float]) -> dict[str, Any]:
        times = sorted(times)
        at = lambda share: round(times[min(len(times) - 1, int(share * len(times)))], 1)  # noqa: E731
        return {"n": len(times), "p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "max": round(times[-1], 1)}

    kinds: dict[str, list[float]] = {}
    for taken, values, _shown in found:
        kinds.setdefault("all", []).append(taken)
        kinds.setdefault("search" if "q" in values else "no search", []).append(taken)
        narrowing = [name for name in values if name not in ("sort", "q", "page", "dated")]
        kinds.setdefault(f"{min(len(narrowing), 4)} filters", []).append(taken)
        kinds.setdefault(f"order {values.get('sort', 'imported')}", []).append(taken)
        if not any(name in values for name in ("predicted", "sure_from", "sure_to")):
            kinds.setdefault("without the model", []).append(taken)
    return {name: of(times) for name, times in sorted(kinds.items())}


def plans(found: list[tuple[float, dict[str, str], int]]) -> None:
    """What the database plans for the slowest queries."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from labeling.models import Project
    from labeling.services import search
    from labeling.services.filters import Choices, Filters

    project = Project.objects.get()
    choices = Choices.of(project)
    explain = "EXPLAIN QUERY PLAN " if connection.vendor == "sqlite" else "EXPLAIN (ANALYZE, BUFFERS) "
    for taken, values, _shown in sorted(found, key=lambda one: -one[0])[:4]:
        print(f"\n{taken:.0f} ms {values}", file=sys.stderr)
        with CaptureQueriesContext(connection) as captured:
            search.page_of(project, Filters.of(values, choices))
        for one in captured.captured_queries:
            print(f"  {one['time']} s  {one['sql'][:300]}", file=sys.stderr)
            if float(one["time"]) > 0.02 and one["sql"].lstrip().startswith(("SELECT", "WITH")):
                with connection.cursor() as cursor:
                    cursor.execute(explain + one["sql"].replace("%", "%%"), [])
                    for row in cursor.fetchall():
                        print(f"      {row[-1]}", file=sys.stderr)


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=600)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--plans", action="store_true")
    parser.add_argument("--cpu", action="store_true", help="SQLite: the process's time instead of the wall's")
    parser.add_argument(
        "--build-only", action="store_true", help="with --keep: measure later, in a quiet moment"
    )
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
    with tempfile.TemporaryDirectory(prefix="wanxing-bench-") as folder:
        home = options.keep or Path(folder) / "home"
        built = (home / "wanxing.sqlite3").exists() and not os.environ.get("DATABASE_URL")
        os.environ["WANXING_HOME"] = str(home)
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        result: dict[str, Any] = {}
        if options.build_only or not built:
            call_command("migrate", verbosity=0)
            result |= build(options.rows)
            if options.build_only:
                print(json.dumps(result))
                return
        found = measure(options.queries, options.rows, cpu=options.cpu)
        slowest = sorted(found, key=lambda one: -one[0])[:12]
        result |= {
            "database": connection.vendor,
            "rows": options.rows,
            "clock": "process" if options.cpu else "wall",
            "load_average": [round(one, 2) for one in os.getloadavg()],
            "ms": summary(found),
            "slowest": [
                {"ms": round(taken, 1), "shown": shown, **values} for taken, values, shown in slowest
            ],
        }
        print(json.dumps(result, ensure_ascii=False, indent=1))
        if options.plans:
            plans(found)


if __name__ == "__main__":
    main()
