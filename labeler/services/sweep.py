"""Every few seconds: what was lost is sent again, what stalled goes to others, what is due starts.

Idempotent, and harmless when it runs twice at once: every part is made of conditional updates.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta

from django.db import DatabaseError
from django.db.models import Q

from labeler import clock
from labeler.models import Round, RoundState, Worker
from labeler.selectors.workers import idle_workers
from labeler.services import (
    claims,
    class_changes,
    exporting,
    features,
    graphs,
    lease,
    maps,
    networks,
    notice_mails,
    notices,
    predicting,
    quality,
    replays,
    reruns,
    rollback,
    serving,
    tokens,
    triggers,
    uploads,
    webhook_deliveries,
)
from labeler.wake import wake

logger = logging.getLogger(__name__)
RESEND_SECONDS = 10  # a message that nobody took for so long is sent again


def sweep() -> dict[str, int]:
    """Run every part; one that fails is logged and does not stop the others. Returns what each did."""
    parts: list[Callable[[], int]] = [
        claims.give_up_stalled,
        wake_learners,
        uploads.sweep_imports,
        exporting.sweep_exports,
        class_changes.sweep_class_changes,
        maps.sweep_maps,
        graphs.sweep_graphs,
        features.sweep_features,
        replays.sweep_replays,
        reruns.sweep_reruns,
        serving.sweep_model_exports,
        serving.prepare_models_in_charge,
        predicting.sweep_predictions,
        rollback.sweep_charge,
        triggers.start_due_rounds,
        notices.refresh_left,
        notices.note_others,
        networks.sweep_networks,
        quality.sweep_quality,
        notice_mails.sweep_mails,
        webhook_deliveries.sweep_webhooks,
        tokens.forget_replies,
        lease.free_expired_leases,
        forget_old_workers,
    ]
    did = {}
    for part in parts:
        try:
            did[part.__name__] = part()
        except (DatabaseError, ArithmeticError, LookupError, TypeError, ValueError, OSError):
            logger.exception("The sweep could not do %s", part.__name__)
    return did


def wake_learners() -> int:
    """Send messages again for rounds that wait while a learner is idle. Busy ones need none: the next sweep finds them
    idle. So messages do not pile up while no worker is there."""
    if not idle_workers("learner"):
        return 0
    now = clock.now()
    long_ago = now - timedelta(seconds=RESEND_SECONDS)
    waiting = Q(state=RoundState.QUEUED, not_before__lte=now) | Q(state=RoundState.ACQUIRING, claim="")
    waiting |= Q(state=RoundState.SCORING)
    rows = Round.objects.filter(waiting, Q(heartbeat_at__isnull=True) | Q(heartbeat_at__lt=long_ago))
    sent = 0
    resting = Q(state=RoundState.QUEUED, project__paused_at__isnull=False)
    for pk, state in rows.exclude(resting).values_list("pk", "state"):
        if rows.filter(pk=pk, state=state).update(heartbeat_at=now):  # one sweep of two sends it
            wake(claims.RUN if state == RoundState.QUEUED else claims.SCORE, pk)
            sent += 1
    return sent


def forget_old_workers() -> int:
    return Worker.objects.filter(seen_at__lt=clock.now() - timedelta(days=1)).delete()[0]
