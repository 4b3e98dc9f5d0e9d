"""English is complete: every source string is translated, and no page shows Chinese to who reads English."""

from __future__ import annotations

import ast
import gettext
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils.translation.template import templatize

from labeling.models import Label, LabelWord, Project, PromptTemplate
from tests import factories
from tests.web.access_table import ADMIN, TABLE
from tests.web.test_access import ADDRESSES, House, make_house
from training.fewshot.templates import CANDIDATES, LIBRARY

ROOT = Path(settings.BASE_DIR)
PO = ROOT / "locale/en/LC_MESSAGES/django.po"
MO = PO.with_suffix(".mo")
ROOMS = ("labeling", "training", "webapp", "workers")
# Ideographs and the full-width punctuation that goes with them.
CHINESE = re.compile(r"[\u3000-\u303f\u3400-\u9fff\uff01-\uff5e]")
# Examples of Chinese texts, words and templates that the English pages show on purpose.
EXAMPLES = (
    "以下是一条{mask}新闻。{text}",
    "news_car==汽车",
    "财经",
    "体育",
    "简体中文",
    # Label words that the library of templates names.
    *("教育", "法律", "很好", "不好", "满意", "失望", "查询", "退货", "是的", "不是", "也许"),
    *("相同", "不同", "所以", "但是"),
    *CANDIDATES,
    *(one for group in LIBRARY.values() for one in group),
)
NAMED = re.compile(r"%\((\w+)\)[\d.]*([a-z])|(%%)")
BRACED = re.compile(r"\{(\w+)\}")
CALLS = {
    "_": 0, "gettext": 0, "gettext_lazy": 0, "gettext_noop": 0, "ngettext": 0, "ngettext_lazy": 0,
    "pgettext": 1, "pgettext_lazy": 1,
}  # fmt: skip
QUOTED = r"""u?(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")"""
TEMPLATE_CALL = re.compile(rf"\b(n?p?gettext|_)\(\s*({QUOTED})(?:\s*,\s*({QUOTED}))?")

Key = tuple[str, str]  # context ("" for none), source string


def read_po() -> dict[Key, list[str]]:
    """{(context, source): translations}, more than one where the string has a plural; fuzzy entries are refused."""
    found: dict[Key, list[str]] = {}
    for block in PO.read_text(encoding="utf-8").split("\n\n")[1:]:
        values: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            assert not (line.startswith("#,") and "fuzzy" in line), block
            if match := re.fullmatch(r'(msg[\w\[\]]+) (".*")', line):
                name = match[1]
                values[name] = ast.literal_eval(match[2])
            elif line.startswith('"'):
                values[name] += ast.literal_eval(line)
        if "msgid" in values:
            key = (values.get("msgctxt", ""), values["msgid"])
            found[key] = [text for name, text in values.items() if name.startswith("msgstr")]
    return found


def sources() -> Iterator[tuple[Key, str]]:
    """Every string that the present sources hand to gettext, and the file it stands in."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                    at = CALLS.get(name)
                    if at is not None and len(node.args) > at:
                        words = [getattr(argument, "value", None) for argument in node.args[: at + 1]]
                        if all(isinstance(word, str) for word in words):
                            yield (str(words[0]) if at else "", str(words[at])), str(path.relative_to(ROOT))
    for path in sorted((ROOT / "templates").rglob("*.html")):
        for match in TEMPLATE_CALL.finditer(templatize(path.read_text(encoding="utf-8"))):
            first, second = (ast.literal_eval(found) if found else "" for found in match.groups()[1:])
            key = (first, second) if match[1] == "pgettext" else ("", first)
            yield key, str(path.relative_to(ROOT))


def test_every_source_string_is_translated() -> None:
    translated = read_po()
    found = list(sources())
    assert len(found) > 900
    assert any(context for (context, _source), _where in found)
    missing = sorted({f"{where}: {key[1]}" for key, where in found if key not in translated})
    assert missing == [], "run `make messages`, then translate what it added"


def test_every_entry_says_something_with_the_same_placeholders() -> None:
    wrong = []
    for (_context, source), texts in read_po().items():
        for text in texts:
            if not text.strip():
                wrong.append(f"untranslated: {source}")
            elif sorted(NAMED.findall(source)) != sorted(NAMED.findall(text)) or sorted(
                BRACED.findall(source)
            ) != sorted(BRACED.findall(text)):
                wrong.append(f"placeholders differ: {source} → {text}")
            rest = text
            for example in EXAMPLES:
                rest = rest.replace(example, "")
            if CHINESE.search(rest):
                wrong.append(f"Chinese in the English: {text}")
    assert wrong == []


def test_the_compiled_file_is_up_to_date() -> None:
    with MO.open("rb") as file:
        catalog: dict[Any, str] = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    compiled: dict[Key, dict[int, str]] = {}
    for key, text in catalog.items():
        whole, number = key if isinstance(key, tuple) else (key, 0)
        context, _, source = whole.rpartition("\x04")
        if source:
            compiled.setdefault((context, source), {})[number] = text
    written = {key: dict(enumerate(texts)) for key, texts in read_po().items()}
    assert compiled == written, "run `make messages`"


def chinese_in(page: str, data: list[str]) -> str:
    """The first Chinese in an answer, with what stands around it; "" when there is none.

    `data` is what people typed; the switch to Chinese and texts marked as Chinese are left out too."""
    page = re.sub(r"\\u([0-9a-f]{4})", lambda match: chr(int(match[1], 16)), page)
    page = re.sub(r"<!--.*?-->", "", page, flags=re.DOTALL)
    page = re.sub(r'<(\w+)\b[^>]*\blang="zh[^"]*"[^>]*>.*?</\1>', "", page, flags=re.DOTALL)
    for text in sorted({*data, *EXAMPLES}, key=len, reverse=True):
        page = page.replace(text, "")
    match = CHINESE.search(page)
    return page[max(0, match.start() - 60) : match.end() + 40] if match else ""


def typed_in(*projects: Project) -> list[str]:
    """Everything in the projects that a person typed."""
    found = []
    for project in projects:
        found.append(project.name)
        found += Label.objects.filter(project=project).values_list("name", flat=True)
        found += LabelWord.objects.filter(label__project=project).values_list("text", flat=True)
        found += PromptTemplate.objects.filter(project=project).values_list("text", flat=True)
        found += project.examples.values_list("text", flat=True)
        # The workbench shows a template in its parts.
        found += [part for text in found[:] for part in re.split(r"\{\w+\}", text) if part]
    return [text for text in found if text]


def english(user: Any = None) -> Client:
    client = Client(raise_request_exception=False)
    if user is not None:
        client.force_login(user)
    client.cookies[settings.LANGUAGE_COOKIE_NAME] = "en"
    return client


def walk(house: House, *, only: set[str]) -> list[str]:
    """Chinese on the pages that can be asked for with the parts in `only`."""
    project = Project.objects.get(pk=house.objects["project_id"])
    data = typed_in(project)
    wrong = []
    asked = 0
    for address in ADDRESSES:
        row = TABLE.get(address.name)
        if row is None or row.get is None or not set(address.parts) <= only:
            continue
        client = english(house.people["administrator" if row.get == ADMIN else "owner"])
        answer = client.get(house.url(address), row.query)
        if answer.status_code == 200 and answer["Content-Type"].startswith("text/html"):
            asked += 1
            found = chinese_in(answer.content.decode(), data)
            wrong += [f"{address.name}: …{found}…"] if found else []
    assert asked >= 10
    return wrong


@pytest.mark.django_db
def test_pages_of_a_project_with_everything_are_english() -> None:
    house = make_house()
    assert walk(house, only=set(house.objects)) == []


@pytest.mark.django_db
@pytest.mark.parametrize("filled", [False, True])
def test_pages_of_a_project_without_runs_are_english(filled: bool) -> None:
    project = factories.make_project()
    if filled:
        label = factories.make_label(project, words=("财经",))
        factories.make_label(project, words=("体育",))
        factories.make_example(project, label=label)
        factories.make_example(project)
    people = {"owner": project.created_by, "administrator": factories.make_user(is_superuser=True)}
    assert walk(House(people, {"project_id": project.pk}), only={"project_id"}) == []


@pytest.mark.django_db
def test_the_doors_and_the_errors_are_english() -> None:
    wrong = [chinese_in(english().get(reverse("welcome")).content.decode(), [])]
    user = factories.make_user()
    for client, url in (
        (english(), reverse("sign_in")),
        (english(), reverse("join", args=["no-such-invitation"])),
        (english(user), reverse("projects")),
        (english(user), "/no/such/address"),
        (english(user), reverse("people")),
    ):
        wrong.append(chinese_in(client.get(url).content.decode(), []))
    refused = english(user).post(reverse("project_new"), {"name": ""}).content.decode()
    assert 'lang="en"' in refused
    wrong.append(chinese_in(refused, []))
    wrong.append(chinese_in(english().post(reverse("sign_in"), {"username": "x"}).content.decode(), []))
    assert [found for found in wrong if found] == []


def test_scripts_and_styles_say_nothing_themselves() -> None:
    files = [*(ROOT / "static/js").glob("*.js"), *(ROOT / "static/css").glob("*.css")]
    assert files
    assert [path.name for path in files if CHINESE.search(path.read_text(encoding="utf-8"))] == []


def test_what_the_walk_would_catch() -> None:
    assert chinese_in('<p title="保存">x</p>', []) != ""
    assert chinese_in('<script>{"a": "\\u6807\\u7b7e"}</script>', []) != ""
    assert (
        chinese_in('<button lang="zh-hans">中文</button><p lang="zh">一条</p><td>我的</td>', ["我的"]) == ""
    )
