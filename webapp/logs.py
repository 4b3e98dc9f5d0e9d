"""Logs: one JSON object a line on standard error.

The supervisor keeps each process's lines in WANXING_HOME/logs, in files that rotate: one writer a
file, which several processes sharing a rotating file would not be. Without the supervisor the lines
go where standard error goes.

Events of our own are names (`run_failed`, `unhandled_error`), and details are separate keys, so that
`doctor --report` can keep the names and drop the rest.
"""

import logging.config
from typing import Any

import structlog

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]

# Local variables of a traceback hold users' texts: never in a log.
_traceback = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=30)
)


class OnceOnly(logging.Filter):
    """Drops django.request's own records of an unhandled error: `webapp.errors` logs it with its id."""

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(record, "status_code", None) != 500


def configuration(*, level: str, debug: bool) -> dict[str, Any]:
    """A logging dictConfig. `debug`: lines for a person at a terminal instead of JSON."""
    ending: list[Any] = (
        [structlog.dev.ConsoleRenderer(colors=False)]
        if debug
        else [_traceback, structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"once_only": {"()": OnceOnly}},
        "formatters": {
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _SHARED,
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"level": level},
            "django.request": {"filters": [] if debug else ["once_only"]},
            "django.server": {"handlers": ["stderr"], "level": level, "propagate": False},
            "axes": {"level": "WARNING"},
        },
    }


def configure(config: dict[str, Any]) -> None:
    """Apply a dictConfig and make structlog write through it (Django's LOGGING_CONFIG)."""
    logging.config.dictConfig(config)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
