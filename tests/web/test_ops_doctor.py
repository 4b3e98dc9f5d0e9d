"""The doctor says what is missing, the report carries no text and no secret, errors carry an id."""

import json
import logging
import zipfile
from pathlib import Path

import pytest
from django.conf import settings
from django.core import checks
from django.core.management import call_command
from django.test import RequestFactory

from tests import factories
from webapp import env, errors, health, report, setup_code


@pytest.mark.django_db
def test_the_doctor_names_what_is_not_running(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        call_command("doctor")
    lines = capsys.readouterr().out.splitlines()
    assert end.value.code == 1
    assert any(line.startswith("✓ Python") for line in lines)
    assert any(line.startswith("✗ 工作进程 worker train") and "make run" in line for line in lines)
    assert any(line.startswith("✓ 数据库") for line in lines)
    assert any(line.startswith("✓ 底座模型") for line in lines)


def test_a_wrong_version_is_found(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(
        "django==1.0\nredis==8.1.0\nno-such-package==2\ntool-helpers==9 ; sys_platform == 'plan9'\n"
    )
    wrong = health.wrong_packages(lock)
    assert [line.split()[0] for line in wrong] == ["django", "no-such-package"]
    assert "locked 1.0" in wrong[0]


def test_a_damaged_backbone_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / health.backbones.SHIPPED_BACKBONE
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (tmp_path / "SHA256SUMS").write_text(
        "0" * 64 + "  config.json\n" + "1" * 64 + "  weights.int8.safetensors\n"
    )
    monkeypatch.setattr(health.backbones, "SHIPPED_FOLDER", tmp_path)
    monkeypatch.setattr(health.RegisteredBackbone.objects, "all", list)
    (finding,) = health._backbones()
    assert not finding.ok
    assert "config.json" in finding.found
    assert "weights.int8.safetensors" in finding.found


SECRET_TEXT = "患者主诉头痛三天"


@pytest.mark.django_db
def test_the_report_holds_no_text_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a log says, in a message, a value, a key or a plain line."""
    project = factories.make_project()
    factories.make_example(project, text=SECRET_TEXT)
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("WANXING_TRUSTED_ORIGINS", "https://secret.example")
    logs = Path(settings.WANXING_HOME) / "logs"
    logs.mkdir(exist_ok=True)
    log = logs / "hostile.log"
    entries = [
        {"event": SECRET_TEXT, "level": "error", "logger": "x"},
        {"event": "unhandled_error", "text": SECRET_TEXT, "error_id": "0123abcd", SECRET_TEXT: 1},
        {"event": "unhandled_error", "error_id": SECRET_TEXT, "logger": SECRET_TEXT, "level": SECRET_TEXT},
        {
            "event": "run_failed",
            "exception": [
                {
                    "exc_type": "ValueError",
                    "exc_value": SECRET_TEXT,
                    "frames": [
                        {"filename": "/home/li/a.py", "lineno": 3, "name": "f", "locals": {"t": SECRET_TEXT}}
                    ],
                }
            ],
        },
    ]
    log.write_text(
        "\n".join([SECRET_TEXT, *(json.dumps(entry, ensure_ascii=False) for entry in entries), "[1]", "{"])
    )
    try:
        report.write(tmp_path / "report.zip", health.look())
    finally:
        log.unlink()
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        content = {name: archive.read(name).decode() for name in archive.namelist()}
    whole = "\n".join(content.values())
    assert SECRET_TEXT not in whole
    assert json.dumps(SECRET_TEXT)[1:-1] not in whole
    assert settings.SECRET_KEY not in whole
    assert "secret.example" not in whole
    lines = [json.loads(line) for line in content["logs/hostile.jsonl"].splitlines()]
    assert [line["event"] for line in lines] == ["…", "unhandled_error", "unhandled_error", "run_failed"]
    assert lines[1]["error_id"] == "0123abcd"
    assert lines[3]["exception"] == [{"type": "ValueError", "frames": ["a.py:3 f"]}]
    assert json.loads(content["rows.json"])["labeling_example"] == 1


class Lines(logging.Handler):
    """Formats each record as the real handler would."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.getLogger().handlers[0].formatter)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.mark.django_db
def test_an_unhandled_error_is_logged_with_the_id_on_the_page(
    client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        text_of_a_user = SECRET_TEXT
        raise RuntimeError("broken") from KeyError(len(text_of_a_user))

    ours = next(h for h in logging.getLogger().handlers if h.__class__ is logging.StreamHandler)
    seen = Lines()
    seen.setFormatter(ours.formatter)
    logging.getLogger().addHandler(seen)
    monkeypatch.setattr("django.contrib.sessions.middleware.SessionMiddleware.process_request", fail)
    client.raise_request_exception = False
    try:
        response = client.get("/")
    finally:
        logging.getLogger().removeHandler(seen)
    assert response.status_code == 500
    error_id = response["X-Error-Id"]
    assert error_id in response.content.decode()
    entries = [json.loads(line) for line in seen.lines]
    (entry,) = [entry for entry in entries if entry["event"] == "unhandled_error"]
    assert entry["error_id"] == error_id
    assert entry["exception"][0]["exc_type"] == "RuntimeError"
    assert SECRET_TEXT not in json.dumps(entry, ensure_ascii=False)
    assert not [entry for entry in entries if "Internal Server Error" in entry["event"]]


def test_the_error_page_needs_no_template(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("no templates")

    monkeypatch.setattr(errors, "_page", broken)
    try:
        raise RuntimeError("first")
    except RuntimeError:
        response = errors.server_error(RequestFactory().get("/"))
    assert response.status_code == 500
    assert response["X-Error-Id"] in response.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("language", ["zh-hans", "en"])
def test_a_page_that_is_not_there(client, admin_user, language: str) -> None:
    client.force_login(admin_user)
    response = client.get("/no-such-page/", headers={"accept-language": language})
    assert response.status_code == 404
    assert 'href="/"' in response.content.decode()


def test_the_setup_code() -> None:
    setup_code.forget()
    assert setup_code.current() is None
    assert setup_code.accepts("")
    code = setup_code.ensure()
    try:
        assert setup_code.ensure() == code
        assert setup_code.accepts(f" {code.lower()} ")
        assert setup_code.accepts(code.replace("-", ""))
        for wrong in ("", code[:-1], "A" * 14, "完形" * 6):
            assert not setup_code.accepts(wrong)
    finally:
        setup_code.forget()
    assert setup_code.accepts("")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, set()),
        ({"HOST": "0.0.0.0"}, set()),
        ({"WANXING_TRUSTED_ORIGINS": "https://a.example"}, {"wanxing.W001"}),
        ({"WANXING_TRUSTED_ORIGINS": "https://a.example", "WANXING_HTTPS": "1"}, set()),
    ],
)
def test_system_checks(monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], expected: set[str]) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    found = {message.id for message in checks.run_checks(tags=["security", "database"])}
    assert {name for name in found if name.startswith("wanxing.")} == expected


def test_debug_where_others_can_reach_is_an_error(monkeypatch: pytest.MonkeyPatch, settings) -> None:
    settings.DEBUG = True
    monkeypatch.setenv("HOST", "0.0.0.0")
    assert "wanxing.E001" in {message.id for message in checks.run_checks(tags=["security"])}
    monkeypatch.setenv("HOST", "127.0.0.1")
    assert not env.read_flag("WANXING_HTTPS")
    assert "wanxing.E001" not in {message.id for message in checks.run_checks(tags=["security"])}
