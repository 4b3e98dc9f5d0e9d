"""Whether a rule holds for a text. Pure; patterns come from people and may be hostile.

Regular expressions run in the `regex` package, which looks at the clock while it matches: one text may take
TEXT_SECONDS, and a rule that takes longer on some texts is refused as too slow instead of hanging anything.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence

import regex

from labeling.models.finding import PATTERN_LENGTH, RuleKind
from labeling.services.text_terms import fold

TEXT_SECONDS = 0.2
MAX_SLOW = 5
_COUNTS = regex.compile(r"\{[^{}]*\}")
_NUMBERS = regex.compile(r"\d+")
MAX_REPEAT = 100_000


class BadPattern(Exception):
    """The pattern cannot be used. `code`: empty, long, broken, slow; `detail` is the reason in the package's words."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code} {detail}".strip())
        self.code = code
        self.detail = detail


@dataclasses.dataclass
class Matcher:
    """One rule, ready. `slow` counts texts on which it ran out of time; after MAX_SLOW of them it raises BadPattern.

    `seconds` is the processor's time so far: a busy machine makes no rule slow."""

    holds_for: Callable[[str, str], bool]
    slow: int = 0
    seconds: float = 0.0

    def holds(self, text: str, folded: str) -> bool:
        """Whether the rule holds for `text`; `folded` is its `text_terms.fold`."""
        began = time.thread_time()
        try:
            return self.holds_for(text, folded)
        except TimeoutError:
            self.slow += 1
            if self.slow > MAX_SLOW:
                raise BadPattern("slow") from None
            return False
        finally:
            self.seconds += time.thread_time() - began


def matcher_of(kind: str, pattern: str, words: Sequence[str]) -> Matcher:
    """The rule's matcher; `words` are the label's words, for rules of that kind. Raises BadPattern."""
    if kind == RuleKind.WORD:
        wanted = [folded for word in words if (folded := fold(word).strip())]
        if not wanted:
            raise BadPattern("empty")
        return Matcher(lambda text, folded: any(word in folded for word in wanted))
    if not pattern.strip():
        raise BadPattern("empty")
    if len(pattern) > PATTERN_LENGTH:
        raise BadPattern("long")
    if kind == RuleKind.CONTAINS:
        word = fold(pattern).strip()
        return Matcher(lambda text, folded: word in folded)
    compiled = _compiled(pattern)

    def found(text: str, folded: str) -> bool:
        return compiled.search(text, timeout=TEXT_SECONDS) is not None

    return Matcher(found)


def _compiled(pattern: str) -> regex.Pattern[str]:
    # Nested ones multiply, and the package does not look at the clock while it compiles.
    counts = [int(n[:7]) for braces in _COUNTS.findall(pattern) for n in _NUMBERS.findall(braces)[-1:]]
    if math.prod(max(n, 1) for n in counts) > MAX_REPEAT:
        raise BadPattern("broken", f"counts that make more than {MAX_REPEAT} together")
    try:
        compiled = regex.compile(pattern, regex.IGNORECASE | regex.V0)
    except (regex.error, RecursionError, OverflowError, ValueError) as error:
        raise BadPattern("broken", str(error)) from None
    try:
        if compiled.search("", timeout=TEXT_SECONDS):
            raise BadPattern("broken", "it holds for an empty text, and so for all texts")
    except TimeoutError:
        raise BadPattern("slow") from None
    return compiled
