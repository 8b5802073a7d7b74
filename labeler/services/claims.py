"""A round in the hands of workers: claimed phase by phase, kept alive, given to another, done or failed.

Every transition is one conditional UPDATE whose row count tells who won. A worker's write names its claim, so one that
was taken for dead and comes back changes nothing: it gets `RoundLost` and stops.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from labeler import clock
from labeler.models import Round, RoundChunk, RoundState, WebhookEvent
from labeler.models.rounds import UNFINISHED
from labeler.selectors.features import ChunkInput
from labeler.selectors.workers import idle_workers
from labeler.services import notices, webhooks
from labeler.told import told
from labeler.wake import wake

RUN, SCORE = "learner.run_round", "learner.score_chunks"
IDLE_SECONDS = 5  # a claim of a worker without a task is dead when it has been silent for so long


class RoundLost(Exception):
    """The round (or chunk) is no longer this worker's: cancelled, or given to another after a silence."""


def new_claim(worker: str) -> str:
    return f"{worker[:60]} {secrets.token_hex(8)}"


def claims_of(worker: str) -> Q:
    """What `new_claim` has marked as this worker's."""
    return Q(claim__startswith=f"{worker[:60]} ")


def claim_fit(*, round_id: int, claim: str) -> Round | None:
    """Take a queued round whose time has come, or None. The folder is this attempt's own: a worker that was taken for
    dead may still be writing into the last one."""
    now = clock.now()
    due = Round.objects.filter(pk=round_id, state=RoundState.QUEUED, not_before__lte=now)
    # A join in the UPDATE itself would let two win on PostgreSQL: it looks again at the round alone.
    found = due.filter(project__paused_at=None).values("number", "started_at").first()
    if found is None:
        return None
    taken = due.update(
        state=RoundState.FITTING,
        claim=claim,
        heartbeat_at=now,
        attempts=F("attempts") + 1,
        started_at=found["started_at"] or now,
        phase_started_at=now,
        progress_done=0,
        progress_total=0,
        folder=f"rounds/{found['number']:06}-{claim[-8:]}",
    )
    return claimed(round_id, claim) if taken else None


def claim_acquire(*, round_id: int, claim: str) -> Round | None:
    """Take a round whose chunks are all scored, or whose last taker fell silent. One caller gets it."""
    now = clock.now()
    unscored = RoundChunk.objects.filter(round=OuterRef("pk"), is_done=False)
    ready = Q(state=RoundState.ACQUIRING, claim="") | (Q(state=RoundState.SCORING) & ~Exists(unscored))
    found = Round.objects.filter(ready, pk=round_id).first()
    if found is None:
        return None
    seconds = dict(found.phase_seconds)
    if found.state == RoundState.SCORING:
        seconds["score"] = seconds_since(found.phase_started_at, now)
    taken = Round.objects.filter(ready, pk=round_id).update(
        state=RoundState.ACQUIRING,
        claim=claim,
        heartbeat_at=now,
        attempts=F("attempts") + 1,
        phase_started_at=now,
        phase_seconds=seconds,
        progress_done=0,
        progress_total=0,
    )
    return claimed(round_id, claim) if taken else None


def claimed(round_id: int, claim: str) -> Round | None:
    return Round.objects.select_related("project", "project__learning").filter(pk=round_id, claim=claim).first()


def beat(*, round_: Round, done: int, total: int) -> None:
    """Say that the work goes on. Raises RoundLost."""
    change_mine(round_, heartbeat_at=clock.now(), progress_done=done, progress_total=total)


@transaction.atomic
def keep_snapshot(*, round_: Round, inputs: Sequence[ChunkInput], **changes: Any) -> None:
    """Store what the round is about to learn from, and the chunks as they are now: imports may go on meanwhile."""
    change_mine(round_, **changes)
    RoundChunk.objects.filter(round=round_).delete()
    rows = [
        RoundChunk(
            round=round_, chunk=each.chunk, count=each.count, pixels=each.pixels, features=each.features, row=each.row
        )
        for each in inputs
    ]
    RoundChunk.objects.bulk_create(rows, batch_size=500)


@transaction.atomic
def start_scoring(*, round_: Round, metrics: dict[str, Any]) -> None:
    """The model is written: every chunk is to be scored, by whoever comes."""
    now = clock.now()
    change_mine(
        round_,
        state=RoundState.SCORING,
        claim="",
        heartbeat_at=now,
        attempts=0,
        phase_started_at=now,
        phase_seconds={**round_.phase_seconds, "fit": seconds_since(round_.phase_started_at, now)},
        progress_done=0,
        progress_total=0,
        metrics=metrics,
    )
    for _ in idle_workers("learner"):  # this one goes on by itself
        wake(SCORE, round_.pk)


def claim_chunk(*, round_id: int, claim: str) -> RoundChunk | None:
    """The next chunk that nobody scores, or whose scorer has been silent for STALL_SECONDS."""
    free = Q(claim="") | Q(heartbeat_at__lt=clock.now() - timedelta(seconds=settings.STALL_SECONDS))
    waiting = RoundChunk.objects.filter(free, round_id=round_id, round__state=RoundState.SCORING, is_done=False)
    while (pk := waiting.order_by("id").values_list("pk", flat=True).first()) is not None:
        if waiting.filter(pk=pk).update(claim=claim, heartbeat_at=clock.now(), scored=0):
            return RoundChunk.objects.select_related("chunk").get(pk=pk)
    return None


def beat_chunk(*, round_chunk: RoundChunk, scored: int) -> None:
    """The same for a chunk. Raises RoundLost also when the whole round has ended."""
    if not _my_chunk(round_chunk).update(heartbeat_at=clock.now(), scored=scored):
        raise RoundLost


@transaction.atomic
def finish_chunk(*, round_chunk: RoundChunk) -> None:
    """Its score file is whole. A round that gets on has its attempts back."""
    if not _my_chunk(round_chunk).update(is_done=True, scored=round_chunk.count, heartbeat_at=clock.now()):
        raise RoundLost
    Round.objects.filter(pk=round_chunk.round_id, attempts__gt=0, state=RoundState.SCORING).update(attempts=0)


def _my_chunk(round_chunk: RoundChunk) -> QuerySet[RoundChunk]:
    return RoundChunk.objects.filter(
        pk=round_chunk.pk, claim=round_chunk.claim, is_done=False, round__state=RoundState.SCORING
    )


def fail_round(*, round_id: int, claim: str, words: str) -> bool:
    """End a round in words. Only for its worker, or one that holds a chunk of it. The queue and the last model stay."""
    chunk = RoundChunk.objects.filter(round=OuterRef("pk"), claim=claim, is_done=False)
    mine = Q(claim=claim) | Q(Exists(chunk))
    return end_round(Q(pk=round_id) & mine, RoundState.FAILED, words)


def mark_done(*, round_: Round, **changes: Any) -> None:
    """In the transaction that publishes its queue, first: from here on nobody else can end the round."""
    now = clock.now()
    change_mine(
        round_,
        state=RoundState.DONE,
        claim="",
        finished_at=now,
        phase_seconds={**round_.phase_seconds, "acquire": seconds_since(round_.phase_started_at, now)},
        **changes,
    )
    webhooks.tell_round(round_=round_, event=WebhookEvent.ROUND_DONE)


def change_mine(round_: Round, **changes: Any) -> None:
    """Write a round that this worker holds. Raises RoundLost if it does not any more."""
    if not Round.objects.filter(pk=round_.pk, claim=round_.claim, state=round_.state).update(**changes):
        raise RoundLost
    for name, value in changes.items():
        setattr(round_, name, value)


def seconds_since(start: datetime | None, now: datetime) -> float:
    return round((now - start).total_seconds(), 2) if start else 0.0


@transaction.atomic
def give_back_rounds(*, worker: str) -> int:
    """Hand on at once what a worker holds that is told to stop. No fault of the work: the attempt does not count."""
    mine = claims_of(worker)
    rounds = Round.objects.filter(mine, state__in=[RoundState.FITTING, RoundState.ACQUIRING])
    chunks = RoundChunk.objects.filter(mine, is_done=False, round__state=RoundState.SCORING)
    count = 0
    for pk, state in list(rounds.values_list("pk", "state")):
        back = RoundState.QUEUED if state == RoundState.FITTING else state
        if rounds.filter(pk=pk, state=state).update(state=back, claim="", attempts=F("attempts") - 1):
            wake(RUN, pk)
            count += 1
    for pk, round_id in list(chunks.values_list("pk", "round_id")):
        if chunks.filter(pk=pk).update(claim="", heartbeat_at=None, scored=0):
            wake(SCORE, round_id)
            count += 1
    return count


# --- The sweep's side -----------------------------------------------------------------------------------------------


def give_up_stalled(*, idle_worker: str = "") -> int:
    """Work of silent workers goes to others, and after ROUND_ATTEMPTS without progress fails in words.

    A worker that knows itself to be idle need not be waited for: what its claims hold is what a killed process left.
    """
    seconds = IDLE_SECONDS if idle_worker else settings.STALL_SECONDS
    silent = Q(heartbeat_at__lt=clock.now() - timedelta(seconds=seconds)) & ~Q(claim="")
    if idle_worker:
        silent &= claims_of(idle_worker)
    count = 0
    for round_ in Round.objects.filter(silent, state__in=[RoundState.FITTING, RoundState.ACQUIRING]):
        count += _take_from_silent(round_)
    chunks = RoundChunk.objects.filter(silent, round__state=RoundState.SCORING, is_done=False)
    for round_chunk in chunks.select_related("round"):
        count += _take_chunk_from_silent(round_chunk)
    return count


@transaction.atomic
def _take_from_silent(round_: Round) -> int:
    still = Q(pk=round_.pk, claim=round_.claim, heartbeat_at=round_.heartbeat_at, state=round_.state)
    if round_.attempts >= settings.ROUND_ATTEMPTS:
        return int(end_round(still, RoundState.FAILED, lost_words(round_.attempts)))
    back = RoundState.QUEUED if round_.state == RoundState.FITTING else RoundState.ACQUIRING
    moved = Round.objects.filter(still).update(state=back, claim="")
    if moved:
        wake(RUN, round_.pk)
    return moved


@transaction.atomic
def _take_chunk_from_silent(round_chunk: RoundChunk) -> int:
    still = RoundChunk.objects.filter(
        pk=round_chunk.pk, claim=round_chunk.claim, heartbeat_at=round_chunk.heartbeat_at, is_done=False
    )
    if not still.update(claim="", heartbeat_at=None, scored=0):
        return 0
    scoring = Q(pk=round_chunk.round_id, state=RoundState.SCORING)
    Round.objects.filter(scoring).update(attempts=F("attempts") + 1)
    if not end_round(scoring & Q(attempts__gte=settings.ROUND_ATTEMPTS), RoundState.FAILED, lost_words()):
        wake(SCORE, round_chunk.round_id)
    return 1


def lost_words(attempts: int | None = None) -> str:
    return told(
        "The worker was lost %(count)s times while it worked on this round. It may have been killed for memory or "
        "time: look at the learner's log, then try again. Answers and the last model are untouched.",
        count=attempts or settings.ROUND_ATTEMPTS,
    )


@transaction.atomic
def end_round(which: Q, state: str, words: str, **changes: Any) -> bool:
    """End the one round that this finds. Managers hear of one that failed."""
    unfinished = Round.objects.filter(which, state__in=UNFINISHED)
    found = unfinished.select_related("project").first() if state == RoundState.FAILED else None
    if not unfinished.update(state=state, error=words, claim="", finished_at=clock.now(), **changes):
        return False
    if found is not None:
        notices.note_failure(round_=found, error=words)
    return True
