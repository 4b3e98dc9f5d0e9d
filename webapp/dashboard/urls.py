"""Addresses of the project list, a project's home and its settings."""

from django.urls import path

from webapp.dashboard import views

urlpatterns = [
    path("", views.projects, name="projects"),
    path("p/<int:project_id>/", views.project_home, name="project_home"),
    path("p/<int:project_id>/settings/", views.project_settings, name="project_settings"),
    path("p/<int:project_id>/settings/splits/", views.project_splits, name="project_splits"),
    path("p/<int:project_id>/settings/task/", views.project_task, name="project_task"),
    path("p/<int:project_id>/settings/overlap/", views.project_overlap, name="project_overlap"),
]
