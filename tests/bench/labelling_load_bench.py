"""Twenty people label at once in the real house: over HTTP, with sessions and CSRF, against `manage.py up`.

    python -m tests.bench.labelling_load_bench [--people 20] [--texts 20000] [--seconds 120] [--paced-seconds 60]
        [--overlap 1] [--import-rows 20000] [--postgres]

First flat out for `--seconds`, an import of `--import-rows` running in the middle third; then one decision a second
each for `--paced-seconds`. Afterwards the database is asked: every decision that the server acknowledged is there
once (`lost`, `stored_twice`), nobody decided a text twice, no text was decided by more people than the project asks
or handed to more people (`doubles`). Prints one JSON object. Everything lives in a temporary folder; --postgres
starts a PostgreSQL there that syncs its commits.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import http.client
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests import postgres
from tests.bench.import_bench import CHARACTERS

LABELS = ["财经", "体育", "科技", "教育", "旅游", "美食", "汽车", "健康"]
PASSWORD = "a-long-enough-passphrase"
LOW = 10  # as the page: fetch more when fewer texts are at hand
RENEW_SECONDS = 60


@dataclasses.dataclass
class Kept:
    """What one person saw and sent."""

    served: list[int] = dataclasses.field(default_factory=list)
    acknowledged: list[str] = dataclasses.field(default_factory=list)
    took_ms: dict[str, list[float]] = dataclasses.field(
        default_factory=lambda: {"save": [], "next": [], "page": [], "save_during_import": []}
    )
    errors: list[str] = dataclasses.field(default_factory=list)


class Person:
    """One browser: a kept-alive connection, cookies, and the labelling page's own requests."""

    def __init__(self, host: str, port: int, name: str) -> None:
        self.connection = http.client.HTTPConnection(host, port, timeout=60)
        self.name = name
        self.cookies: dict[str, str] = {}
        self.kept = Kept()

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        content = answer.read()
        for header, value in answer.getheaders():
            if header.lower() == "set-cookie":
                name, _, rest = value.partition("=")
                self.cookies[name] = rest.split(";", 1)[0]
        return answer.status, content

    def post(self, path: str, values: dict[str, Any]) -> tuple[int, bytes]:
        body = urlencode({**values, "csrfmiddlewaretoken": self.cookies["csrftoken"]}).encode()
        kind = "application/x-www-form-urlencoded"
        return self.ask("POST", path, body, **{"Content-Type": kind})

    def sign_in(self) -> None:
        self.ask("GET", "/sign-in/")
        status, _ = self.post("/sign-in/", {"username": self.name, "password": PASSWORD})
        if status != 302:
            raise RuntimeError(f"{self.name} could not sign in: {status}")

    def timed(self, what: str, *arguments: Any, **values: Any) -> tuple[int, bytes]:
        started = time.perf_counter()
        answer = self.ask(*arguments, **values)
        self.kept.took_ms[what].append(1000 * (time.perf_counter() - started))
        return answer

    def label(
        self, project: int, *, until: float, pause: float, seed: int, importing: threading.Event
    ) -> None:
        """Open the page and label until the time is over: one request a decision, more texts when few are left."""
        chance = random.Random(seed)
        base = f"/p/{project}/label/"
        _status, page = self.timed("page", "GET", base)
        found = re.search(rb'id="labelling-data"[^>]*>(.*?)</script>', page, re.S)
        if found is None:
            self.kept.errors.append("no text on the page")
            return
        data = json.loads(found[1])
        texts, labels = [one["id"] for one in data["texts"]], [one["id"] for one in data["labels"]]
        tab, url = data.get("page", ""), base
        self.kept.served += texts
        due = time.monotonic() + (chance.random() * pause if pause else 0)
        renew_at = time.monotonic() + RENEW_SECONDS
        while time.monotonic() < until:
            if pause:
                time.sleep(max(0.0, due - time.monotonic()))
                due += pause
            if len(texts) < LOW:
                query = urlencode({"have": ",".join(map(str, texts)), "page": tab})
                status, body = self.timed("next", "GET", f"{url}next/?{query}")
                if status != 200:
                    self.kept.errors.append(f"next: {status}")
                    continue
                more = [one["id"] for one in json.loads(body)["texts"]]
                self.kept.served += more
                texts += more
                if not texts:
                    self.kept.errors.append("nothing left")
                    return
            client_id = str(uuid.uuid4())
            decision = {
                "client_id": client_id, "example": texts.pop(0), "action": "label",
                "label": chance.choice(labels), "source": "blind", "seconds": 1.0,
            }  # fmt: skip
            headers = {"Content-Type": "application/json", "X-CSRFToken": self.cookies["csrftoken"]}
            body = json.dumps({"decisions": [decision]}).encode()
            what = "save_during_import" if importing.is_set() else "save"
            status, body = self.timed(what, "POST", f"{url}decisions/", body, **headers)
            result = json.loads(body)["results"][0] if status == 200 else {}
            if result.get("ok"):
                self.kept.acknowledged.append(client_id)
            else:
                self.kept.errors.append(f"save: {status} {result.get('error')}")
            if time.monotonic() > renew_at:
                renew_at += RENEW_SECONDS
                self.post(f"{url}lease/", {"do": "renew", "texts": ",".join(map(str, texts)), "page": tab})
        # What is given back unseen may go to somebody else.
        self.kept.served = [one for one in self.kept.served if one not in set(texts)]
        self.post(f"{url}lease/", {"do": "release", "texts": ",".join(map(str, texts)), "page": tab})


def prepare(people: int, texts: int, overlap: int) -> int:
    """In its own process: the people, the project and its texts; prints the project's id."""
    from django.contrib.auth import get_user_model
    from django.contrib.auth.hashers import make_password

    from labeling.models import Membership
    from labeling.services.imports import import_now
    from labeling.services.labels import add_labels
    from tests.factories import make_project, make_user

    owner = make_user("owner")
    project = make_project(owner, name="负载", overlap=overlap, dev_percent=0, test_percent=0)
    add_labels(project=project, lines="\n".join(LABELS))
    password = make_password(PASSWORD)
    users = get_user_model().objects.bulk_create(
        [get_user_model()(username=f"person{number}", password=password) for number in range(people)]
    )
    Membership.objects.bulk_create(
        [Membership(project=project, user=user, role="annotator") for user in users]
    )
    import_now(project=project, user=owner, path=write_texts(texts, seed=1))
    return project.pk


def write_texts(rows: int, *, seed: int) -> Path:
    """A file of `rows` different texts, a line each, beside the data folder."""
    chance = random.Random(seed)
    path = Path(os.environ["WANXING_HOME"]).parent / f"texts-{seed}.txt"
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            file.write("".join(chance.choices(CHARACTERS, k=chance.randint(8, 40))) + f"{seed}-{number}\n")
    return path


def start_import(rows: int, project_id: int) -> None:
    """In its own process: hand a file to the house's data worker, as the page does."""
    from labeling.models import Project
    from labeling.services.imports import request_import

    path = write_texts(rows, seed=2)
    project = Project.objects.get(pk=project_id)
    with path.open("rb") as file:
        request_import(project=project, user=project.created_by, upload=file, filename=path.name)


def check(project_id: int, overlap: int, told: dict[str, Any]) -> dict[str, Any]:
    """In its own process: what the database holds against what the server acknowledged and handed out."""
    from django.db import connection
    from django.db.models import Count

    from labeling.models import Annotation, Job, Lease, Project
    from labeling.services import states

    project = Project.objects.get(pk=project_id)
    rows = list(project.annotations.filter(action="label").values_list("client_id", "example", "user"))
    stored = Counter(str(client_id) for client_id, _, _ in rows)
    acknowledged = told["acknowledged"]
    deciders = Counter(example for _, example, _ in rows)
    handed = Counter(example for _, example in {(user, example) for user, example in told["served"]})
    wrong = 0
    decided = project.examples.filter(pk__in=list(deciders)[:5_000])
    for example in decided:
        wrong += states.derive(project=project, example=example).status != example.status
    return {
        "database": connection.vendor,
        "texts": project.examples.count(),
        "acknowledged": len(acknowledged),
        "stored": len(rows),
        "lost": len(set(acknowledged) - set(stored)),
        "stored_twice": sum(count > 1 for count in stored.values()),
        "doubles_decided": sum(count > overlap for count in deciders.values()),
        "doubles_handed_out": sum(count > overlap for count in handed.values()),
        "decided_twice_by_one_person": Annotation.objects.filter(project=project, action="label")
        .values("example", "user")
        .annotate(n=Count("id"))
        .filter(n__gt=1)
        .count(),
        "status_differs_from_events": wrong,
        "leases_left": Lease.objects.filter(project=project, expires_at__isnull=False).count(),
        "imports": list(Job.objects.filter(project=project, kind="import").values_list("status", flat=True)),
    }


def phase(
    people: list[Person], project: int, *, seconds: float, pause: float, importing: threading.Event, seed: int
) -> float:
    """Let all label at once; seconds that it took."""
    started = time.monotonic()
    threads = [
        threading.Thread(
            target=person.label,
            args=[project],
            kwargs={
                "until": started + seconds, "pause": pause, "seed": seed + number, "importing": importing,
            },
        )
        for number, person in enumerate(people)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - started


def spread(values: list[float]) -> dict[str, float | int]:
    """p50, p95, p99 and the longest, in ms."""
    values = sorted(values)
    if not values:
        return {"n": 0}
    at = {name: round(values[int(share * (len(values) - 1))], 1) for name, share in
          (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99), ("max_ms", 1.0))}  # fmt: skip
    return {"n": len(values), **at}


def take(people: list[Person]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Latencies of a phase, and what was said and handed out in it; the people's notes begin anew."""
    told: dict[str, Any] = {"acknowledged": [], "served": [], "errors": []}
    took: dict[str, list[float]] = {}
    for person in people:
        told["acknowledged"] += person.kept.acknowledged
        told["served"] += [(person.name, example) for example in person.kept.served]
        told["errors"] += person.kept.errors
        for what, values in person.kept.took_ms.items():
            took.setdefault(what, []).extend(values)
        person.kept = Kept()
    return {what: spread(values) for what, values in took.items() if values}, told


@contextlib.contextmanager
def house(home: Path) -> Any:
    """`manage.py up` on a free port; (host, port)."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (home.parent / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up"],
            env={**os.environ, "PORT": str(port), "HOST": "127.0.0.1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + 90
        while True:
            with contextlib.suppress(OSError):
                probe_connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                probe_connection.request("GET", "/healthz/")
                if probe_connection.getresponse().status == 200:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((home.parent / "up.log").read_text(errors="replace"))
            time.sleep(0.3)
        yield "127.0.0.1", port
    finally:
        process.terminate()
        process.wait(timeout=60)


def apart(step: str, *arguments: Any, told: Path | None = None) -> Any:
    """Run one step of this file in a process of its own, with Django; its answer."""
    command = [sys.executable, "-m", "tests.bench.labelling_load_bench", "--step", step, "--arguments"]
    command.append(json.dumps([*arguments, *([str(told)] if told else [])]))
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-3_000:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def step(name: str, arguments: list[Any]) -> Any:
    import django

    django.setup()
    if name == "prepare":
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        return prepare(*arguments)
    if name == "import":
        return start_import(*arguments)
    project_id, overlap, told = arguments
    return check(project_id, overlap, json.loads(Path(told).read_text()))


def measure(options: argparse.Namespace, home: Path) -> dict[str, Any]:
    """Both phases and the check."""
    project = apart("prepare", options.people, options.texts, options.overlap)
    importing = threading.Event()
    result: dict[str, Any] = {"people": options.people, "overlap": options.overlap, "cpus": os.cpu_count()}
    with house(home) as (host, port):
        people = [Person(host, port, f"person{number}") for number in range(options.people)]
        for person in people:
            person.sign_in()

        def import_meanwhile() -> None:
            time.sleep(options.seconds / 3)
            importing.set()
            apart("import", options.import_rows, project)
            time.sleep(options.seconds / 3)
            importing.clear()

        importer = threading.Thread(target=import_meanwhile)
        if options.import_rows and options.seconds:
            importer.start()
        told: dict[str, Any] = {"acknowledged": [], "served": [], "errors": []}
        for name, seconds, pause in (
            ("flat_out", options.seconds, 0.0),
            ("one_a_second", options.paced_seconds, 1.0),
        ):
            if not seconds:
                continue
            load = os.getloadavg()[0]
            took = phase(people, project, seconds=seconds, pause=pause, importing=importing, seed=len(told))
            latencies, said = take(people)
            for key, values in said.items():
                told[key] += values
            rate = round(len(said["acknowledged"]) / took, 1)
            result[name] = {
                "seconds": round(took),
                "load_before": load,
                "decisions_per_second": rate,
                **latencies,
            }
            if importer.ident:
                importer.join()
        path = home.parent / "told.json"
        path.write_text(json.dumps(told))
        result["errors"] = Counter(told["errors"]).most_common(5)
        result["checked"] = apart("check", project, options.overlap, told=path)
    return result


def main() -> None:
    """Read the command line; measure in a temporary folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=20)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--paced-seconds", type=float, default=60)
    parser.add_argument("--overlap", type=int, default=1)
    parser.add_argument("--import-rows", type=int, default=20_000)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--arguments", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "webapp.settings"
    if options.step:
        print(json.dumps(step(options.step, json.loads(options.arguments))))
        return
    with tempfile.TemporaryDirectory(prefix="wanxing-load-") as folder, contextlib.ExitStack() as stack:
        os.environ["WANXING_HOME"] = str(Path(folder) / "home")
        os.environ.pop("DATABASE_URL", None)
        if options.postgres:
            os.environ["DATABASE_URL"] = stack.enter_context(postgres.running(durable=True))
        print(json.dumps(measure(options, Path(folder) / "home"), ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
