"""Who works on a project: roles, invitations, leaving."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from labeling.models import Membership
from labeling.models.projects import Role
from labeling.permissions import ABILITIES, project_for
from labeling.services import activity
from labeling.services import members as service

_LINK = "invitation_link"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@never_cache
@require_GET
def members(request: HttpRequest, project_id: int) -> HttpResponse:
    """Members, open invitations, and what each role may do. A fresh link is shown this once."""
    project = project_for(request, project_id, "manage")
    link = request.session.pop(_LINK, None)
    if link is not None and link.get("project") != project.pk:
        link = None
    host = request.get_host().rsplit(":", 1)[0]
    context = {
        "project": project,
        "section": "members",
        "members": activity.activity_of(project),
        "invitations": service.open_invitations(project),
        "link": link,
        "only_this_machine": host in _LOOPBACK,
        "roles": Role.choices,
        "default_role": Role.ANNOTATOR.value,
        "role_columns": [label for _value, label in Role.choices],
        "role_rows": _role_rows(),
    }
    return render(request, "labeling/members.html", context)


@require_POST
def member_role(request: HttpRequest, project_id: int, membership_id: int) -> HttpResponse:
    """Give a member another role."""
    project = project_for(request, project_id, "manage")
    try:
        membership = service.change_role(
            project=project, membership_id=membership_id, role=request.POST.get("role", "")
        )
    except Membership.DoesNotExist as error:
        raise Http404("no such member") from error
    except service.MembersError as error:
        messages.error(request, str(error))
    else:
        words = {"who": membership.user, "role": membership.get_role_display()}
        messages.success(request, _("“%(who)s”现在是%(role)s。") % words)
        if membership.user_id == request.user.pk and membership.role != Role.OWNER:
            return redirect("project_home", project.pk)
    return redirect("members", project.pk)


@require_POST
def member_remove(request: HttpRequest, project_id: int, membership_id: int) -> HttpResponse:
    """Take a member out; their decisions stay."""
    project = project_for(request, project_id, "manage")
    try:
        membership = service.remove_member(project=project, membership_id=membership_id)
    except Membership.DoesNotExist as error:
        raise Http404("no such member") from error
    except service.LastOwner as error:
        messages.error(request, str(error))
        return redirect("members", project.pk)
    if membership.user_id == request.user.pk:
        messages.success(request, _("你已退出“%(project)s”。") % {"project": project})
        return redirect("projects")
    messages.success(request, _("“%(who)s”已移出项目，做过的标注都还在。") % {"who": membership.user})
    return redirect("members", project.pk)


@require_POST
def project_leave(request: HttpRequest, project_id: int) -> HttpResponse:
    """Leave a project oneself."""
    project = project_for(request, project_id, "open")
    try:
        service.leave_project(project=project, user=request.user)
    except service.LastOwner as error:
        messages.error(request, str(error))
        return redirect("account")
    messages.success(request, _("你已退出“%(project)s”。") % {"project": project})
    return redirect("account")


@require_POST
def invitation_new(request: HttpRequest, project_id: int) -> HttpResponse:
    """Make a single-use link. It waits in the session for the one page that shows it."""
    project = project_for(request, project_id, "manage")
    try:
        invitation, token = service.invite(
            project=project, role=request.POST.get("role", ""), by=request.user
        )
    except service.MembersError as error:
        messages.error(request, str(error))
    else:
        address = request.build_absolute_uri(reverse("join", args=[token]))
        role = invitation.get_role_display()
        request.session[_LINK] = {"project": project.pk, "address": address, "role": str(role)}
    return redirect("members", project.pk)


@require_POST
def invitation_revoke(request: HttpRequest, project_id: int, invitation_id: int) -> HttpResponse:
    """Withdraw a link that nobody has used."""
    project = project_for(request, project_id, "manage")
    if not project.invitations.filter(pk=invitation_id).exists():
        raise Http404("no such invitation")
    if service.revoke_invitation(project=project, invitation_id=invitation_id):
        messages.success(request, _("邀请已撤回，链接不再有效。"))
    else:
        messages.info(request, _("这个邀请已经被用掉了，没有可撤回的。"))
    return redirect("members", project.pk)


def _role_rows() -> list[tuple[str, list[bool]]]:
    """The contract's table of roles as the page explains it, from the one place that decides."""
    titles = {
        "open": _("看概览和标注规范"),
        "label": _("标注"),
        "read": _("看所有文本、结果和预测"),
        "review": _("批量改标、裁决分歧"),
        "setup": _("导入文本，改标签、标签词和提示模板"),
        "train": _("训练、预测、导出"),
        "download": _("下载导出包"),
        "manage": _("管理成员、设置，删除项目"),
    }
    return [(title, [role in ABILITIES[name] for role in Role.values]) for name, title in titles.items()]
