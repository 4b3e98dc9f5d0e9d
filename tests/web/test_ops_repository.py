"""What the repository promises of itself: licences, locks, make's targets, the kit for a machine without a network."""

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from django.core.management import call_command

from webapp.management.commands import offline_kit

ROOT = Path(__file__).resolve().parents[2]


def lock(name: str) -> dict[str, str]:
    """{package: version} of a lock file; every line must be one exact pin."""
    pins = {}
    for line in (ROOT / f"requirements/{name}.txt").read_text("utf-8").splitlines():
        match = re.fullmatch(r"([a-z0-9][a-z0-9._-]*)==([^\s;]+)( ; [^;]+)?", line)
        assert match, f"{name}.txt: {line!r} is not one exact pin"
        assert match.group(1) not in pins, f"{name}.txt pins {match.group(1)} twice"
        pins[match.group(1)] = match.group(2)
    return pins


def test_every_vendored_folder_is_in_third_party_with_its_licence() -> None:
    stated = (ROOT / "THIRD_PARTY.md").read_text("utf-8")
    for folder in (ROOT / "static/vendor").iterdir():
        if folder.is_dir():
            assert f"`static/vendor/{folder.name}/`" in stated
            assert list(folder.glob("LICENSE*")), folder
    versions = (ROOT / "static/vendor/VERSIONS.md").read_text("utf-8")
    for folder, version in re.findall(r"^\| (\w+) \| \S+ \| ([\d.]+) \|", versions, re.M):
        assert re.search(rf"`static/vendor/{folder}/`.*\| {re.escape(version)} \|", stated), folder
    assert "`tests/vendor/`" in stated
    assert "`training/fewshot/backbone/`" in stated


def test_the_locks_agree_and_hold_no_address() -> None:
    cpu, gpu, test = lock("cpu"), lock("gpu"), lock("test")
    assert set(cpu) - set(gpu) == {"paddlepaddle"}
    assert all(cpu[name] == version for name, version in gpu.items())
    assert all(cpu[name] == version for name, version in test.items() if name in cpu)
    for name in ("cpu", "gpu", "test"):
        assert "://" not in (ROOT / f"requirements/{name}.txt").read_text("utf-8")


@pytest.mark.parametrize("name", ["cpu", "test"])
def test_the_lock_holds_what_was_asked_for(name: str) -> None:
    pins = lock(name)
    sources = ["runtime", "cpu"] if name == "cpu" else ["test"]
    for source in sources:
        for line in (ROOT / f"requirements/{source}.in").read_text("utf-8").splitlines():
            match = re.fullmatch(r"([A-Za-z0-9_.-]+)(?:\[[^]]+\])?==(\S+)", line)
            if match:
                assert pins[match.group(1).lower().replace("_", "-")] == match.group(2)


def test_make_without_a_target_lists_the_targets() -> None:
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    listed = set(re.findall(r"^  make (\S+)", done.stdout, re.M))
    assert {"run", "test", "check", "bench", "fmt", "messages", "offline-kit", "doctor", "clean"} <= listed


def environment_script(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """requirements/environment.sh in a checkout of its own, with only these variables."""
    (folder / "requirements").mkdir(exist_ok=True)
    (folder / "requirements/environment.sh").write_text(
        (ROOT / "requirements/environment.sh").read_text("utf-8")
    )
    (folder / "requirements/cpu.txt").write_text("")
    line = ["sh", "requirements/environment.sh", "cpu"]
    return subprocess.run(line, cwd=folder, env=variables, capture_output=True, text=True)


def fake_python(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_a_missing_python_is_one_line(tmp_path: Path) -> None:
    for name in ("sh", "cat", "cksum", "dirname", "rm"):
        fake_python(tmp_path / "bin", name, f'exec /bin/{name} "$@"')
    done = environment_script(tmp_path, PATH=str(tmp_path / "bin"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Python 3.11" in done.stderr


def test_a_wrong_python_is_named(tmp_path: Path) -> None:
    fake_python(tmp_path / "bin", "python3", '[ "$1" = --version ] && echo "Python 3.9.2" && exit 0; exit 1')
    done = environment_script(tmp_path, PATH=f"{tmp_path / 'bin'}:/bin", PYTHON="python3")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Python 3.9.2" in done.stderr


def test_a_python_without_venv_is_named(tmp_path: Path) -> None:
    script = f'case "$*" in *ensurepip*) exit 1;; esac; exec "{sys.executable}" "$@"'
    fake_python(tmp_path / "bin", "python3", script)
    done = environment_script(tmp_path, PATH=f"{tmp_path / 'bin'}:/bin", PYTHON="python3")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "venv" in done.stderr


def test_the_environment_is_made_once_and_again_when_the_lock_changes(tmp_path: Path) -> None:
    variables = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable}
    first = environment_script(tmp_path, **variables)
    assert first.returncode == 0, first.stderr
    assert "建立 .venv" in first.stdout
    assert environment_script(tmp_path, **variables).stdout == ""
    (tmp_path / ".venv/.installed-cpu").write_text("of another lock")
    assert "安装" in environment_script(tmp_path, **variables).stdout


def test_the_offline_kit_installs_without_a_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A kit of one small package: unpacked, it holds the checkout, and make's script installs from it alone."""
    small = tmp_path / "small.txt"
    small.write_text(f"rules=={lock('cpu')['rules']}\n")
    call_command("offline_kit", output=tmp_path, requirements=small)
    assert "make run" in capsys.readouterr().out
    kit = tmp_path / offline_kit.kit_name()
    with tarfile.open(kit) as archive:
        archive.extractall(tmp_path / "there", filter="data")
    there = tmp_path / "there" / offline_kit.NAME
    tracked = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    assert all((there / name).exists() for name in tracked.stdout.split()[:50])
    assert [wheel.name.split("-")[0] for wheel in (there / "wheels").iterdir()] == ["rules"]
    (there / "requirements/cpu.txt").write_text(small.read_text())
    nowhere = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "PIP_INDEX_URL": "http://127.0.0.1:9/"}
    line = ["sh", "requirements/environment.sh", "cpu"]
    done = subprocess.run(line, cwd=there, env=nowhere, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    check = [str(there / ".venv/bin/python"), "-c", "import rules"]
    assert subprocess.run(check, cwd=there, capture_output=True).returncode == 0


SKIPS = """
import pytest
@pytest.mark.skipif(True, reason="Chromium is not installed")
def test_marked(): pass
def test_in_the_body(): pytest.skip("no PostgreSQL")
def test_without_data(): pytest.skip("WANXING_DATA: no FewCLUE data")
@pytest.mark.xfail
def test_expected(): assert False
def test_well(): pass
"""


@pytest.mark.parametrize(
    ("required", "outcome"),
    [
        ("0", {"passed": 1, "skipped": 4, "xfailed": 1}),
        # A skip before the test's body, and a file that skips as a whole, count as errors.
        ("1", {"passed": 1, "skipped": 1, "xfailed": 1, "failed": 1, "error": 2}),
    ],
)
def test_a_skip_is_a_failure_where_everything_is_required(
    tmp_path: Path, bare_environment: dict[str, str], required: str, outcome: dict[str, int]
) -> None:
    (tmp_path / "test_skips.py").write_text(SKIPS)
    (tmp_path / "test_whole_file.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    line = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "--ds=tests.settings", "--no-header"]
    done = subprocess.run(
        [
            *line,
            "-c",
            "/dev/null",
            "--rootdir",
            str(tmp_path),
            "--continue-on-collection-errors",
            str(tmp_path),
        ],
        cwd=ROOT,
        env={**bare_environment, "WANXING_REQUIRE_ALL": required},
        capture_output=True,
        text=True,
    )
    found = {
        word.rstrip("s") if word == "errors" else word: int(number)
        for number, word in re.findall(
            r"(\d+) (passed|skipped|xfailed|failed|errors?)", done.stdout.splitlines()[-1]
        )
    }
    assert found == outcome, done.stdout
