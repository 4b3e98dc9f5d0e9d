"""What every answer carries, and that no setting falls back to an unsafe one."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

ROOT = Path(__file__).resolve().parents[2]


def test_django_s_own_deployment_checks_pass_behind_https(bare_environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env={**bare_environment, "WANXING_HTTPS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/", "/no-such-page/", "/static/css/wanxing.css"])
def test_headers_of_every_answer(path: str) -> None:
    response = Client().get(path, follow=True)
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    if path.startswith("/static/"):
        return
    assert response["X-Frame-Options"] == "DENY"
    policy = {
        rule.split()[0]: rule.split()[1:]
        for rule in response["Content-Security-Policy"].split(";")
        if rule.strip()
    }
    assert "unsafe" not in response["Content-Security-Policy"]
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == ["'self'"]
    assert policy["default-src"] == ["'self'"]
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == ["'none'"]
    assert policy["img-src"] == ["'self'", "data:"]


@pytest.mark.django_db
def test_cookies_are_out_of_scripts_reach(client: Client, admin_user) -> None:
    client.post(reverse("sign_in"), {"username": admin_user.username, "password": "password"})
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


def test_cookies_are_secure_where_https_is(bare_environment: dict[str, str]) -> None:
    code = (
        "from django.conf import settings as s; print(s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.DEBUG)"
    )
    line = [sys.executable, "-c", code]
    base = {**bare_environment, "DJANGO_SETTINGS_MODULE": "webapp.settings"}
    plain = subprocess.run(line, cwd=ROOT, env=base, capture_output=True, text=True)
    https = subprocess.run(line, cwd=ROOT, env={**base, "WANXING_HTTPS": "1"}, capture_output=True, text=True)
    assert plain.stdout.split() == ["False", "False", "False"]
    assert https.stdout.split() == ["True", "True", "False"]


@pytest.mark.django_db
def test_no_other_host_is_answered() -> None:
    assert Client().get("/", headers={"host": "evil.example"}).status_code == 400


def test_files_of_the_data_folder_are_private(bare_environment: dict[str, str]) -> None:
    line = [sys.executable, "manage.py", "check"]
    assert subprocess.run(line, cwd=ROOT, env=bare_environment, capture_output=True).returncode == 0
    home = Path(bare_environment["WANXING_HOME"])
    assert home.stat().st_mode & 0o077 == 0
    assert (home / "secret").stat().st_mode & 0o077 == 0


def test_the_web_process_loads_neither_paddle_nor_onnx(bare_environment: dict[str, str]) -> None:
    code = (
        "import webapp.wsgi, sys; from django.urls import get_resolver; get_resolver().url_patterns;"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'paddle', 'paddlenlp', 'onnxruntime', 'torch'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=bare_environment, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr
