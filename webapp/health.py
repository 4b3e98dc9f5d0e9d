"""What is there and what is not: the checks of `manage.py doctor`.

A check returns findings and changes nothing. A finding that is not `ok` says what to do; one that is
not `needed` is worth knowing and stops nothing.
"""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection
from redis.exceptions import RedisError

from training.fewshot import backbone_store, backbones
from training.models import RegisteredBackbone
from webapp import env, startup
from workers import announce, options

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MEMORY_NEEDED_BYTES = 3 * 2**30  # a training subprocess beside the rest
DISK_WANTED_BYTES = 2 * 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor: what was looked at, what was found, and what to do if it is not well."""

    subject: str
    found: str
    ok: bool
    needed: bool = True
    remedy: str = ""

    def line(self) -> str:
        """The line for a terminal: ✓ well, ✗ to be mended, – absent and not needed."""
        mark = "✓" if self.ok else "✗" if self.needed else "–"
        return f"{mark} {self.subject}：{self.found}" + (
            f"  → {self.remedy}" if self.remedy and not self.ok else ""
        )

    def as_dict(self) -> dict[str, object]:
        """The finding as JSON."""
        return asdict(self)


def look() -> list[Finding]:
    """Every finding, in the order in which a person would look."""
    return [finding for check in _CHECKS for finding in check()]


def _python() -> list[Finding]:
    found = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    right = sys.version_info[:2] in startup.PYTHON_VERSIONS
    return [Finding("Python", found, right, remedy="安装 Python 3.11 或 3.12，删除 .venv，再 make run")]


def wrong_packages(lock: Path) -> list[str]:
    """Packages whose installed version is not the lock's: "name 1.0 (locked 1.1)"; absent ones say so."""
    wrong = []
    for line in lock.read_text(encoding="utf-8").splitlines():
        pin, _, marker = line.partition(";")
        match = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", pin.strip())
        if not match or marker.strip():  # a pin for some machines only
            continue
        name, version = match.groups()
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = "没有装 / absent"
        if found != version:
            wrong.append(f"{name} {found} (locked {version})")
    return wrong


def _packages() -> list[Finding]:
    name = "gpu" if "gpu" in announce.devices_here() else "cpu"
    lock = settings.BASE_DIR / "requirements" / f"{name}.txt"
    wrong = wrong_packages(lock)
    found = "、".join(wrong[:5]) + (f" 等 {len(wrong)} 个" if len(wrong) > 5 else "")
    return [
        Finding("依赖 packages", found or f"与 {lock.name} 一致", not wrong, remedy="删除 .venv，再 make run")
    ]


def _broker() -> list[Finding]:
    server = settings.BROKER
    where = "内嵌 Valkey / embedded" if server.embedded else server.without_password()
    try:
        with server.client(timeout_seconds=3) as client:
            waiting = {
                group.name: sum(client.llen(queue) for queue in group.queues)
                for group in options.WORKER_GROUPS
            }
    except (RedisError, OSError) as error:
        remedy = "用 make run 启动" if server.embedded else "检查 REDIS_URL"
        return [
            Finding("队列服务 broker", f"{where} 没有回答（{type(error).__name__}）", False, remedy=remedy)
        ]
    queued = "，".join(f"{name} {count}" for name, count in waiting.items())
    return [Finding("队列服务 broker", f"{where}；等待中 waiting: {queued}", True)]


def _workers() -> list[Finding]:
    alive = announce.live_workers()
    findings = []
    for group in options.WORKER_GROUPS:
        names = [str(worker["name"]) for worker in alive if set(group.queues) <= set(worker["queues"])]
        findings.append(
            Finding(
                f"工作进程 worker {group.name}",
                "、".join(names) or "没有在运行 / not running",
                bool(names),
                remedy="用 make run 启动；已经启动的话看 logs/ 里它的日志",
            )
        )
    return findings


def _database() -> list[Finding]:
    kind = connection.vendor
    try:
        pending = startup.pending_migrations()
    except DatabaseError as error:
        return [
            Finding(
                "数据库 database",
                f"{kind} 打不开（{type(error).__name__}）",
                False,
                remedy="检查 DATABASE_URL",
            )
        ]
    if pending:
        return [
            Finding(
                "数据库 database",
                f"{kind}，{len(pending)} 步未升级",
                False,
                remedy="用 make run 启动会自动升级",
            )
        ]
    return [Finding("数据库 database", f"{kind}，已是最新 / up to date", True)]


def _backbones() -> list[Finding]:
    folder = backbones.SHIPPED_FOLDER
    damaged = []
    try:
        sums = backbone_store.read_checksums(folder / "SHA256SUMS")
    except OSError:
        sums, damaged = {}, ["SHA256SUMS"]
    for name, digest in sums.items():
        path = folder / backbones.SHIPPED_BACKBONE / name
        if not path.is_file() or backbone_store.sha256_of(path) != digest:
            damaged.append(name)
    findings = [
        Finding(
            f"底座模型 backbone {backbones.SHIPPED_BACKBONE}",
            f"损坏或缺少：{'、'.join(damaged)}" if damaged else "完好 / whole",
            not damaged,
            remedy="重新取出这些文件：git checkout -- training/fewshot/backbone",
        )
    ]
    try:
        registered = list(RegisteredBackbone.objects.all())
    except DatabaseError:
        registered = []
    for backbone in registered:
        there = Path(backbone.path).is_dir()
        found = "在 / there" if there else "文件夹不见了 / folder is gone"
        findings.append(
            Finding(f"登记的底座 {backbone.name}", found, there, needed=False, remedy=backbone.path)
        )
    return findings


def gpu_names() -> list[str]:
    """The NVIDIA cards that the driver lists; [] without a driver."""
    program = shutil.which("nvidia-smi")
    if not program:
        return []
    line = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return []
    return [name.strip() for name in done.stdout.splitlines() if name.strip()] if done.returncode == 0 else []


def _gpu() -> list[Finding]:
    cards = gpu_names()
    if not cards:
        return [Finding("GPU", "没有；在 CPU 上训练 / none, training on the CPU", False, needed=False)]
    usable = "gpu" in announce.devices_here()
    remedy = "装 CUDA 版 Paddle，见 docs/configuration.md"
    found = "、".join(cards) + ("" if usable else "（Paddle 是 CPU 版）")
    return [Finding("GPU", found, usable, needed=False, remedy=remedy)]


def _disk() -> list[Finding]:
    usage = shutil.disk_usage(settings.WANXING_HOME)
    found = f"剩 {usage.free / 2**30:.1f} GiB，共 {usage.total / 2**30:.0f} GiB"
    return [
        Finding(
            "磁盘 disk", found, usage.free > DISK_WANTED_BYTES, remedy="清出至少 2 GiB，或另设 WANXING_HOME"
        )
    ]


def _memory() -> list[Finding]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = os.cpu_count() or 1
    found = f"{total / 2**30:.1f} GiB，{cores} 核 / cores"
    return [Finding("内存 memory", found, total > MEMORY_NEEDED_BYTES, remedy="训练至少需要约 3 GiB 内存")]


def _for_tests() -> list[Finding]:
    browser = next((name for name in BROWSERS if shutil.which(name)), None)
    server = shutil.which("initdb") or any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return [
        Finding(
            "测试用 Chromium",
            browser or "没有 / none",
            bool(browser),
            needed=False,
            remedy="apt install chromium",
        ),
        Finding(
            "测试用 PostgreSQL",
            "有 / there" if server else "没有 / none",
            bool(server),
            needed=False,
            remedy="apt install postgresql",
        ),
    ]


def _reachability() -> list[Finding]:
    host = env.host()
    if env.is_loopback(host):
        return [Finding("监听 address", f"{host}:{env.port()}，只有本机能访问 / this machine only", True)]
    return [
        Finding(
            "监听 address",
            f"{host}:{env.port()}，其他机器能访问"
            + ("，HTTPS" if env.read_flag("WANXING_HTTPS") else "，没有 HTTPS"),
            env.read_flag("WANXING_HTTPS"),
            needed=False,
            remedy="前面放一个提供 HTTPS 的反向代理，并设 WANXING_HTTPS=1",
        )
    ]


_CHECKS: tuple[Callable[[], list[Finding]], ...] = (
    _python,
    _packages,
    _broker,
    _workers,
    _database,
    _backbones,
    _gpu,
    _disk,
    _memory,
    _reachability,
    _for_tests,
)
