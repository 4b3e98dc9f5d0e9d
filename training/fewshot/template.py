"""Prompt templates: a plain form and the recipe's dict form, read by one safe parser into the same parts.

Plain form: ``以下是一条{mask}新闻。{text}`` with the parts {text} ({text_a}), {text_b}, {mask}, {mask:2},
{soft}, {soft:词}, {soft:3}, {sep}; ``{{`` and ``}}`` stand for braces. A sentence without parts means the text, then
that sentence as soft prompt, then the masks (hard words when no soft encoder is asked for).

Dict form: ``{'text':'text_a'}{'hard':'…'}{'mask'}{'soft':'…','length':3,'encoder':'lstm'}{'sep'}``.
Nothing typed by a person is ever evaluated.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from training.fewshot.errors import TemplateError, TemplateWithoutMask, TemplateWithoutText

KINDS = ("text", "hard", "soft", "mask", "sep", "cls")
MAX_TEMPLATE_CHARACTERS = 2000
MAX_SOFT_LENGTH = 256
MAX_MASKS = 32
_ATTRIBUTES = ("length", "truncate", "encoder", "hidden_size", "token_type", "position", "soft_id")
_TEXT_NAMES = {"text": "a", "text_a": "a", "text_b": "b", "a": "a", "b": "b"}


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of a template.

    `value` is the field ("a" or "b") of a text, the words of a hard part, or the words that a soft part starts
    from ("" for a random start). `length` counts tokens: of a soft part without words, or of masks (None: as many
    as the longest label word has). `soft_id` names soft parts that share their vectors.
    """

    kind: str
    value: str = ""
    length: int | None = None
    truncate: bool = True
    encoder: str | None = None
    hidden_size: int | None = None
    token_type: int = 0
    position: int | None = None
    soft_id: int | None = None


@dataclasses.dataclass(frozen=True)
class Template:
    """Parts in reading order. `parse` and `from_json` make only valid ones: a text, at most one place of masks."""

    parts: tuple[Part, ...]

    @property
    def has_mask(self) -> bool:
        return any(part.kind == "mask" for part in self.parts)

    @property
    def fields(self) -> tuple[str, ...]:
        """The texts it reads: ("a",) or ("a", "b")."""
        return tuple(sorted({part.value for part in self.parts if part.kind == "text"}))

    def require_mask(self) -> Template:
        """Itself; raises TemplateWithoutMask."""
        if not self.has_mask:
            raise TemplateWithoutMask("the template has no {mask}", fault="no_mask")
        return self

    def statement(self, word: str) -> str:
        """The prompt's own words with `word` in place of the masks and without the texts: 以下是一条汽车新闻。"""
        pieces = []
        for part in self.parts:
            if part.kind in ("hard", "soft"):
                pieces.append(part.value)
            elif part.kind == "mask":
                pieces.append(word)
        return "".join(pieces).strip()

    def to_json(self) -> list[dict]:
        """A list of dicts that holds what differs from a part's defaults."""
        plain = Part("hard")
        return [
            {
                key: value
                for key, value in dataclasses.asdict(part).items()
                if key in ("kind", "value") or value != getattr(plain, key)
            }
            for part in self.parts
        ]

    @classmethod
    def from_json(cls, values: list[dict]) -> Template:
        """The template that `to_json` wrote."""
        try:
            return _checked([Part(**value) for value in values])
        except TypeError as error:
            raise TemplateError(f"template.json: {error}") from error


@dataclasses.dataclass(frozen=True)
class _Piece:
    """Words, or the inside of one {…}; `start` and `end` are its place in the source, braces included."""

    value: str
    start: int
    end: int
    braced: bool


def parse(source: str, *, soft_encoder: str | None = None, hidden_size: int | None = None) -> Template:
    """The template written in `source`, in either form.

    `soft_encoder` and `hidden_size` are what soft parts use that name none themselves. Raises TemplateError; its
    detail names the `fault` and, where that has a place, `at` and `end`: indices into `source`. The page's editor
    (static/js/workbench_template.js) reads the same grammar; a test compares the two.
    """
    if len(source) > MAX_TEMPLATE_CHARACTERS:
        raise TemplateError(
            f"the template has {len(source)} characters, at most {MAX_TEMPLATE_CHARACTERS}",
            fault="too_long",
            at=MAX_TEMPLATE_CHARACTERS,
            end=len(source),
        )
    raw = _split(source)
    places: list[_Piece] | None = None
    if not any(piece.braced for piece in raw):
        sentence = "".join(piece.value for piece in raw).strip()
        if not sentence:
            raise TemplateError("the template is empty", fault="empty")
        kind = "soft" if soft_encoder else "hard"
        parts = [
            Part("text", "a"),
            _encoded(Part(kind, sentence), soft_encoder, hidden_size),
            Part("mask"),
        ]
    else:
        places = raw
        parts = []
        for piece in raw:
            try:
                parts.append(_encoded(_part(piece), soft_encoder, hidden_size))
            except TemplateError as error:
                error.detail.setdefault("at", piece.start)
                error.detail.setdefault("end", piece.end)
                raise
    return _checked(parts, places)


def places(source: str) -> list[tuple[int, int]]:
    """Where each part of a template that `parse` takes stands in `source`; empty for a bare sentence."""
    pieces = _split(source)
    return [(piece.start, piece.end) for piece in pieces] if any(one.braced for one in pieces) else []


def _checked(parts: list[Part], places: list[_Piece] | None = None) -> Template:
    """The template of `parts`; `places[i]` is where part i stands, for the errors."""

    def place(index: int) -> dict[str, Any]:
        return {} if places is None else {"at": places[index].start, "end": places[index].end}

    for index, part in enumerate(parts):
        if part.kind not in KINDS:
            raise TemplateError(f"unknown kind of part {part.kind!r}", fault="unknown_part", **place(index))
        limit = MAX_MASKS if part.kind == "mask" else MAX_SOFT_LENGTH
        if part.length is not None and not 1 <= part.length <= limit:
            raise TemplateError(
                f"length {part.length} is outside 1 to {limit}", fault="length", **place(index)
            )
        if part.token_type not in (0, 1):
            raise TemplateError(
                f"token_type {part.token_type} is neither 0 nor 1", fault="attribute", **place(index)
            )
        if part.kind == "soft" and not part.value and part.length is None:
            raise TemplateError("a soft part needs words or a length", fault="empty_soft", **place(index))
    masks = [index for index, part in enumerate(parts) if part.kind == "mask"]
    if len(masks) > 1 and any(parts[index].length is None for index in masks):
        raise TemplateError(
            "a template has one {mask}; it takes as many tokens as the longest label word",
            hint="Write {mask} once. {mask:2} asks for two tokens.",
            fault="two_masks",
            **place(masks[1]),
        )
    if sum(parts[index].length or 1 for index in masks) > MAX_MASKS:
        raise TemplateError(f"more than {MAX_MASKS} masks", fault="length", **place(masks[-1]))
    if not any(part.kind == "text" for part in parts):
        raise TemplateWithoutText("the template has no {text}", fault="no_text")
    return Template(tuple(parts))


def _encoded(part: Part, soft_encoder: str | None, hidden_size: int | None) -> Part:
    """A soft part with the encoder that it uses; other parts as they are."""
    if part.kind != "soft":
        return part
    return dataclasses.replace(
        part,
        encoder=_encoder(part.encoder if part.encoder is not None else soft_encoder),
        hidden_size=part.hidden_size if part.hidden_size is not None else hidden_size,
    )


def _encoder(name: str | None) -> str | None:
    if name in (None, "lstm", "mlp"):
        return name
    if name in ("none", "None"):
        return None
    raise TemplateError(f"soft encoder {name!r} is none of lstm, mlp, None", fault="attribute")


def _split(source: str) -> list[_Piece]:
    """The source as words and insides of {…}, in order, each with its place."""
    pieces: list[_Piece] = []
    words: list[str] = []
    at = begun = 0

    def end_words() -> None:
        if words:
            pieces.append(_Piece("".join(words), begun, at, braced=False))
            words.clear()

    while at < len(source):
        char = source[at]
        if not words:
            begun = at
        if char in "{}" and source[at : at + 2] == char * 2:
            words.append(char)
            at += 2
        elif char == "}":
            raise TemplateError(
                f"a }} without its {{ at character {at + 1}", fault="stray_brace", at=at, end=at + 1
            )
        elif char == "{":
            end = _closing(source, at)
            end_words()
            pieces.append(_Piece(source[at + 1 : end], at, end + 1, braced=True))
            at = end + 1
        else:
            words.append(char)
            at += 1
    end_words()
    return pieces


def _closing(source: str, start: int) -> int:
    quote = None
    at = start + 1
    inside = source[at:].lstrip()
    quoted = inside[:1] in "'\"" and inside != ""
    while at < len(source):
        char = source[at]
        if quote:
            if char == "\\":
                at += 1
            elif char == quote:
                quote = None
        elif quoted and char in "'\"":
            quote = char
        elif char == "}":
            return at
        elif char == "{":
            break
        at += 1
    raise TemplateError(
        f"the {{ at character {start + 1} is not closed", fault="not_closed", at=start, end=len(source)
    )


def _part(piece: _Piece) -> Part:
    if not piece.braced:
        return Part("hard", piece.value)
    inside, at = piece.value, piece.start + 1
    if inside.strip()[:1] in ("'", '"'):
        return _dict_part(_read_pairs(inside, at), at)
    name, colon, value = inside.partition(":")
    name = name.strip()
    if name in ("text", "text_a", "text_b") and not colon:
        return Part("text", _TEXT_NAMES[name])
    if name == "mask":
        return Part("mask", length=_count(value, at) if colon else None)
    if name == "soft":
        if not colon:
            return Part("soft", length=1)
        return Part("soft", length=int(value)) if value.strip().isdecimal() else Part("soft", value.strip())
    if name == "sep" and not colon:
        return Part("sep")
    raise TemplateError(
        f"unknown part {{{inside}}} at character {at}",
        hint="Parts are {text}, {text_b}, {mask}, {soft}, {soft:词}, {sep}; write {{ for a brace.",
        fault="unknown_part",
    )


def _count(value: str, at: int) -> int:
    if not value.strip().isdecimal() or len(value.strip()) > 4:
        raise TemplateError(f"{value!r} at character {at} is not a number", fault="length")
    return int(value)


def _dict_part(pairs: list[tuple[str, object]], at: int) -> Part:
    kinds = [(key, value) for key, value in pairs if key not in _ATTRIBUTES]
    if len(kinds) != 1:
        if not kinds and any(key == "soft_id" for key, _ in pairs):
            kinds = [("soft", None)]
        else:
            raise TemplateError(
                f"the part at character {at} does not name exactly one kind", fault="unknown_part"
            )
    kind, value = kinds[0]
    if kind not in KINDS:
        raise TemplateError(f"unknown kind of part {kind!r} at character {at}", fault="unknown_part")
    attributes = {key: item for key, item in pairs if key in _ATTRIBUTES}
    numbers = {
        key: _number(key, attributes.get(key), at)
        for key in ("length", "token_type", "position", "hidden_size", "soft_id")
    }
    truncate = attributes.get("truncate", True)
    if not isinstance(truncate, bool):
        raise TemplateError(
            f"truncate at character {at} is neither True nor False: {truncate!r}", fault="attribute"
        )
    encoder = attributes.get("encoder")
    if encoder is not None and not isinstance(encoder, str):
        raise TemplateError(f"encoder at character {at} is not a name: {encoder!r}", fault="attribute")
    if value is not None and not isinstance(value, str):
        raise TemplateError(
            f"the value of {kind!r} at character {at} is not a string: {value!r}", fault="attribute"
        )
    if kind == "text":
        if value not in _TEXT_NAMES:
            raise TemplateError(
                f"unknown text {value!r} at character {at}; text_a and text_b are known", fault="unknown_part"
            )
        value = _TEXT_NAMES[value]
    if kind == "soft" and not value and numbers["length"] is None:
        numbers["length"] = 1
    return Part(
        kind,
        value if isinstance(value, str) else "",
        length=numbers["length"],
        truncate=truncate,
        encoder=encoder,
        hidden_size=numbers["hidden_size"],
        token_type=numbers["token_type"] or 0,
        position=numbers["position"],
        soft_id=numbers["soft_id"],
    )


def _number(key: str, item: object, at: int) -> int | None:
    if item is None:
        return None
    if not isinstance(item, int) or isinstance(item, bool) or item < 0:
        raise TemplateError(f"{key} at character {at} is not a number: {item!r}", fault="attribute")
    return item


def _read_pairs(inside: str, at: int) -> list[tuple[str, object]]:
    """Reads ``'key': value, 'key'`` by hand; values are strings, whole numbers, True, False and None."""
    pairs: list[tuple[str, object]] = []
    pos = 0

    def blank() -> None:
        nonlocal pos
        while pos < len(inside) and inside[pos].isspace():
            pos += 1

    def string() -> str:
        nonlocal pos
        quote, out = inside[pos], []
        pos += 1
        while pos < len(inside):
            if inside[pos] == "\\" and pos + 1 < len(inside):
                out.append({"n": "\n", "t": "\t"}.get(inside[pos + 1], inside[pos + 1]))
                pos += 2
            elif inside[pos] == quote:
                pos += 1
                return "".join(out)
            else:
                out.append(inside[pos])
                pos += 1
        raise TemplateError(
            f"a quote near character {at + pos + 1} is not closed", fault="quoted", at=at + pos
        )

    while True:
        blank()
        if pos >= len(inside) or inside[pos] not in "'\"":
            raise TemplateError(
                f"a quoted name was expected at character {at + pos + 1}", fault="quoted", at=at + pos
            )
        key = string()
        value: object = None
        blank()
        if pos < len(inside) and inside[pos] == ":":
            pos += 1
            blank()
            if pos < len(inside) and inside[pos] in "'\"":
                value = string()
            else:
                end = pos
                while end < len(inside) and inside[end] not in ",":
                    end += 1
                word = inside[pos:end].strip()
                value = _literal(word, at + pos)
                pos = end
        if any(key == known for known, _ in pairs):
            raise TemplateError(
                f"{key!r} stands twice near character {at + pos + 1}", fault="quoted", at=at + pos
            )
        pairs.append((key, value))
        blank()
        if pos >= len(inside):
            return pairs
        if inside[pos] != ",":
            raise TemplateError(
                f"a comma was expected at character {at + pos + 1}", fault="quoted", at=at + pos
            )
        pos += 1


def _literal(word: str, at: int) -> object:
    names = {"True": True, "true": True, "False": False, "false": False, "None": None, "null": None}
    if word in names:
        return names[word]
    if word.isdecimal() and word.isascii() and len(word) <= 6:
        return int(word)
    raise TemplateError(
        f"{word!r} at character {at + 1} is not a string, a number, True, False or None",
        fault="quoted",
        at=at,
    )
