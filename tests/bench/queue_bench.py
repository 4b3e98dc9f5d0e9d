"""How long the queue takes to hand out texts in a project of a million.

    python -m tests.bench.queue_bench [--texts 1000000] [--postgres]

Half of the texts are decided, the rest open. Three cases: one person per text; three people per text with 20,000
open texts that this person has decided already; the end of such a project, where all that is open is theirs. Prints
one JSON object: milliseconds of `next_texts` (8 texts, leases included) and of `progress`, median and longest of ten.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import postgres

ROWS = {
    "sqlite": """INSERT INTO labeling_example (project_id, text, text_hash, split, status, label_id, flagged,
            suggestion, n_comments, n_deciders, "order", created_at)
        WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < %s - 1)
        SELECT %s, 'text ' || i, CAST(i AS BLOB), 'pool', CASE WHEN i %% 2 = 0 THEN 'labelled' ELSE 'open' END,
            CASE WHEN i %% 2 = 0 THEN %s END, 0, '', 0, i %% 2, abs(random() %% 1000000000), '2026-11-25' FROM n""",
    "postgresql": """INSERT INTO labeling_example (project_id, text, text_hash, split, status, label_id, flagged,
            suggestion, n_comments, n_deciders, "order", created_at)
        SELECT p, 'text ' || i, int8send(i), 'pool', CASE WHEN i %% 2 = 0 THEN 'labelled' ELSE 'open' END,
            CASE WHEN i %% 2 = 0 THEN l END, false, '', 0, i %% 2, (random() * 1000000000)::bigint, now()
        FROM (SELECT %s AS n, %s AS p, %s AS l) v, generate_series(0, v.n - 1) AS i""",
}


def timed(call: Callable[[], Any], before: Callable[[], Any] = lambda: None) -> dict[str, float]:
    """Median and longest of ten, in ms."""
    took = []
    for _ in range(10):
        before()
        started = time.perf_counter()
        call()
        took.append(1000 * (time.perf_counter() - started))
    return {"median_ms": round(statistics.median(took), 1), "max_ms": round(max(took), 1)}


def measure(texts: int) -> dict[str, Any]:
    """Make the project, then time the cases."""
    from django.core.cache import cache
    from django.db import connection

    from labeling.models import Example, Lease
    from labeling.services import leases, queue
    from labeling.services.progress import progress
    from tests.factories import make_label, make_project

    project = make_project()
    user = project.created_by
    label = make_label(project)
    with connection.cursor() as cursor:
        cursor.execute(ROWS[connection.vendor], [texts, project.pk, label.pk])
        cursor.execute("ANALYZE")
    result: dict[str, Any] = {"database": connection.vendor, "texts": texts, "load": os.getloadavg()[0]}

    def serve() -> None:
        queue.next_texts(project=project, user=user)

    def free() -> None:
        leases.release_all(user=user)

    result["one_person"] = {
        order: timed(serve_in(project, user, order), free) for order in ("random", "imported")
    }
    result["progress"] = timed(lambda: progress(project=project, user=user), cache.clear)
    free()
    project.overlap = 3
    project.save()
    mine = Example.objects.filter(project=project, status="open").order_by("order", "id")
    Lease.objects.bulk_create(
        [
            Lease(project=project, example_id=pk, user=user, slot=0)
            for pk in mine.values_list("pk", flat=True)[:20_000]
        ],
        batch_size=2_000,
    )
    result["three_people_20000_own"] = timed(serve, free)
    Example.objects.filter(project=project, status="open").exclude(
        pk__in=leases.done_by(project=project, user=user)
    ).update(status="labelled", label=label)
    result["three_people_only_own_left"] = timed(serve, free)
    return result


def serve_in(project: Any, user: Any, order: str) -> Callable[[], Any]:
    """A call that asks for texts in `order`."""
    from labeling.services import queue

    return lambda: queue.next_texts(project=project, user=user, order=order)


def main() -> None:
    """Read the command line; measure in a temporary folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--postgres", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wanxing-queue-") as folder, contextlib.ExitStack() as stack:
        os.environ["WANXING_HOME"] = str(Path(folder) / "home")
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        os.environ["WANXING_TEST_HOME"] = str(Path(folder) / "home")
        Path(folder, "home").mkdir()
        os.environ.pop("DATABASE_URL", None)
        if options.postgres:
            os.environ["DATABASE_URL"] = stack.enter_context(postgres.running(durable=True))
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        print(json.dumps(measure(options.texts), indent=1))


if __name__ == "__main__":
    main()
