"""Which workers are alive, and what they do."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from labeler.models import Worker


def workers_alive(queue: str) -> list[Worker]:
    """Those that were seen lately and serve `queue`."""
    lately = timezone.now() - timedelta(seconds=settings.WORKER_MISSING_SECONDS)
    return [worker for worker in Worker.objects.filter(seen_at__gt=lately) if queue in worker.queues.split(",")]


def idle_workers(queue: str) -> list[Worker]:
    return [worker for worker in workers_alive(queue) if not worker.doing]
