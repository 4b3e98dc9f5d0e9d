"""Settings from the environment: documented, strict, and loud about which variable is wrong."""

import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from webapp import env

ROOT = Path(__file__).resolve().parents[2]


def test_every_variable_is_documented() -> None:
    documented = set(
        re.findall(r"^\| `([A-Z_]+)`", (ROOT / "docs/configuration.md").read_text("utf-8"), re.M)
    )
    assert documented == set(env.VARIABLES)


def test_documented_defaults_are_the_real_ones() -> None:
    rows = re.findall(
        r"^\| `([A-Z_]+)` \| ([^|]*) \|", (ROOT / "docs/configuration.md").read_text("utf-8"), re.M
    )
    assert {name: default.strip().strip("`") for name, default in rows} == {
        name: variable.default for name, variable in env.VARIABLES.items()
    }


def test_no_module_reads_the_environment_past_the_table() -> None:
    """A variable of ours that is read anywhere must be in the table."""
    pattern = re.compile(
        r"""(?:environ(?:\.get)?|getenv)[\[(]\s*["'](WANXING_[A-Z_]+|HOST|PORT|REDIS_URL|DATABASE_URL)"""
    )
    internal = {"WANXING_SUPERVISOR", "WANXING_TEST_HOME"}
    read = {
        name
        for folder in ("webapp", "labeling", "training", "workers")
        for path in (ROOT / folder).rglob("*.py")
        for name in pattern.findall(path.read_text("utf-8"))
    }
    assert read - internal <= set(env.VARIABLES)


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("PORT", "0", env.port),
        ("PORT", "65536", env.port),
        ("PORT", "80a", env.port),
        ("PORT", "٣٣٣", env.port),
        ("HOST", "a b", env.host),
        ("HOST", "127.0.0.1/x", env.host),
        ("WANXING_DEBUG", "maybe", lambda: env.read_flag("WANXING_DEBUG")),
        ("WANXING_TRUSTED_ORIGINS", "label.example.org", env.trusted_origins),
        ("WANXING_TRUSTED_ORIGINS", "https://a.example, javascript://b", env.trusted_origins),
        ("REDIS_URL", "http://localhost", env.redis_url),
        ("REDIS_URL", "redis://", env.redis_url),
        ("REDIS_URL", "redis+socket://", env.redis_url),
        ("DATABASE_URL", "mysql://a/b", lambda: env.database(Path("/x"))),
        ("DATABASE_URL", "postgres://a", lambda: env.database(Path("/x"))),
        ("DATABASE_URL", "postgres://a/b/c", lambda: env.database(Path("/x"))),
        ("DATABASE_URL", "postgres://a:99999/b", lambda: env.database(Path("/x"))),
        ("DATABASE_URL", "postgres://a/b?evil=1", lambda: env.database(Path("/x"))),
        ("WANXING_UPLOAD_MAX_MB", "-1", lambda: env.read_integer("WANXING_UPLOAD_MAX_MB", low=1, high=9)),
        ("WANXING_LOG_LEVEL", "LOUD", lambda: env.read_choice("WANXING_LOG_LEVEL", ("INFO",))),
    ],
)
def test_a_wrong_value_is_refused_by_name(monkeypatch, name, value, read) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(env.SettingError, match=f"^{name}: "):
        read()


def test_a_blank_value_is_the_default(monkeypatch) -> None:
    monkeypatch.setenv("PORT", "  ")
    assert env.port() == 8000


def test_postgres_address_is_taken_apart(monkeypatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://u%40x:p%2Fw@db.example:5433/wan%20xing?sslmode=require")
    found = env.database(Path("/x"))
    assert found["ENGINE"] == "django.db.backends.postgresql"
    assert (found["USER"], found["PASSWORD"]) == ("u@x", "p/w")
    assert (found["HOST"], found["PORT"], found["NAME"]) == ("db.example", "5433", "wan xing")
    assert found["OPTIONS"]["sslmode"] == "require"
    assert found["CONN_MAX_AGE"] == 0


def test_postgres_by_socket(monkeypatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres:///wanxing?host=/run/postgresql")
    found = env.database(Path("/x"))
    assert found["HOST"] == "/run/postgresql"
    assert "host" not in found["OPTIONS"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("label.example.org", False),
    ],
)
def test_what_counts_as_loopback(host: str, expected: bool) -> None:
    assert env.is_loopback(host) is expected


def test_allowed_hosts(monkeypatch) -> None:
    monkeypatch.setenv("HOST", "192.168.1.5")
    monkeypatch.setenv("WANXING_ALLOWED_HOSTS", "label.example.org, ")
    assert env.allowed_hosts() == ["127.0.0.1", "localhost", "[::1]", "192.168.1.5", "label.example.org"]
    monkeypatch.setenv("HOST", "0.0.0.0")
    assert "*" not in env.allowed_hosts()
    monkeypatch.delenv("WANXING_ALLOWED_HOSTS")
    assert env.allowed_hosts() == ["*"]


def test_the_secret_is_random_private_and_kept(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    first = env.secret_key(one)
    assert env.secret_key(one) == first
    assert env.secret_key(two) != first
    assert len(first) >= 60
    assert stat.S_IMODE((one / "secret").stat().st_mode) == 0o600
    assert [path.name for path in one.iterdir()] == ["secret"]


def test_processes_that_start_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    code = f"from pathlib import Path; from webapp.env import secret_key; print(secret_key(Path({str(tmp_path)!r})))"
    started = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    assert len({process.communicate()[0] for process in started}) == 1


def test_a_short_secret_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("changeme")
    with pytest.raises(env.SettingError, match="too short"):
        env.secret_key(tmp_path)


def test_a_home_that_cannot_be_made_is_one_line(tmp_path: Path, bare_environment: dict[str, str]) -> None:
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={**bare_environment, "WANXING_HOME": str(tmp_path / "file" / "home")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("✗ WANXING_HOME: ")
    assert done.stderr.count("\n") == 1
