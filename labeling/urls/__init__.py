"""Addresses of projects, texts, labels and labelling. Names are not namespaced: they are unique in the house."""

from labeling.urls import bulk, jobs, labelling, labels, projects, quality, texts

urlpatterns = [
    *jobs.urlpatterns,
    *projects.urlpatterns,
    *texts.urlpatterns,
    *labels.urlpatterns,
    *labelling.urlpatterns,
    *bulk.urlpatterns,
    *quality.urlpatterns,
]
