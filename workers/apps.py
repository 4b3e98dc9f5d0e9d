from django.apps import AppConfig


class WorkersConfig(AppConfig):
    name = "workers"

    def ready(self) -> None:
        """Tell the services how a committed job, or a question, reaches the broker.

        They never import this package; this is the one place where the two meet."""
        from labeling import jobs
        from labeling.services import probe_requests, similar
        from training.services import devices, live
        from workers.announce import announced_devices
        from workers.enqueue import ask_probe, enqueue
        from workers.live import ask
        from workers.nearest import nearest

        jobs.register_enqueue(enqueue)
        probe_requests.register_probe(ask_probe)
        live.register_live(ask)
        similar.register_nearest(nearest)
        devices.register_devices(announced_devices)
