from django.urls import path

from labeling.views import adjudication, quality

urlpatterns = [
    path("p/<int:project_id>/quality/", quality.quality_home, name="quality"),
    path("p/<int:project_id>/quality/adjudicate/", adjudication.adjudicate, name="adjudicate"),
    path("p/<int:project_id>/quality/lists/<slug:kind>/", quality.quality_list, name="quality_list"),
    path(
        "p/<int:project_id>/quality/lists/<slug:kind>/<int:example_id>/",
        quality.quality_decide,
        name="quality_decide",
    ),
]
