"""Settings from the environment: one table of variables, strict readers. No Django here.

Every variable that the project reads is a row of `VARIABLES`; `docs/configuration.md` documents
each (a test compares the two), and reading one that is not in the table is a programming error.
"""

import ipaddress
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

PROJECT_ROOT = Path(__file__).resolve().parent.parent


# Binding to one of these answers on every address of the machine.
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - named, not bound to


class SettingError(Exception):
    """A variable of the environment has a value that cannot be used; the message names it."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of the environment: its name, default as text, and meaning in English."""

    name: str
    default: str
    meaning: str


_ROWS = (
    ("WANXING_HOME", "./.wanxing", "Folder of everything that is not code: database, models, uploads, logs."),
    ("HOST", "127.0.0.1", "Address the web server binds to; off loopback the first sign-up needs a code."),
    ("PORT", "8000", "Port of the web server."),
    ("DATABASE_URL", "", "postgres://user:password@host:port/name; empty: SQLite in WANXING_HOME."),
    ("REDIS_URL", "", "redis://, rediss:// or redis+socket:// of a Redis; empty: the embedded Valkey."),
    ("PPNLP_HOME", "", "Cache of PaddleNLP; empty: the folder paddlenlp in WANXING_HOME."),
    ("WANXING_ALLOWED_HOSTS", "", "Further host names that a browser may ask for, separated by commas."),
    ("WANXING_TRUSTED_ORIGINS", "", "Origins such as https://label.example.org, separated by commas."),
    ("WANXING_HTTPS", "0", "1 when a proxy in front ends TLS: cookies become Secure, HSTS is sent."),
    ("WANXING_DEBUG", "0", "1 shows tracebacks in the browser. Never on a machine that others reach."),
    ("WANXING_LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING or ERROR."),
    ("WANXING_UPLOAD_MAX_MB", "1024", "Largest file that may be uploaded, in MiB."),
    ("WANXING_WEB_THREADS", "8", "Requests that the web server answers at once."),
    ("WANXING_DATA", "../shared/data", "Tests only: folder with the FewCLUE data."),
    (
        "WANXING_REQUIRE_ALL",
        "0",
        "Tests only: 1 turns a skip for a missing browser or database into a failure.",
    ),
)
VARIABLES: dict[str, Variable] = {name: Variable(name, default, meaning) for name, default, meaning in _ROWS}


def read_text(name: str) -> str:
    """The variable's value without surrounding blanks; unset or blank gives its default."""
    value = os.environ.get(name, "").strip()
    return value or VARIABLES[name].default


def read_flag(name: str) -> bool:
    """True for 1, true, yes, on; False for 0, false, no, off; anything else raises SettingError."""
    value = read_text(name).lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    raise SettingError(name, f"{value!r} is neither 1 nor 0")


def read_integer(name: str, *, low: int, high: int) -> int:
    """The variable as an integer in [low, high]; anything else raises SettingError."""
    value = read_text(name)
    if not re.fullmatch(r"[0-9]{1,9}", value) or not low <= int(value) <= high:
        raise SettingError(name, f"{value!r} is not a whole number from {low} to {high}")
    return int(value)


def read_list(name: str) -> list[str]:
    """The variable's parts between commas, blanks removed, empty parts dropped."""
    return [part.strip() for part in read_text(name).split(",") if part.strip()]


def read_choice(name: str, choices: tuple[str, ...]) -> str:
    """The variable in capitals, one of `choices`; anything else raises SettingError."""
    value = read_text(name).upper()
    if value not in choices:
        raise SettingError(name, f"{value!r} is none of {', '.join(choices)}")
    return value


def home() -> Path:
    """WANXING_HOME, absolute; a relative value is relative to the project's folder. Creates nothing."""
    path = Path(read_text("WANXING_HOME")).expanduser()
    return path if path.is_absolute() else (PROJECT_ROOT / path).resolve()


def make_home() -> Path:
    """WANXING_HOME with its folders, created (mode 0700) where absent; SettingError when that is impossible."""
    path = home()
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("tmp", "run", "files"):
            (path / name).mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise SettingError("WANXING_HOME", f"cannot make the folder {path} ({error.strerror})") from error
    return path


def host() -> str:
    """HOST: an IP address or a host name."""
    value = read_text("HOST")
    if not re.fullmatch(r"[A-Za-z0-9.:_-]{1,253}", value):
        raise SettingError("HOST", f"{value!r} is not an address")
    return value


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach a server bound to `address`."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def port() -> int:
    """PORT, 1 to 65535."""
    return read_integer("PORT", low=1, high=65535)


def allowed_hosts() -> list[str]:
    """Host names that the web server answers to: loopback, HOST, and WANXING_ALLOWED_HOSTS.

    HOST=0.0.0.0 or :: binds every address of the machine and so accepts every name.
    """
    address = host()
    extra = read_list("WANXING_ALLOWED_HOSTS")
    if address in ANY_ADDRESS and not extra:
        return ["*"]
    own = f"[{address}]" if ":" in address else address
    return list(dict.fromkeys(["127.0.0.1", "localhost", "[::1]", own, *extra]))


def trusted_origins() -> list[str]:
    """WANXING_TRUSTED_ORIGINS; each must be scheme://host[:port]."""
    origins = read_list("WANXING_TRUSTED_ORIGINS")
    for origin in origins:
        if not re.fullmatch(r"https?://[A-Za-z0-9.*-]+(:[0-9]{1,5})?", origin):
            raise SettingError("WANXING_TRUSTED_ORIGINS", f"{origin!r} is not like https://label.example.org")
    return origins


def redis_url() -> str:
    """REDIS_URL, or "" for the embedded Valkey. Raises SettingError on another scheme or no address."""
    url = read_text("REDIS_URL")
    if not url:
        return ""
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss", "redis+socket"}:
        raise SettingError("REDIS_URL", "must start with redis://, rediss:// or redis+socket://")
    if parts.scheme == "redis+socket" and not parts.path:
        raise SettingError("REDIS_URL", "redis+socket:// needs the path of a socket")
    if parts.scheme != "redis+socket" and not parts.hostname:
        raise SettingError("REDIS_URL", "names no host")
    return url


_POSTGRES_OPTIONS = {"sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "application_name"}


def database(folder: Path) -> dict[str, object]:
    """Django's DATABASES["default"]: PostgreSQL as DATABASE_URL says, otherwise SQLite in `folder`."""
    url = read_text("DATABASE_URL")
    if url:
        return _postgres(url)
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(folder / "wanxing.sqlite3"),
        # Opening the file and setting it up anew for each request costs more than most requests.
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "timeout": 30,
            "transaction_mode": "IMMEDIATE",
            # FULL: in WAL mode NORMAL may lose the last commits at a power cut.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY;",
        },
    }


def _postgres(url: str) -> dict[str, object]:
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise SettingError("DATABASE_URL", "must start with postgres:// (leave it empty for SQLite)")
    name = unquote(parts.path.lstrip("/"))
    if not name or "/" in name:
        raise SettingError(
            "DATABASE_URL", "needs one database name after the host, as in postgres://u:p@host/name"
        )
    try:
        number = parts.port
    except ValueError as error:
        raise SettingError("DATABASE_URL", "has a port that is no number from 1 to 65535") from error
    options: dict[str, object] = dict(parse_qsl(parts.query, keep_blank_values=True))
    # ?host=/folder is how libpq writes a unix socket in an address.
    where = str(options.pop("host", "")) or unquote(parts.hostname or "")
    unknown = sorted(set(options) - _POSTGRES_OPTIONS)
    if unknown:
        raise SettingError(
            "DATABASE_URL", f"unknown option {unknown[0]!r}; known: {', '.join(sorted(_POSTGRES_OPTIONS))}"
        )
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": where,
        "PORT": str(number or ""),
        "CONN_MAX_AGE": 0,
        # Connections live in psycopg's pool; Django's own persistence would run out of them.
        "OPTIONS": {**options, "pool": {"min_size": 0, "max_size": 16, "timeout": 20}},
    }


def secret_key(folder: Path) -> str:
    """The secret in `folder`/secret, made at the first call (mode 0600, 64 random bytes)."""
    path = folder / "secret"
    try:
        key = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        key = _make_secret(path)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError("WANXING_HOME", f"cannot read {path} ({error})") from error
    if len(key) < 40:
        raise SettingError(
            "WANXING_HOME", f"{path} is too short to be a secret; delete it to have a new one made"
        )
    return key


def _make_secret(path: Path) -> str:
    # Several processes may start at once on a fresh folder: write aside, link, read what won.
    aside = path.with_name(f"secret.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(64))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise SettingError("WANXING_HOME", f"cannot write {path} ({error.strerror})") from error
