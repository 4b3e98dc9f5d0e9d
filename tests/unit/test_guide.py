"""The user guide says everything that there is to say, in both languages: flags, error codes, formats, links."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from labeling.files.rows import MAX_LABEL_CHARS, MAX_TEXT_CHARS
from labeling.job_words import ERRORS
from labeling.services.exports import FORMATS
from labeling.services.import_rows import MAX_TEXTS
from labeling.services.new_labels import MAX_LABELS
from training.fewshot import benchmark, cli, infer
from training.fewshot.parity import FP32
from training.services.prediction_files import MAX_ROWS

ROOT = Path(__file__).resolve().parents[2]
GUIDES = {name: ROOT / f"docs/guide/{name}.md" for name in ("zh", "en")}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in GUIDES.items()}

both = pytest.mark.parametrize("language", sorted(GUIDES))


def flags(parser: argparse.ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")}


@both
@pytest.mark.parametrize("door", [cli, infer, benchmark])
def test_every_flag_is_in_the_guide_and_no_other(language: str, door: object) -> None:
    offered = flags(door.parser()) - {"--help"}  # type: ignore[attr-defined]
    written = set(re.findall(r"`(--\w+)[^`]*`", TEXTS[language]))
    assert offered - written == set()
    known = {flag for each in (cli, infer, benchmark) for flag in flags(each.parser())} | {"--generate"}
    assert written - known == set()


@both
def test_the_defaults_in_the_table_are_those_of_the_command_line(language: str) -> None:
    cli.parser()
    table = TEXTS[language].split("cli --data_dir")[1].split("training.fewshot.infer")[0]
    written = dict(re.findall(r"^\| `--(\w+)` \| (.+?) \|", table, flags=re.MULTILINE))
    for name, default in cli.DEFAULTS.items():
        said = written[name]
        if default is None:
            assert said == "–", name
        elif isinstance(default, bool):
            assert said == "off", name
        elif isinstance(default, int | float):
            assert float(said) == default, name
        else:
            assert said.strip('`"') == default, name


@both
def test_every_error_code_is_in_the_table(language: str) -> None:
    written = set(re.findall(r"^\| `([a-z_]+)` \|", TEXTS[language], flags=re.MULTILINE))
    assert written == ERRORS.keys()


@both
def test_limits_and_formats_are_the_real_ones(language: str) -> None:
    text = TEXTS[language]
    for number in (MAX_TEXT_CHARS, MAX_TEXTS, MAX_ROWS, MAX_LABEL_CHARS, MAX_LABELS):
        assert f"{number:,}" in text
    assert f"{FP32.min_same_label_share:.1%}" in text
    assert str(FP32.max_abs_difference) in text
    for name in set(FORMATS) - {"recipe"}:
        assert name in text


@both
def test_links_lead_somewhere(language: str) -> None:
    path = GUIDES[language]
    headings = re.findall(r"^#+ (.+)$", TEXTS[language], flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    targets = re.findall(r"\]\(([^)]+)\)", TEXTS[language])
    assert f"{'en' if language == 'zh' else 'zh'}.md" in targets
    for target in targets:
        if target.startswith("#"):
            assert target[1:] in anchors, target
        else:
            assert (path.parent / target).is_file(), target


def test_both_guides_have_the_same_chapters() -> None:
    zh, en = (
        [line.count("#") for line in TEXTS[name].splitlines() if line.startswith("#")]
        for name in ("zh", "en")
    )
    assert zh == en
