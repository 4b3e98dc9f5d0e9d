from django.urls import path

from labeling.views import labelling

urlpatterns = [
    path("p/<int:project_id>/label/", labelling.label, name="label"),
    path("p/<int:project_id>/label/decide/", labelling.label_decide, name="label_decide"),
    path("p/<int:project_id>/label/decisions/", labelling.label_decisions, name="label_decisions"),
    path("p/<int:project_id>/label/next/", labelling.label_next, name="label_next"),
    path("p/<int:project_id>/label/lease/", labelling.label_lease, name="label_lease"),
]
