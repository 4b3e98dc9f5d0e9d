# 完形 · Wanxing. `make` lists what there is.
.DEFAULT_GOAL := help
.PHONY: help run test check bench fmt messages offline-kit doctor lock clean runtime testing

PY := .venv/bin/python

help: ## 列出命令 / this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: runtime ## 安装并启动，打印网址（PORT=8001 换端口）/ install and start
	@exec $(PY) manage.py up

test: testing ## 跑全部测试（ARGS="tests/web -x" 选一部分）/ run the tests
	@$(PY) -m pytest $(ARGS)

check: testing ## 格式、规范、类型、导入约束、Django 检查 / static checks
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) -c 'from importlinter.cli import lint_imports_command as main; main()' --no-cache
	@DJANGO_SETTINGS_MODULE=tests.settings $(PY) manage.py check --fail-level WARNING
	@DJANGO_SETTINGS_MODULE=tests.settings $(PY) manage.py makemigrations --check --dry-run

bench: testing ## 测速与准确率，几十分钟（BENCH=import 选一个）/ measurements
	@for file in tests/bench/$(or $(BENCH),*)_bench.py; do \
	  name=$$(basename $$file .py); echo "· $$name"; $(PY) -m tests.bench.$$name $(ARGS) || exit 1; done

fmt: testing ## 整理代码格式 / format the code
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

messages: testing ## 更新英文译文（需要 gettext）/ update locale/en
	@$(PY) manage.py makemessages -l en --no-obsolete --no-location --ignore .venv
	@$(PY) manage.py compilemessages -l en --ignore .venv

offline-kit: runtime ## 打包给没有网络的机器 / pack for a machine without a network
	@$(PY) manage.py offline_kit

doctor: runtime ## 检查环境（REPORT=问题报告.zip）/ what is there and what is not
	@$(PY) manage.py doctor $(if $(REPORT),--report $(REPORT))

lock: testing ## 重写依赖锁 / write the locks anew
	@.venv/bin/pip install --quiet uv && PATH="$(CURDIR)/.venv/bin:$$PATH" requirements/lock.sh

clean: ## 删除缓存与 .venv，不动数据 / remove caches and .venv, keep the data
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

runtime:
	@requirements/environment.sh cpu

testing:
	@requirements/environment.sh cpu test
