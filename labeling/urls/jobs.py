from django.urls import path

from labeling.views import jobs

urlpatterns = [
    path("p/<int:project_id>/jobs/<int:job_id>/", jobs.job_status, name="job_status"),
    path("p/<int:project_id>/jobs/<int:job_id>/cancel/", jobs.job_cancel, name="job_cancel"),
]
