"""Every address with every role, against the table of `access_table.py`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from labeling.models import Comment, Invitation, Prediction, Rule, SavedView
from labeling.models.jobs import JobKind, JobStatus
from labeling.models.projects import Role
from labeling.permissions import ABILITIES
from tests import factories
from tests.web.access_table import ADMIN, PUBLIC, SIGNED_IN, TABLE, Row
from training.models import Evaluation, Export, FilePrediction, PromptComparison, TrainingRun

pytestmark = [pytest.mark.django_db, pytest.mark.database]

MEMBERS = tuple(Role.values)
VISITORS = ("anonymous", "stranger", "administrator", *MEMBERS)
OUTSIDERS = ("stranger", "administrator")


@dataclass(frozen=True)
class Address:
    """One named pattern of the house and the names of the parts to be filled in."""

    name: str
    parts: tuple[str, ...]


def addresses() -> Iterator[Address]:
    """All patterns of the house, included ones too."""
    yield from _walk(get_resolver().url_patterns)


def _walk(patterns: list[Any]) -> Iterator[Address]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern.url_patterns)
        elif isinstance(pattern, URLPattern):
            yield Address(pattern.name or f"(no name) {pattern.pattern}", tuple(pattern.pattern.converters))


ADDRESSES = list(addresses())


@dataclass
class House:
    """A project with a member of every role and one of everything in it; and the people outside."""

    people: dict[str, Any]
    objects: dict[str, Any]

    def client(self, visitor: str) -> Client:
        client = Client(raise_request_exception=False)
        if visitor != "anonymous":
            client.force_login(self.people[visitor])
        return client

    def url(self, address: Address, **others: Any) -> str:
        missing = set(address.parts) - self.objects.keys() - others.keys()
        assert not missing, f"{address.name}: add {missing} to objects_of in tests/web/test_access.py"
        return reverse(
            address.name, kwargs={part: others.get(part, self.objects.get(part)) for part in address.parts}
        )


def make_run(project: Any, number: int) -> TrainingRun:
    """A run that succeeded, with its numbers; its folder is empty."""
    labels = [{"id": label.pk, "name": label.name, "words": [label.name]} for label in project.labels.all()]
    run = TrainingRun.objects.create(
        project=project,
        job=factories.make_job(project, JobKind.TRAIN, status=JobStatus.SUCCEEDED),
        number=number,
        method="prompt",
        config={},
        labels=labels,
        template=project.templates.first(),
        template_text=project.templates.first().text,
        backbone="wanxing-small-zh",
        snapshot_hash="0" * 64,
        counts={"train": 1, "dev": 1, "test": 1, "pool": 0, "per_label": {}},
    )
    names = [label["name"] for label in labels]
    evaluation = {
        "n": 2, "accuracy": 0.5, "accuracy_interval": [0.1, 0.9], "macro_f1": 0.5, "labels": names,
        "per_class": [{"label": n, "precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 1} for n in names],
        "confusion": [[1, 0], [1, 0]], "ece": 0.1, "loss": 0.7,
    }  # fmt: skip
    for split in ("dev", "test"):
        Evaluation.objects.create(
            run=run,
            split=split,
            n=2,
            accuracy=0.5,
            accuracy_low=0.1,
            accuracy_high=0.9,
            macro_f1=0.5,
            data=evaluation,
        )
    return run


def objects_of(project: Any, *, number: int) -> dict[str, Any]:
    """One of everything that an address can name, all of `project`."""
    owner = project.created_by
    label = factories.make_label(project)
    factories.make_label(project)
    example = factories.make_example(project, label=label)
    factories.make_annotation(example, owner, label)
    folder = f"imports/{uuid.uuid4().hex}"
    source = settings.WANXING_HOME / folder / "source.txt"
    source.parent.mkdir(parents=True)
    source.write_text("一条文本\n", encoding="utf-8")
    (source.parent / "report.tsv").write_text("line\treason\n", encoding="utf-8")
    batch = factories.make_import_batch(
        project,
        path=f"{folder}/source.txt",
        report_path=f"{folder}/report.tsv",
        job=factories.make_job(project, status=JobStatus.SUCCEEDED),
    )
    run = make_run(project, number)
    Prediction.objects.create(project=project, example=example, model_id=run.pk, label=label, confidence=0.9)
    export = Export.objects.create(
        project=project,
        run=run,
        job=factories.make_job(project, JobKind.EXPORT, status=JobStatus.SUCCEEDED),
        format="onnx",
        filename="model-onnx.zip",
        passed=True,
    )
    export.folder.mkdir(parents=True, exist_ok=True)
    export.path.write_bytes(b"PK\x05\x06" + bytes(18))
    prediction = FilePrediction.objects.create(
        project=project,
        run=run,
        job=factories.make_job(project, JobKind.PREDICT_FILE, status=JobStatus.SUCCEEDED),
        filename="texts.txt",
        result_name="result.csv",
    )
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / "predictions.dev.jsonl").write_text("", encoding="utf-8")
    prediction.folder.mkdir(parents=True, exist_ok=True)
    (prediction.folder / "result.csv").write_text("text,label\n", encoding="utf-8")
    invitation, token = Invitation.issue(project=project, role=Role.VIEWER, created_by=owner)
    return {
        "project_id": project.pk,
        "label_id": label.pk,
        "example_id": example.pk,
        "comment_id": Comment.objects.create(project=project, example=example, user=owner, text="两可").pk,
        "batch_id": batch.pk,
        "number": run.number,
        "split": "dev",
        "kind": "errors",
        "comparison_id": make_comparison(project).pk,
        "export_id": export.pk,
        "prediction_id": prediction.pk,
        "job_id": run.job_id,
        "membership_id": project.memberships.exclude(user=owner).first().pk,
        "invitation_id": invitation.pk,
        "user_id": factories.make_user().pk,
        "token": token,
        "view_id": SavedView.objects.create(project=project, user=owner, name="view", shared=True).pk,
        "rule_id": Rule.objects.create(project=project, kind="contains", pattern="car", label=label).pk,
    }


def make_comparison(project: Any) -> PromptComparison:
    """A finished comparison of two templates."""
    labels = [{"id": label.pk, "name": label.name, "words": ["word"]} for label in project.labels.all()]
    share = {"right": 3, "n": 4, "value": 0.75, "low": 0.3, "high": 0.95}
    prompt = {"method": "cloze", "raw": share, "calibrated": share, "per_label": []}
    return PromptComparison.objects.create(
        project=project,
        job=factories.make_job(project, JobKind.COMPARE, status=JobStatus.SUCCEEDED),
        backbone="wanxing-small-zh",
        candidates=[
            {"name": "words", "template": template, "labels": labels}
            for template in ("{text}{mask}", "{mask}: {text}")
        ],
        result={
            "n": 4,
            "n_by_split": {"train": 4},
            "label_ids": [label["id"] for label in labels],
            "prompts": [prompt, prompt],
            "agreement": [[1.0, 0.5], [0.5, 1.0]],
            "pairs": [],
            "groups": [[0, 1]],
            "together": {"prompts": [0, 1], "right": 3, "accuracy": share},
        },
    )


def make_house(number: int = 1) -> House:
    project = factories.make_project()
    people = {role: factories.make_member(project, role) for role in MEMBERS}
    people["stranger"] = factories.make_user()
    people["administrator"] = factories.make_user(is_superuser=True)
    return House(people, objects_of(project, number=number))


@pytest.fixture
def house() -> House:
    return make_house()


def may(visitor: str, ability: str) -> bool:
    """Whether the table lets `visitor` in."""
    if ability == PUBLIC:
        return True
    if ability == SIGNED_IN:
        return visitor != "anonymous"
    if ability == ADMIN:
        return visitor == "administrator"
    return visitor in ABILITIES[ability]


def ask(house: House, visitor: str, method: str, url: str, row: Row) -> Any:
    """The answer; whatever the request changed in the database is taken back."""
    client = house.client(visitor)
    with transaction.atomic():
        response = client.get(url, row.query) if method == "get" else client.post(url, row.data)
        transaction.set_rollback(True)
    return response


def sent_to_sign_in(response: Any) -> bool:
    # With a way back: signing out leads to the same page, but wants no return.
    return response.status_code == 302 and response["Location"].startswith(f"{reverse('sign_in')}?next=")


def verdict(response: Any, visitor: str, ability: str | None, in_project: bool) -> str:
    """ "" when the answer is the one that the table asks for, else what is wrong."""
    status = response.status_code
    if visitor == "anonymous" and ability != PUBLIC:
        right = sent_to_sign_in(response) or status == 401
        return (
            "" if right or (ability is None and status == 405) else f"{status}, not sent to the sign-in page"
        )
    if ability is None:
        hidden = in_project and visitor in OUTSIDERS and status == 404
        return "" if status == 405 or hidden else f"{status}, the method is not in the table (405)"
    if may(visitor, ability):
        if (
            status in {401, 403, 404, 405}
            or status >= 500
            or (ability != PUBLIC and sent_to_sign_in(response))
        ):
            return f"{status}, kept out"
        return ""
    expected = 404 if in_project and visitor in OUTSIDERS else 403
    return "" if status == expected else f"{status}, should be {expected}"


def test_every_address_has_a_row() -> None:
    names = {address.name for address in ADDRESSES}
    assert names - TABLE.keys() == set(), "add rows to tests/web/access_table.py"
    assert TABLE.keys() - names == set(), "rows of addresses that do not exist"


@pytest.mark.parametrize("visitor", VISITORS)
def test_the_table_of_roles(house: House, visitor: str) -> None:
    wrong = []
    for address in ADDRESSES:
        row = TABLE.get(address.name)
        if row is None:
            continue
        for method, ability in (("get", row.get), ("post", row.post)):
            response = ask(house, visitor, method, house.url(address), row)
            problem = verdict(response, visitor, ability, "project_id" in address.parts)
            if problem:
                wrong.append(f"{visitor} {method.upper()} {address.name}: {problem}")
    assert wrong == []


def test_nothing_of_another_project_is_reached_through_ones_own(house: House) -> None:
    other = make_house(number=7)
    wrong = []
    for address in ADDRESSES:
        row = TABLE.get(address.name)
        foreign = {part: other.objects[part] for part in address.parts if part in other.objects}
        foreign.pop("project_id", None)
        if row is None or "project_id" not in address.parts or not foreign or not row.same_project:
            continue
        for method, ability in (("get", row.get), ("post", row.post)):
            response = ask(house, "owner", method, house.url(address, **foreign), row)
            if ability is not None and response.status_code != 404:
                wrong.append(f"{method.upper()} {address.name}: {response.status_code}")
    assert wrong == []


def test_anonymous_scripts_get_401_and_htmx_leaves_for_the_sign_in_page(house: House) -> None:
    url = reverse("projects")
    answer = Client().get(url, headers={"HX-Request": "true"})
    assert (answer.status_code, answer["HX-Redirect"]) == (401, reverse("sign_in"))
    assert Client().post(url, headers={"Sec-Fetch-Mode": "cors"}).status_code == 401
    assert sent_to_sign_in(Client().get(url))
