from django.urls import path

from labeling.views import desk, labelling

urlpatterns = [
    path("p/<int:project_id>/label/", labelling.label, name="label"),
    path("p/<int:project_id>/label/decide/", labelling.label_decide, name="label_decide"),
    path("p/<int:project_id>/label/decisions/", labelling.label_decisions, name="label_decisions"),
    path("p/<int:project_id>/label/next/", labelling.label_next, name="label_next"),
    path("p/<int:project_id>/label/lease/", labelling.label_lease, name="label_lease"),
    path("p/<int:project_id>/label/settings/", desk.label_settings, name="label_settings"),
    path("p/<int:project_id>/label/comments/<int:example_id>/", desk.label_comments, name="label_comments"),
    path("p/<int:project_id>/comments/<int:comment_id>/remove/", desk.comment_remove, name="comment_remove"),
    path("p/<int:project_id>/guidelines/", desk.guidelines_page, name="guidelines"),
]
