"""Work that a page asked for and a worker does. The database is the truth; the broker only carries ids."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from labeling.models.projects import Project


class JobStatus(models.TextChoices):
    QUEUED = "queued", _("排队中")
    RUNNING = "running", _("进行中")
    SUCCEEDED = "succeeded", _("完成")
    FAILED = "failed", _("失败")
    CANCELLED = "cancelled", _("已取消")


class JobKind(models.TextChoices):
    IMPORT = "import", _("导入")
    TRAIN = "train", _("训练")
    EXPORT = "export", _("导出")
    PREDICT_FILE = "predict_file", _("文件预测")
    PREDICT_POOL = "predict_pool", _("预测未标注池")
    COMPARE = "compare", _("比较提示")
    ZERO_SHOT = "zero_shot", _("零样本预标注")
    QUALITY = "quality", _("质量检查")
    EMBED = "embed", _("计算语义向量")
    APPLY_RULES = "apply_rules", _("应用规则")


FINISHED = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED)
HEARTBEAT_SECONDS = 5
HEART_STOPPED_AFTER = timedelta(seconds=45)
FORGOTTEN_AFTER = timedelta(seconds=60)
MAX_ATTEMPTS = 3
# One worker serves both (`workers.options`).
SHARED_QUEUES = ("data", "export")


class JobQuerySet(models.QuerySet["Job"]):
    def queued(self) -> JobQuerySet:
        return self.filter(status=JobStatus.QUEUED)

    def running(self) -> JobQuerySet:
        return self.filter(status=JobStatus.RUNNING)

    def active(self) -> JobQuerySet:
        return self.filter(status__in=[JobStatus.QUEUED, JobStatus.RUNNING])

    def forgotten(self, now: datetime) -> JobQuerySet:
        """Queued for a while and not handed to the broker lately: the message may be lost."""
        return self.queued().filter(enqueued_at__lt=now - FORGOTTEN_AFTER)


class Job(models.Model):
    """One job. Every move is one UPDATE filtered on the old status and the attempt: one row changed means
    it is yours, none means somebody else has it.

        QUEUED → RUNNING → SUCCEEDED | FAILED | CANCELLED     QUEUED → CANCELLED
        RUNNING → QUEUED with attempt + 1, by the sweep when the heart stopped
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="jobs")
    kind = models.CharField(max_length=16, choices=JobKind.choices)
    queue = models.CharField(max_length=16)
    status = models.CharField(max_length=10, choices=JobStatus.choices, default=JobStatus.QUEUED)
    attempt = models.PositiveIntegerField(default=1)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    enqueued_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=120, blank=True, help_text="host and process id")
    stage = models.CharField(max_length=40, blank=True)
    step = models.BigIntegerField(default=0)
    total = models.BigIntegerField(default=0)
    eta_seconds = models.FloatField(null=True, blank=True)
    error_code = models.CharField(max_length=60, blank=True)
    error_message = models.TextField(blank=True)
    error_hint = models.TextField(blank=True)
    error_detail = models.TextField(blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=JobStatus.values), name="job_status_known"),
            models.CheckConstraint(
                condition=~Q(status="running") | Q(heartbeat_at__isnull=False), name="running_job_has_a_heart"
            ),
        ]
        indexes = [
            models.Index(fields=["status", "heartbeat_at"], name="job_status_heart"),
            models.Index(fields=["project", "kind", "-id"], name="job_project_kind"),
            models.Index(fields=["created_by", "kind", "created_at"], name="job_rate"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} #{self.pk} {self.status}"

    @property
    def is_finished(self) -> bool:
        return self.status in FINISHED

    @property
    def seconds(self) -> float | None:
        """How long it ran, or has been running."""
        if self.started_at is None:
            return None
        return ((self.finished_at or timezone.now()) - self.started_at).total_seconds()

    @property
    def n_ahead(self) -> int:
        """Jobs that the same worker takes before this queued one, the running one among them."""
        if self.status != JobStatus.QUEUED:
            return 0
        first = Q(status=JobStatus.RUNNING) | Q(status=JobStatus.QUEUED, pk__lt=self.pk)
        return Job.objects.filter(first, queue__in=self._queues).exclude(pk=self.pk).count()

    @property
    def waits_long(self) -> bool:
        """Still queued after a quarter of a minute while no other job keeps its worker busy: perhaps none listens."""
        now = timezone.now()
        if self.status != JobStatus.QUEUED or now - self.created_at <= timedelta(seconds=15):
            return False
        beating = Job.objects.running().filter(heartbeat_at__gt=now - HEART_STOPPED_AFTER)
        return not beating.filter(queue__in=self._queues).exists()

    @property
    def _queues(self) -> tuple[str, ...]:
        return SHARED_QUEUES if self.queue in SHARED_QUEUES else (self.queue,)

    # Moves. Each returns whether this caller made it.

    def claim(self, *, worker: str) -> bool:
        """QUEUED → RUNNING for whoever comes first, unless the user has already cancelled."""
        now = timezone.now()
        return self._move(
            [JobStatus.QUEUED],
            JobStatus.RUNNING,
            extra=Q(cancel_requested_at__isnull=True),
            started_at=now,
            heartbeat_at=now,
            worker=worker[:120],
            stage="",
            step=0,
            total=0,
            eta_seconds=None,
        )

    def succeed(self) -> bool:
        return self._move(
            [JobStatus.RUNNING], JobStatus.SUCCEEDED, finished_at=timezone.now(), eta_seconds=None
        )

    def fail(self, *, code: str, message: str, hint: str = "", detail: str = "") -> bool:
        return self._move(
            [JobStatus.RUNNING, JobStatus.QUEUED],
            JobStatus.FAILED,
            finished_at=timezone.now(),
            eta_seconds=None,
            error_code=code[:60],
            error_message=message,
            error_hint=hint,
            error_detail=detail[-20_000:],
        )

    def cancelled(self) -> bool:
        """RUNNING → CANCELLED, said by the worker once the work has stopped."""
        return self._move(
            [JobStatus.RUNNING], JobStatus.CANCELLED, finished_at=timezone.now(), eta_seconds=None
        )

    def request_cancel(self) -> bool:
        """Ask for a stop: at once when still queued, else at the worker's next look (twice a second)."""
        if self._move([JobStatus.QUEUED], JobStatus.CANCELLED, finished_at=timezone.now()):
            return True
        changed = Job.objects.filter(
            pk=self.pk, status=JobStatus.RUNNING, cancel_requested_at__isnull=True
        ).update(cancel_requested_at=timezone.now())
        self.refresh_from_db()
        return bool(changed)

    def requeue(self, *, process_is_gone: bool = False) -> bool:
        """RUNNING → QUEUED as the next attempt: the sweep found that the heart stopped, or the process gone."""
        now = timezone.now()
        stopped = Q() if process_is_gone else Q(heartbeat_at__lt=now - HEART_STOPPED_AFTER)
        return self._move(
            [JobStatus.RUNNING],
            JobStatus.QUEUED,
            extra=stopped & Q(attempt__lt=MAX_ATTEMPTS),
            attempt=F("attempt") + 1,
            enqueued_at=now,
            heartbeat_at=None,
            worker="",
        )

    def beat(self, **progress: Any) -> bool:
        """Renew the heart and write progress; False when the job is no longer this attempt's, or is to stop.

        `progress` may hold stage, step, total, eta_seconds."""
        changed = Job.objects.filter(pk=self.pk, status=JobStatus.RUNNING, attempt=self.attempt).update(
            heartbeat_at=timezone.now(), **progress
        )
        for name, value in progress.items():
            setattr(self, name, value)
        return bool(changed)

    def still_wanted(self) -> bool:
        """Whether this attempt is still the running one and nobody asked it to stop."""
        return Job.objects.filter(
            pk=self.pk, status=JobStatus.RUNNING, attempt=self.attempt, cancel_requested_at__isnull=True
        ).exists()

    def record(self, type: str, **data: Any) -> None:
        """Append an event of this attempt."""
        JobEvent.objects.create(job=self, attempt=self.attempt, type=type, data=data)

    def _move(self, old: list[str], new: str, *, extra: Q | None = None, **values: Any) -> bool:
        with transaction.atomic():
            changed = (
                Job.objects.filter(extra or Q(), pk=self.pk, status__in=old, attempt=self.attempt)
            ).update(status=new, **values)
            if changed:
                JobEvent.objects.create(
                    job_id=self.pk,
                    attempt=self.attempt,
                    type="status",
                    data={"status": new, "code": values.get("error_code", "")},
                )
        if changed:
            self.refresh_from_db()
        return bool(changed)


class JobEvent(models.Model):
    """What happened to a job: moves, stages, metrics, warnings. Appended only."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events")
    attempt = models.PositiveIntegerField()
    type = models.CharField(max_length=16)
    data = models.JSONField(default=dict)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["job", "type", "id"], name="jobevent_job_type")]

    def __str__(self) -> str:
        return f"{self.type} {self.data}"
