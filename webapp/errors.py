"""Error pages. An unhandled error is logged with an id, and the page shows that id."""

import secrets
import sys
from typing import Any

import structlog
from django.http import HttpRequest, HttpResponse
from django.template import TemplateDoesNotExist
from django.template.loader import get_template, render_to_string
from django.utils.html import format_html

log = structlog.get_logger("webapp.errors")

# For when even the error page's template fails: no template, no database, no translation.
_LAST_RESORT = (
    '<!doctype html><html lang="zh-Hans"><meta charset="utf-8"><title>出错了</title>'
    "<h1>出错了 / Something went wrong</h1><p>错误编号 / Error id: <code>{}</code></p>"
    '<p><a href="/">回到首页 / Home</a></p></html>'
)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """400, for a request that cannot be read."""
    return _page(request, "errors/400.html", status=400)


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """403, for somebody who is signed in but may not."""
    return _page(request, "errors/403.html", status=403)


def page_not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """404, also for what belongs to a project that the person is no member of."""
    return _page(request, "errors/404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """500: logs the error in flight under a new id and shows that id, also as header X-Error-Id."""
    error_id = secrets.token_hex(4)
    log.error(
        "unhandled_error",
        error_id=error_id,
        method=request.method,
        path=request.path,
        user_id=_user_id(request),
        exc_info=sys.exc_info(),
    )
    try:
        response = _page(request, "errors/500.html", status=500, error_id=error_id)
    except Exception:
        log.exception("error_page_failed", error_id=error_id)
        response = HttpResponse(format_html(_LAST_RESORT, error_id), status=500)
    response["X-Error-Id"] = error_id
    return response


def csrf_failed(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 for a form without its CSRF token (CSRF_FAILURE_VIEW); a script is told so in a header."""
    response = _page(request, "errors/csrf.html", status=403)
    response["X-Wanxing-Reason"] = "csrf"
    return response


def _page(request: HttpRequest, template: str, *, status: int, **context: Any) -> HttpResponse:
    try:
        base = get_template("base.html")
    except TemplateDoesNotExist:
        base = get_template("errors/base.html")
    content = render_to_string(template, {**context, "errors_base": base}, request)
    return HttpResponse(content, status=status)


def _user_id(request: HttpRequest) -> int | None:
    # Asking for request.user may itself be what failed (no database): take only what is there.
    user = getattr(request, "_cached_user", None)
    return user.pk if user is not None else None
