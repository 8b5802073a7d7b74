"""The Celery app. The database is the truth; messages only wake workers, so results are not kept."""

import os

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES

TRANSPORT_ALIASES["folder"] = "labeler.file_broker:Transport"
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "labeler.settings")

app = Celery("plusminus")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["labeler"])


def _add_heartbeat() -> None:
    from labeler.workers import HeartbeatStep

    app.steps["worker"].add(HeartbeatStep)


_add_heartbeat()
