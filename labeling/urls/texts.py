from django.urls import path

from labeling.views import history, imports, similar, texts

urlpatterns = [
    path("p/<int:project_id>/texts/", texts.texts, name="texts"),
    path("p/<int:project_id>/texts/similar/", similar.similar_texts, name="similar"),
    path("p/<int:project_id>/texts/duplicates/", similar.duplicates, name="duplicates"),
    path("p/<int:project_id>/texts/vectors/", similar.embed, name="embed"),
    path("p/<int:project_id>/texts/views/", texts.view_save, name="view_save"),
    path("p/<int:project_id>/texts/views/<int:view_id>/delete/", texts.view_delete, name="view_delete"),
    path("p/<int:project_id>/texts/export/", texts.texts_export, name="texts_export"),
    path("p/<int:project_id>/texts/log/", history.annotation_log, name="annotation_log"),
    path("p/<int:project_id>/texts/<int:example_id>/history/", history.text_history, name="text_history"),
    path("p/<int:project_id>/texts/<int:example_id>/relabel/", texts.text_relabel, name="text_relabel"),
    path("p/<int:project_id>/import/", imports.import_new, name="import_new"),
    path("p/<int:project_id>/import/preview/", imports.import_preview, name="import_preview"),
    path("p/<int:project_id>/imports/<int:batch_id>/", imports.import_detail, name="import_detail"),
    path("p/<int:project_id>/imports/<int:batch_id>/report/", imports.import_report, name="import_report"),
]
