"""What axe finds on a page that is open in the browser."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

AXE = Path(__file__).resolve().parents[1] / "vendor" / "axe.min.js"
RUN = """async () => (await axe.run(document, {resultTypes: ['violations']})).violations
    .filter(one => one.impact === 'serious' || one.impact === 'critical')
    .map(one => `${one.id}: ${one.nodes.map(node => node.html.slice(0, 160)).join(' | ')}`)"""


@cache
def _source() -> str:
    return AXE.read_text(encoding="utf-8")


def serious_findings(page: Any) -> list[str]:
    """Serious and critical violations, one line a rule with the elements concerned."""
    page.evaluate(_source())
    found: list[str] = page.evaluate(RUN)
    return found
