"""Which workers are alive, and what they do."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from labeler.models import Worker


def alive_since() -> datetime:
    """Who was seen after this moment is alive."""
    return timezone.now() - timedelta(seconds=settings.WORKER_MISSING_SECONDS)


def workers_alive(queue: str) -> list[Worker]:
    """Those that were seen lately and serve `queue`."""
    return [worker for worker in Worker.objects.filter(seen_at__gt=alive_since()) if queue in worker.queues.split(",")]


def idle_workers(queue: str) -> list[Worker]:
    return [worker for worker in workers_alive(queue) if not worker.doing]


def worker_is_alive(name: str) -> bool:
    return Worker.objects.filter(name=name, seen_at__gt=alive_since()).exists()


def beat_is_alive() -> bool:
    """Whether the sweep was sent lately. Beat keeps the times in memory and writes them every three minutes."""
    lately = timezone.now() - timedelta(minutes=10)
    return bool(PeriodicTask.objects.filter(name="sweep", last_run_at__gt=lately).exists())
