"""Real texts that nobody tuned to, on any Debian machine: descriptions of packages, labelled by their archive section.

    python -m tests.bench.debian_texts --output D
    python -m training.fewshot.benchmark --data_dir D/en --methods probe,quick,finetune

Writes folders of the recipe: `two` (games or science, 16 texts each, English titles), `en` (some fifty sections, 8 texts each,
English titles), `en-long` (the same with whole descriptions, several hundred characters), `zh` (Chinese descriptions, a dozen
sections). One package of a source at most, so that no text has its twin in another split. Lists come from the machine's own
package sources, into a folder that is thrown away: the system is not touched.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ENGLISH = {
    "admin": "system administration",
    "cli-mono": "Mono",
    "comm": "communication",
    "database": "database",
    "debug": "debug symbols",
    "devel": "development tool",
    "doc": "documentation",
    "editors": "editor",
    "electronics": "electronics",
    "fonts": "font",
    "games": "game",
    "gnome": "GNOME",
    "gnu-r": "R statistics",
    "golang": "Go",
    "graphics": "graphics",
    "hamradio": "amateur radio",
    "haskell": "Haskell",
    "httpd": "web server",
    "interpreters": "interpreter",
    "introspection": "introspection",
    "java": "Java",
    "javascript": "JavaScript",
    "kde": "KDE",
    "kernel": "kernel",
    "libdevel": "development files",
    "libs": "library",
    "lisp": "Lisp",
    "localization": "translation",
    "mail": "mail",
    "math": "mathematics",
    "metapackages": "metapackage",
    "net": "network",
    "ocaml": "OCaml",
    "otherosfs": "emulator",
    "perl": "Perl",
    "php": "PHP",
    "python": "Python",
    "ruby": "Ruby",
    "rust": "Rust",
    "science": "science",
    "sound": "sound",
    "tasks": "task",
    "tex": "TeX",
    "text": "text processing",
    "utils": "utility",
    "vcs": "version control",
    "video": "video",
    "web": "web",
    "x11": "X window",
    "xfce": "Xfce",
}
CHINESE = {
    "admin": "系统管理",
    "devel": "编程",
    "doc": "文档",
    "fonts": "字体",
    "games": "游戏",
    "gnome": "桌面",
    "graphics": "图像",
    "kde": "界面",
    "libdevel": "头文件",
    "libs": "函数库",
    "net": "网络",
    "python": "脚本语言",
    "text": "文字处理",
    "utils": "工具",
    "x11": "窗口",
}
SEED = 7


def lists(scratch: Path) -> dict[str, list[dict[str, str]]]:
    """The stanzas of "Packages", "Translation-en" and "Translation-zh_CN" of the machine's main source."""
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True)
    options = [f"Dir::State={scratch}/state", f"Dir::Cache={scratch}/cache", "Acquire::Languages=zh_CN,en"]
    subprocess.run(["apt-get", *(f"-o{option}" for option in options), "update"], check=True)
    found = {}
    for name in ("Packages", "Translation-en", "Translation-zh_CN"):
        files = [
            path
            for path in (scratch / "state/lists").iterdir()
            if name in path.name.replace("%5f", "_") and "security" not in path.name
        ]
        largest = max(files, key=lambda path: path.stat().st_size)
        told = subprocess.run(
            ["/usr/lib/apt/apt-helper", "cat-file", str(largest)], check=True, capture_output=True
        )
        found[name] = list(stanzas(told.stdout.decode("utf-8")))
    return found


def stanzas(content: str) -> Iterator[dict[str, str]]:
    """Each stanza's fields; a field of several lines keeps them."""
    for block in content.split("\n\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in block.split("\n"):
            if line.startswith(" "):
                fields[name] += "\n" + line.strip()
            elif ":" in line:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        if fields:
            yield fields


def write(
    folder: Path, texts: list[tuple[str, str, str]], words: dict[str, str], *, learn: int, answer: int
) -> None:
    """A folder of the recipe from (text, section, source): `learn` texts a section in train and in dev, up to `answer` in
    test, the rest in the pool; sections with too few texts are left out."""
    by_section: dict[str, list[str]] = defaultdict(list)
    seen: set[str] = set()
    texts = sorted(texts)
    random.Random(SEED).shuffle(texts)
    for text, section, source in texts:
        if section in words and source not in seen and text.lower() not in seen and len(text) >= 8:
            seen |= {source, text.lower()}
            by_section[section].append(text)
    kept = [section for section in words if len(by_section[section]) >= 2 * learn + 8]
    lines: dict[str, list[str]] = {"label": [f"{section}=={words[section]}" for section in kept]}
    for name, start, end in (
        ("train", 0, learn),
        ("dev", learn, 2 * learn),
        ("test", 2 * learn, 2 * learn + answer),
    ):
        lines[name] = [f"{text}\t{section}" for section in kept for text in by_section[section][start:end]]
    lines["data"] = [text for section in kept for text in by_section[section][2 * learn + answer :]]
    folder.mkdir(parents=True, exist_ok=True)
    for name, found in lines.items():
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in found), encoding="utf-8")
    print(
        f"{folder}: {len(kept)} labels, " + ", ".join(f"{name} {len(found)}" for name, found in lines.items())
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True)
    output = parser.parse_args().output
    with tempfile.TemporaryDirectory() as scratch:
        found = lists(Path(scratch))
    about = {
        one["Package"]: (one.get("Section", ""), one.get("Source", one["Package"]).split()[0])
        for one in found["Packages"]
    }

    def told(language: str, *, whole: bool) -> list[tuple[str, str, str]]:
        texts = []
        for one in found[f"Translation-{language}"]:
            description = one.get(f"Description-{language}", "").split("\n")
            parts = [line for line in description if line not in ("", ".")] if whole else description[:1]
            texts.append((" ".join(parts).replace("\t", " "), *about.get(one["Package"], ("", ""))))
        return texts

    titles = told("en", whole=False)
    two = {name: ENGLISH[name] for name in ("games", "science")}
    write(output / "two", titles, two, learn=16, answer=300)
    write(output / "en", titles, ENGLISH, learn=8, answer=40)
    write(output / "en-long", told("en", whole=True), ENGLISH, learn=8, answer=20)
    write(output / "zh", told("zh_CN", whole=True), CHINESE, learn=8, answer=40)


if __name__ == "__main__":
    main()
