from django.urls import path

from labeling.views import labels, prompt

urlpatterns = [
    path("p/<int:project_id>/labels/", labels.labels, name="labels"),
    path("p/<int:project_id>/labels/add/", labels.labels_add, name="labels_add"),
    path("p/<int:project_id>/labels/file/", labels.labels_file, name="labels_file"),
    path("p/<int:project_id>/labels/<int:label_id>/delete/", labels.label_delete, name="label_delete"),
    path("p/<int:project_id>/prompt/", prompt.template_save, name="template_save"),
    path("p/<int:project_id>/prompt/restore/", prompt.template_restore, name="template_restore"),
]
