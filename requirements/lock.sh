#!/bin/sh
# Write the locks anew (needs uv: `.venv/bin/pip install uv`). No headers: they would hold addresses of hosts.
# Markers that hold for every supported machine are cut, so that the rest stand out and macOS reads the same pins.
set -eu
cd "$(dirname "$0")/.."
for name in cpu test; do
  uv pip compile --universal --python-version 3.11 --no-header --no-annotate --quiet \
    "requirements/$name.in" -o "requirements/$name.txt" "$@"
  sed -i.bak -E \
    -e "s/python_full_version < '3.13' and //; s/ and sys_platform == 'linux'$//; s/^([^;]*) ; sys_platform == 'linux'$/\1/" \
    -e "s/ ; implementation_name != 'pypy'$//; s/ ; platform_python_implementation != 'PyPy'$//; s/^(hf-xet==[^ ]*).*/\1/" \
    "requirements/$name.txt"
  # No wheel for macOS, and imported only for pre-training corpora.
  sed -i.bak -E "s/^(tool-helpers==.*)/\1 ; sys_platform == 'linux'/" "requirements/$name.txt"
  rm "requirements/$name.txt.bak"
done
grep -v '^paddlepaddle==' requirements/cpu.txt > requirements/gpu.txt
