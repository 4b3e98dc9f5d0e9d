"""All addresses: accounts first, then each room's own."""

from django.urls import include, path

urlpatterns = [
    path("", include("webapp.accounts.urls")),
    path("", include("webapp.dashboard.urls")),
    path("", include("labeling.urls")),
    path("", include("training.urls")),
]

handler400 = "webapp.errors.bad_request"
handler403 = "webapp.errors.permission_denied"
handler404 = "webapp.errors.page_not_found"
handler500 = "webapp.errors.server_error"
