"""A bundle runs where this program has never been, is the same bytes twice, and is opened with suspicion."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.bare_python import PINNED
from tests.unit.test_export import TEXTS, write_job
from tests.unit.tiny_models import LABELS, TinyModel
from training.fewshot import runner
from training.fewshot.bundle import archive, contents
from training.fewshot.export import run_export_job
from training.fewshot.export_errors import BundleError


@pytest.fixture(scope="module")
def model():
    return TinyModel(masks=2, views=2)


@pytest.fixture(scope="module")
def bundle(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    write_job(folder, model, TEXTS, name="新闻")
    (artifact,) = run_export_job(folder, lambda _: None, load=lambda _: model)["artifacts"]
    assert artifact["ok"], artifact
    return folder / artifact["file"]


@pytest.fixture
def unpacked(bundle, tmp_path):
    return archive.extract(bundle, tmp_path / "unpacked")


def run_bundle(python, root, *arguments):
    """infer.py in a process that knows nothing of this project."""
    return subprocess.run(
        [python, "-I", str(root / "infer.py"), *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
        cwd="/",
        check=False,
    )


def test_the_bundle_runs_without_paddle_paddlenlp_and_django(model, unpacked, bare_python, tmp_path):
    probe = (
        "import importlib.util as u; print([n for n in ('paddle','paddlenlp','django') if u.find_spec(n)])"
    )
    absent = subprocess.run([bare_python, "-I", "-c", probe], capture_output=True, text=True, check=True)
    assert absent.stdout.strip() == "[]"
    tested = run_bundle(bare_python, unpacked, "--self-test")
    assert tested.returncode == 0, tested.stderr
    assert "self-test passed: 12 texts" in tested.stdout
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    done = run_bundle(bare_python, unpacked, source, "--output", tmp_path / "out.jsonl")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    expected = model.predict_proba(TEXTS)
    assert [row["label"] for row in rows] == [LABELS[index]["name"] for index in expected.argmax(axis=1)]
    found = np.array([[row["proba"][label["name"]] for label in LABELS] for row in rows])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_three_lines_of_the_readme_run(unpacked, bare_python):
    lines = (unpacked / "README.zh.md").read_text(encoding="utf-8")
    code = lines.split("```python\n")[1].split("```")[0]
    assert (unpacked / "README.en.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[
        0
    ] == code
    done = subprocess.run(
        [bare_python, "-c", code], cwd=unpacked, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    assert any(label["name"] in done.stdout for label in LABELS)


def test_what_lies_in_a_bundle(unpacked):
    names = [path.relative_to(unpacked).as_posix() for path in archive.files_below(unpacked)]
    assert names == [
        "README.en.md",
        "README.zh.md",
        "SHA256SUMS",
        "calibration.json",
        "encoding.json",
        "infer.py",
        "labels.json",
        "onnx/model.onnx",
        "requirements.txt",
        "selftest.json",
        "template.json",
        "tokenizer.json",
        "versions.json",
    ]
    assert (unpacked / "infer.py").read_bytes() == Path(runner.__file__).read_bytes()
    assert (unpacked / "requirements.txt").read_text(encoding="utf-8").split() == PINNED
    versions = json.loads((unpacked / "versions.json").read_text(encoding="utf-8"))
    assert versions["backbone"] == {"name": "tiny", "hash": "ab" * 32}
    for readme in ("README.zh.md", "README.en.md"):
        text = (unpacked / readme).read_text(encoding="utf-8")
        assert "新闻,体育、财经\\|股票、科技" in text
        assert "| 这是{mask}{soft:。}{text} |" in text
        assert text.count("{") == 3


def test_the_same_model_makes_the_same_zip(model, bundle, tmp_path):
    write_job(tmp_path, model, TEXTS, name="新闻")
    (artifact,) = run_export_job(tmp_path, lambda _: None, load=lambda _: model)["artifacts"]
    assert (tmp_path / artifact["file"]).read_bytes() == bundle.read_bytes()


@pytest.mark.parametrize("name", ["labels.json", "tokenizer.json", "onnx/model.onnx", "infer.py"])
def test_a_changed_file_is_noticed_before_it_is_used(unpacked, name):
    content = bytearray((unpacked / name).read_bytes())
    content[-2] ^= 1
    (unpacked / name).write_bytes(content)
    with pytest.raises(runner.RunnerError, match=name):
        runner.Classifier.load(unpacked)


def test_a_self_test_notices_another_model(unpacked):
    expected = json.loads((unpacked / "selftest.json").read_text(encoding="utf-8"))
    classifier = runner.Classifier.load(unpacked)
    assert "passed" in runner.self_test(classifier, unpacked)
    expected["proba"][3] = expected["proba"][3][::-1]
    (unpacked / "selftest.json").write_text(json.dumps(expected), encoding="utf-8")
    with pytest.raises(runner.RunnerError, match="self-test failed"):
        runner.self_test(classifier, unpacked)


def entry(name, *, mode=stat.S_IFREG | 0o644):
    made = zipfile.ZipInfo(name)
    made.create_system = 3
    made.external_attr = mode << 16
    return made


def zipped(*entries):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for info, content in entries:
            made.writestr(info, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


ENCODING = (entry("b/encoding.json"), b"{}")
HOSTILE = {
    "parent": zipped(ENCODING, (entry("../evil"), b"x")),
    "parent inside": zipped(ENCODING, (entry("b/../../evil"), b"x")),
    "absolute": zipped(ENCODING, (entry("/tmp/evil"), b"x")),
    "backslash": zipped(ENCODING, (entry("b\\..\\evil"), b"x")),
    "drive": zipped(ENCODING, (entry("C:/evil"), b"x")),
    "link": zipped(ENCODING, (entry("b/link", mode=stat.S_IFLNK | 0o777), b"/etc/passwd")),
    "device": zipped(ENCODING, (entry("b/null", mode=stat.S_IFCHR | 0o666), b"")),
    "bomb": zipped(ENCODING, (entry("b/zeros"), bytes(300 << 20))),
    "many": zipped(ENCODING, *((entry(f"b/{number}"), b"") for number in range(300))),
    "twice": zipped(ENCODING, (entry("b/Encoding.json"), b"{}")),
    "no bundle": zipped((entry("readme.txt"), b"hello")),
    "two bundles": zipped(ENCODING, (entry("c/encoding.json"), b"{}")),
    "half": zipped(ENCODING, (entry("b/x"), os.urandom(5000)))[:3000],
    "no zip": b"PK\x03\x04 and nothing else",
    "empty": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_zip_is_refused_and_writes_nothing_outside(tmp_path, name):
    path = tmp_path / "given.zip"
    path.write_bytes(HOSTILE[name])
    inside = tmp_path / "deep" / "inside"
    inside.mkdir(parents=True)
    with pytest.raises(BundleError) as raised:
        archive.extract(path, inside)
    assert raised.value.code == "bad_bundle"
    outside = [found for found in tmp_path.rglob("*") if found.is_file() and inside not in found.parents]
    assert outside == [path]


@pytest.mark.parametrize("claimed", [None, 10])
def test_no_more_than_allowed_is_written_whatever_the_zip_claims(tmp_path, claimed):
    content = bytearray(zipped(ENCODING, (entry("b/big"), os.urandom(4 << 20))))
    if claimed is not None:
        directory = content.rindex(b"PK\x01\x02")
        content[directory + 24 : directory + 28] = claimed.to_bytes(4, "little")
    path = tmp_path / "given.zip"
    path.write_bytes(content)
    with pytest.raises(BundleError):
        archive.extract(path, tmp_path / "inside", max_bytes=1 << 20)
    found = [found.stat().st_size for found in (tmp_path / "inside").rglob("*") if found.is_file()]
    assert sum(found) <= 1 << 20


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("新闻 分类/1", "新闻-分类-1"),
        ("../../etc", "etc"),
        ("", "model"),
        ("...", "model"),
        ("a\0b\n", "a-b"),
        ("x" * 200, "x" * 80),
    ],
)
def test_names_become_file_names(given, safe):
    assert contents.safe_name(given) == safe
