"""Every page of the house in a real browser: no serious finding of axe, no script error, nothing that scrolls sideways."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from tests.e2e.accessibility import serious_findings
from tests.web.access_table import ADMIN, PUBLIC, TABLE
from tests.web.test_access import ADDRESSES, make_house

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
pytest.importorskip("playwright.sync_api")
SIZES = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.parametrize(
    ("scheme", "size"), [("light", "desk"), ("dark", "desk"), ("light", "phone"), ("dark", "phone")]
)
def test_no_page_has_a_serious_finding(browser: Any, live_server: Any, scheme: str, size: str) -> None:
    house = make_house()
    administrator = house.people["owner"]
    administrator.is_superuser = administrator.is_staff = True
    administrator.save()
    client = Client()
    client.force_login(administrator)
    context = browser.new_context(
        locale="zh-CN",
        base_url=live_server.url,
        viewport=SIZES[size],
        color_scheme=scheme,
        bypass_csp=True,
    )
    name = settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": live_server.url}])
    errors: list[str] = []
    context.on("weberror", lambda error: errors.append(str(error.error)))
    page = context.new_page()
    found: list[str] = []
    seen = 0
    for address in ADDRESSES:
        row = TABLE.get(address.name)
        if row is None or row.get is None or row.get == PUBLIC or address.name in NO_PAGES:
            continue
        url = house.url(address)
        if row.query:
            url += "?" + "&".join(f"{key}={value}" for key, value in row.query.items())
        answer = page.goto(url)
        assert answer is not None
        if "text/html" not in answer.headers.get("content-type", ""):
            continue
        if page.locator("html[lang]").count() == 0:
            continue  # a fragment: it is part of the pages that ask for it
        seen += 1
        assert answer.status < 400 or row.get == ADMIN, f"{address.name}: {answer.status}"
        found += [f"{address.name}: {one}" for one in serious_findings(page)]
        if (over := page.evaluate(SIDEWAYS)) > 0:
            found.append(f"{address.name}: {over} px wider than the window")
    context.close()
    assert found == []
    assert errors == []
    assert seen > 25


# Answers that a browser downloads.
NO_PAGES = {
    "texts_export", "annotation_log", "labels_file", "import_report", "run_predictions", "export_download",
    "file_prediction_download",
}  # fmt: skip
