#!/bin/sh
# Make .venv and install the pinned requirements: `environment.sh [cpu|test] …`. Quiet and quick when
# nothing changed. Every problem is one line with what to do.
set -eu
cd "$(dirname "$0")/.."

right_version='import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 12) else 1)'
fail() { echo "✗ $1" >&2; exit 1; }

find_python() {
  without_venv=
  for name in ${PYTHON:-python3.12 python3.11 python3 python}; do
    "$name" -c "$right_version" >/dev/null 2>&1 || continue
    if "$name" -c 'import ensurepip, venv' >/dev/null 2>&1; then
      echo "$name"
      return
    fi
    without_venv=${without_venv:-$name}
  done
  [ -z "$without_venv" ] || fail "$without_venv 缺少 venv 模块。Debian/Ubuntu：apt install $("$without_venv" -c \
    'import sys; print("python%d.%d-venv" % sys.version_info[:2])') / $without_venv lacks the venv module."
  found=$(python3 --version 2>/dev/null || echo "没有 / none")
  fail "需要 Python 3.11 或 3.12（现有：$found）。装好后再试，或用 PYTHON=/路径/python3.11 make … 指明。 / Python 3.11 or 3.12 is needed."
}

if ! .venv/bin/python -c "$right_version" >/dev/null 2>&1; then
  python=$(find_python)
  echo "· 用 $python 建立 .venv / making .venv"
  rm -rf .venv
  "$python" -m venv .venv || fail "不能建立 .venv（磁盘已满或没有写权限？）/ cannot make .venv"
fi

for name in "${@:-cpu}"; do
  stamp=.venv/.installed-$name
  sum=$(cksum < "requirements/$name.txt")
  [ "$(cat "$stamp" 2>/dev/null || true)" != "$sum" ] || continue
  from=
  if [ -d wheels ] && [ "$name" != test ]; then from="--no-index --find-links wheels"; fi
  echo "· 安装 requirements/$name.txt（第一次需要几分钟）/ installing, minutes the first time"
  # The lock names every package, so nothing is to be resolved.
  total=$(grep -c == "requirements/$name.txt" || true)
  # shellcheck disable=SC2086 - $from is several words or none
  { .venv/bin/python -m pip install --disable-pip-version-check --no-deps $from -r "requirements/$name.txt" \
    && : > .venv/.pip-succeeded; } | awk -v total="$total" -v screen="$([ -t 1 ] && echo 1)" '
      /^(Collecting|Processing|Requirement already)/ { n++; if (screen) printf "\r  %d/%d %-60s", n, total, substr($2, 1, 60) }
      /^Installing/ { if (screen) printf "\r  %-70s", "写入 .venv / writing" }
      END { if (screen) print "" }'
  [ -e .venv/.pip-succeeded ] || fail "依赖没有装好：没有网络时请用 make offline-kit 做的安装包；再看磁盘空间。 / The requirements could not be installed."
  rm .venv/.pip-succeeded
  echo "$sum" > "$stamp"
done
