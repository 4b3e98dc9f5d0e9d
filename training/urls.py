from django.urls import URLPattern, path

from training.views import prompt_check

urlpatterns: list[URLPattern] = [
    path("p/<int:project_id>/prompt/check/", prompt_check.prompt_check, name="prompt_check"),
]
