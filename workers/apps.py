from django.apps import AppConfig


class WorkersConfig(AppConfig):
    name = "workers"

    def ready(self) -> None:
        """Tell the services how a committed job reaches the broker; they never import this package."""
        from labeling import jobs
        from workers.enqueue import enqueue

        jobs.register_enqueue(enqueue)
