"""Addresses of projects and their members. The list and a project's home are the web app's: they show runs."""

from django.urls import path

from labeling.views import members, projects

urlpatterns = [
    path("projects/new/", projects.project_new, name="project_new"),
    path("projects/sample/", projects.project_sample, name="project_sample"),
    path("p/<int:project_id>/delete/", projects.project_delete, name="project_delete"),
    path("p/<int:project_id>/leave/", members.project_leave, name="project_leave"),
    path("p/<int:project_id>/members/", members.members, name="members"),
    path("p/<int:project_id>/members/<int:membership_id>/role/", members.member_role, name="member_role"),
    path(
        "p/<int:project_id>/members/<int:membership_id>/remove/", members.member_remove, name="member_remove"
    ),
    path("p/<int:project_id>/invitations/", members.invitation_new, name="invitation_new"),
    path(
        "p/<int:project_id>/invitations/<int:invitation_id>/revoke/",
        members.invitation_revoke,
        name="invitation_revoke",
    ),
]
