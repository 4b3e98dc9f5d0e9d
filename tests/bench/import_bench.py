"""1,000,000 texts into a fresh project, while somebody labels.

    python -m tests.bench.import_bench [--rows 1000000] [--labelled 0.0] [--format tsv] [--no-labeller]

Prints one JSON object: rows/s of the import, its peak resident memory, and how long the labeller's decisions took
meanwhile. Texts are made here, of 8 to 40 characters, 5 % of them twice. On SQLite a fresh file below a temporary
folder; with DATABASE_URL set, a schema `import_bench` of that database, dropped afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CHARACTERS = [chr(code) for code in range(0x4E00, 0x4E00 + 2500)]
LABELS = ["科技", "体育", "财经", "健康", "教育", "旅游", "美食", "汽车"]


def write_rows(path: Path, *, rows: int, labelled: float, kind: str, seed: int = 7) -> None:
    """A file of `rows` texts, 5 % of them repeated, the share `labelled` with a label."""
    rng = random.Random(seed)
    texts: list[str] = []
    with path.open("w", encoding="utf-8") as file:
        if kind in ("tsv", "csv"):
            file.write("text\tlabel\n" if kind == "tsv" else "text,label\n")
        for number in range(rows):
            if texts and rng.random() < 0.05:
                text = rng.choice(texts)
            else:
                text = "".join(rng.choices(CHARACTERS, k=rng.randint(8, 40)))
                if number % 20 == 0:
                    texts.append(text)
            label = rng.choice(LABELS) if rng.random() < labelled else ""
            if kind == "jsonl":
                file.write(json.dumps({"text": text, "label": label or None}, ensure_ascii=False) + "\n")
            else:
                file.write(f"{text}{',' if kind == 'csv' else chr(9)}{label}\n")


def run_import(path: Path, done: Path) -> None:
    """In its own process: the import, and what it took."""
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.db import connection

    from labeling.models import Project
    from labeling.services.imports import import_now

    project = Project.objects.get()
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started, started_cpu = time.perf_counter(), time.process_time()
    batch = import_now(project=project, user=get_user_model().objects.get(), path=path)
    seconds = time.perf_counter() - started
    cpu_seconds = time.process_time() - started_cpu
    done.write_text(
        json.dumps(
            {
                "database": connection.vendor,
                "rows": batch.rows_read,
                "added": batch.rows_added,
                "duplicates": batch.rows_duplicate,
                "seconds": round(seconds, 1),
                "rows_per_second": round(batch.rows_read / seconds),
                "cpu_seconds": round(cpu_seconds, 1),
                "load_average": os.getloadavg()[0],
                "peak_resident_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
                "resident_before_mb": round(before_mb),
            }
        )
    )


def label_meanwhile(importer: subprocess.Popen[bytes], user: Any) -> dict[str, Any]:
    """Decisions of one person, two a second, until the import ends: p50, p95 and the longest, in ms."""
    from labeling.models import Project
    from labeling.services.annotate import decide
    from tests.factories import make_example, make_label

    project = Project.objects.get()
    label = project.labels.first() or make_label(project, "标签")
    texts = [make_example(project, f"正在标注的第{number}条") for number in range(200)]
    took: list[float] = []
    while importer.poll() is None:
        text = texts[len(took) % len(texts)]
        started = time.perf_counter()
        decide(project=project, user=user, example_id=text.pk, action="label", label_id=label.pk)
        took.append(1000 * (time.perf_counter() - started))
        time.sleep(0.5)
    took.sort()
    return {
        "decisions": len(took),
        "decision_p50_ms": round(took[len(took) // 2], 1),
        "decision_p95_ms": round(took[int(0.95 * (len(took) - 1))], 1),
        "decision_max_ms": round(took[-1], 1),
    }


def main() -> None:
    """Prepare, start the import in a process of its own, label meanwhile, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--labelled", type=float, default=0.0)
    parser.add_argument("--format", choices=["tsv", "csv", "jsonl"], default="tsv")
    parser.add_argument("--no-labeller", action="store_true")
    parser.add_argument("--import-file", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--done", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
    if options.import_file:
        run_import(options.import_file, options.done)
        return
    with tempfile.TemporaryDirectory(prefix="wanxing-bench-") as folder:
        os.environ["WANXING_HOME"] = str(Path(folder) / "home")
        if os.environ.get("DATABASE_URL"):
            os.environ["PGOPTIONS"] = "-c search_path=import_bench"
        path, done = Path(folder) / f"texts.{options.format}", Path(folder) / "done.json"
        write_rows(path, rows=options.rows, labelled=options.labelled, kind=options.format)
        import django

        django.setup()
        from django.core.management import call_command
        from django.db import connection

        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("CREATE SCHEMA import_bench")
        try:
            call_command("migrate", verbosity=0)
            from tests.factories import make_project, make_user

            user = make_user("bench")
            make_project(user)
            importer = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.bench.import_bench",
                    "--import-file",
                    str(path),
                    "--done",
                    str(done),
                ]
            )
            meanwhile = {} if options.no_labeller else label_meanwhile(importer, user)
            if importer.wait():
                sys.exit(importer.returncode)
            print(json.dumps(json.loads(done.read_text()) | meanwhile | {"labelled_share": options.labelled}))
        finally:
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("DROP SCHEMA import_bench CASCADE")


if __name__ == "__main__":
    main()
