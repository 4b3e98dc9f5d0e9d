from django.urls import path

from labeling.views import bulk, rules

urlpatterns = [
    path("p/<int:project_id>/bulk/", bulk.bulk_label, name="bulk"),
    path("p/<int:project_id>/bulk/undo/", bulk.bulk_undo, name="bulk_undo"),
    path("p/<int:project_id>/rules/", rules.rules, name="rules"),
    path("p/<int:project_id>/rules/preview/", rules.rule_preview, name="rule_preview"),
    path("p/<int:project_id>/rules/apply/", rules.rules_apply, name="rules_apply"),
    path("p/<int:project_id>/rules/<int:rule_id>/withdraw/", rules.rule_withdraw, name="rule_withdraw"),
    path("p/<int:project_id>/rules/<int:rule_id>/delete/", rules.rule_delete, name="rule_delete"),
]
