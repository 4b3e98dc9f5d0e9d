"""The administrators' page about disk use."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from webapp import disk as house
from webapp.accounts.account_views import administrator_required

# kind → (what it is, what freeing it means); the second is "" where nothing can be freed.
WORDS = {
    "database": (gettext_lazy("数据库：文本、标注、结果"), ""),
    "runs": (gettext_lazy("训练出来的模型"), ""),
    "checkpoints": (
        gettext_lazy("训练检查点"),
        gettext_lazy("删除已结束的训练的检查点。模型和结果都留着。"),
    ),
    "exports": (
        gettext_lazy("导出包"),
        gettext_lazy("删除 7 天前的导出包文件。报告留着，需要时可以重新导出。"),
    ),
    "imports": (
        gettext_lazy("导入的原文件和报告"),
        gettext_lazy("删除已导入完的原文件。文本和导入报告都留着。"),
    ),
    "predictions": (
        gettext_lazy("文件预测的结果"),
        gettext_lazy("删除 7 天前的预测文件。需要时可以重新预测。"),
    ),
    "embeddings": (
        gettext_lazy("文本的语义向量"),
        gettext_lazy("删除语义向量。需要按意思查找时会自动重新计算。"),
    ),
    "backbones": (gettext_lazy("预训练模型"), ""),
    "logs": (gettext_lazy("日志"), gettext_lazy("删除已经写满换下来的旧日志。")),
    "backups": (gettext_lazy("数据库备份"), gettext_lazy("只留最新的一份备份。")),
    "other": (gettext_lazy("其他：静态文件、任务队列、临时文件"), ""),
}


@require_GET
@administrator_required
def disk(request: HttpRequest) -> HttpResponse:
    """Use by kind and by project, with a button where something can be freed."""
    total, available = house.disk()
    uses = house.usage()
    context = {
        "total_bytes": total,
        "available_bytes": available,
        "used_share": 1 - available / total if total else 0,
        "own_bytes": sum(use.size_bytes for use in uses),
        "rows": [{"use": use, "title": WORDS[use.kind][0], "meaning": WORDS[use.kind][1]} for use in uses],
        "projects": house.usage_by_project(),
        "home": house.home(),
    }
    return render(request, "accounts/disk.html", context)


@require_POST
@administrator_required
def disk_free(request: HttpRequest) -> HttpResponse:
    """Free one kind."""
    kind = request.POST.get("kind", "")
    if kind not in house.FREEABLE:
        return HttpResponse(status=400)
    freed = house.free(kind=kind)
    messages.success(request, _("腾出了 %(size)s。") % {"size": filesizeformat(freed)})
    return redirect("disk")
