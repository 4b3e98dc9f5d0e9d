from django.apps import AppConfig


class TrainingConfig(AppConfig):
    name = "training"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from labeling.services.projects import register_deletion
        from labeling.services.prompt_changes import register_listener
        from labeling.services.words import register_template_check
        from training.services.deletion import delete_runs_of
        from training.services.prelabelling import refresh_if_stale
        from training.services.prompt_check import template_problem

        register_template_check(template_problem)
        register_deletion(delete_runs_of)
        register_listener(refresh_if_stale)
