"""Handing out places of the queue: own leases first, then the lowest free rank, at a cost that no pool raises."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Case, Exists, OuterRef, Q, QuerySet, Value, When

from labeler import clock
from labeler.models import Candidate, CandidateState, Image, ImageState, Pack, Project, Round, User
from labeler.models.rounds import NOT_OF_THE_POOL
from labeler.rows import Reader
from labeler.services.races import again_if_raced, lock_person, not_in_work

SWEEP_AT_ONCE = 2000

PLACES = Reader(Candidate)
IMAGES = Reader(Image, ["id", "project_id", "name", "width", "height", "pack_id", "offset", "length", "media_type"])
PACKS = Reader(Pack, ["id", "name"])
ROUNDS = Reader(Round, ["id", "project_id", "number", "config"])
# What the page shows of a place comes along with it, so that no second statement is needed.
COLUMNS = ", ".join([PLACES.columns("c"), IMAGES.columns("i"), PACKS.columns("k"), ROUNDS.columns("r")])
JOINS = """
JOIN labeler_image i ON i.id = c.image_id
JOIN labeler_pack k ON k.id = i.pack_id
JOIN labeler_round r ON r.id = c.round_id
"""
# Of a project that is paused nobody gets a place, nor sees one again.
HELD = f"""
SELECT {COLUMNS}
FROM labeler_candidate c {JOINS}
WHERE c.leased_to_id = %(me)s AND c.project_id = %(project)s AND c.state = 'open' AND c.leased_until > %(now)s
  AND EXISTS (SELECT 1 FROM labeler_project p WHERE p.id = %(project)s AND p.paused_at IS NULL)
ORDER BY c.leased_at, c.round_id, c.rank, c.slot
"""  # noqa: S608  (columns of models, not input)

# The whole of handing out, in one statement: the lowest (rank, slot) of the queue's round that is open and that nobody
# holds, on an image that still waits for answers (or is asked about all the same: to check people or the grid, or for
# another answer) and that this person has not answered (a page of tiles is no answer to a check of it), does not hold
# in another place and has not called gold. The inner SELECT reads the partial index candidate_queue in its order and
# stops at the first row. On PostgreSQL it locks that row and passes over rows that others are taking at this very
# moment; on SQLite writers come one after the other anyway. States are written out because a partial index is only used
# for what the planner can read, and OFFSET 0 keeps PostgreSQL from making a join of what is to be looked up for one
# place at a time: a plan of a table that was small when its statistics were taken read all that a person had ever
# answered.
CLAIM = """
UPDATE labeler_candidate
SET leased_to_id = %(me)s, leased_at = %(now)s, leased_until = %(until)s
WHERE id = (
    SELECT c.id
    FROM labeler_candidate c
    WHERE c.round_id = (
        SELECT p.queue_round_id FROM labeler_project p WHERE p.id = %(project)s AND p.paused_at IS NULL)
      AND c.state = 'open'
      AND (c.leased_until IS NULL OR c.leased_until <= %(now)s)
      AND (c.reason IN ('relabel', 'gold', 'grid_check') OR EXISTS (
          SELECT 1 FROM labeler_image i WHERE i.id = c.image_id AND i.state = 'pool' LIMIT 1 OFFSET 0))
      AND (c.reason <> 'gold' OR NOT EXISTS (
          SELECT 1 FROM labeler_goldimage g
          WHERE g.image_id = c.image_id AND g.created_by_id = %(me)s LIMIT 1 OFFSET 0))
      AND NOT EXISTS (
          SELECT 1 FROM labeler_annotation a
          WHERE a.image_id = c.image_id AND a.annotator_id = %(me)s
            AND a.retracted_at IS NULL AND NOT (a.outcome = 'undo')
            AND NOT (a.is_grid AND c.reason = 'grid_check') LIMIT 1 OFFSET 0)
      AND NOT EXISTS (
          SELECT 1 FROM labeler_candidate o
          WHERE o.image_id = c.image_id AND o.leased_to_id = %(me)s AND o.state = 'open' AND o.id <> c.id
          LIMIT 1 OFFSET 0)
      AND (
          SELECT COUNT(*) FROM labeler_candidate h
          WHERE h.leased_to_id = %(me)s AND h.project_id = %(project)s AND h.state = 'open'
            AND h.leased_until > %(now)s) < %(most)s
      AND NOT EXISTS (
          SELECT 1 FROM labeler_membership m
          WHERE m.user_id = %(me)s AND m.project_id = %(project)s AND m.deactivated_at IS NOT NULL)
    ORDER BY c.rank, c.slot
    LIMIT 1
    {lock}
)
RETURNING """


SOURCES = {
    "i": "labeler_image i WHERE i.id = labeler_candidate.image_id",
    "k": "labeler_image i JOIN labeler_pack k ON k.id = i.pack_id WHERE i.id = labeler_candidate.image_id",
    "r": "labeler_round r WHERE r.id = labeler_candidate.round_id",
}
SUBQUERIES = ", ".join(
    f"(SELECT {column} FROM {SOURCES[column[0]]})"  # noqa: S608  (columns of models, not input)
    for reader, alias in ((IMAGES, "i"), (PACKS, "k"), (ROUNDS, "r"))
    for column in reader.columns(alias).split(", ")
)


def claim_statement() -> str:
    """PostgreSQL joins what comes along; SQLite's RETURNING knows no joins, and gets it by subqueries."""
    if connection.vendor == "postgresql":
        claim = CLAIM.replace("{lock}", "FOR NO KEY UPDATE OF c SKIP LOCKED")
        return f"WITH c AS ({claim} labeler_candidate.*) SELECT {COLUMNS} FROM c {JOINS}"  # noqa: S608
    return f"{CLAIM.replace('{lock}', '')} {PLACES.columns('labeler_candidate')}, {SUBQUERIES}"


def lease_next(*, project: Project, annotator: User, want: int = 1) -> list[Candidate]:
    """Up to `want` places for this person: those already held, in rank order, then fresh ones, best first."""
    want = min(want, settings.LEASES_PER_ANNOTATOR)
    held = list(held_leases(project=project, annotator=annotator)[:want])
    return held + claim_places(project=project, annotator=annotator, count=want - len(held))


def held_leases(*, project: Project, annotator: User) -> list[Candidate]:
    """The person's live leases, in the order they came. One of an older round stays theirs until it ends."""
    parameters = {"me": annotator.pk, "project": project.pk, "now": _stored(clock.now())}
    with connection.cursor() as cursor:
        cursor.execute(HELD, parameters)
        return [_read_place(row) for row in cursor.fetchall()]


def claim_places(*, project: Project, annotator: User, count: int) -> list[Candidate]:
    """Lease up to `count` fresh places, each the best free one at its moment."""
    places: list[Candidate] = []
    while len(places) < count:
        place = _claim_one(project, annotator)
        if place is None:
            break
        places.append(place)
    return places


def _claim_one(project: Project, annotator: User) -> Candidate | None:
    """In a race with another tab of the same person, the database lets one of them have an image."""
    return again_if_raced(lambda: _claim(project, annotator))


def _claim(project: Project, annotator: User) -> Candidate | None:
    if project.learning.overlap > 1:
        lock_person(annotator)
    now = clock.now()
    parameters = {
        "me": annotator.pk,
        "project": project.pk,
        "now": _stored(now),
        "until": _stored(now + timedelta(seconds=settings.LEASE_SECONDS)),
        "most": settings.LEASES_PER_ANNOTATOR,
    }
    with connection.cursor() as cursor:
        cursor.execute(claim_statement(), parameters)
        row = cursor.fetchone()
    return _read_place(row) if row else None


def _read_place(row: Sequence[Any]) -> Candidate:
    values = iter(row)
    place, image = PLACES.take(values), IMAGES.take(values)
    image.pack = PACKS.take(values)
    place.image, place.round = image, ROUNDS.take(values)
    return place


@transaction.atomic
def renew_leases(*, project: Project, annotator: User, candidate_ids: list[int]) -> list[int]:
    """Prolong those that the person still holds, and say which these are, in rank order.

    One that ran out is not revived: it may have been offered to others. Of a paused project nobody holds any.
    """
    if project.paused_at is not None:
        return []
    now = clock.now()
    mine = Candidate.objects.filter(
        project=project, leased_to=annotator, state=CandidateState.OPEN, pk__in=candidate_ids, leased_until__gt=now
    )
    in_one_order = mine.select_for_update(no_key=True).order_by("pk")  # so that two tabs do not wait for each other
    held = dict(in_one_order.values_list("pk", "rank"))
    Candidate.objects.filter(pk__in=held).update(leased_until=now + timedelta(seconds=settings.LEASE_SECONDS))
    return sorted(held, key=lambda pk: held[pk])


@transaction.atomic
def release_leases(*, project: Project, annotator: User, candidate_ids: list[int] | None = None) -> int:
    """Give places back at once: those named, or all.

    One that another tab is giving back or answering at this moment is left to it: to wait for it would lock it once
    more when it is free already, and others would pass over it.
    """
    mine = Candidate.objects.filter(project=project, leased_to=annotator, state=CandidateState.OPEN)
    if candidate_ids is not None:
        mine = mine.filter(pk__in=candidate_ids)
    return _give_back(not_in_work(mine))


@transaction.atomic
def free_expired_leases() -> int:
    """Hygiene, for the sweep: an expired lease is free for everybody already.

    Places that nobody is to get any more are closed: those of replaced rounds, and those of images with all their
    answers.
    """
    opened = Candidate.objects.filter(state=CandidateState.OPEN)
    expired = opened.filter(leased_to__isnull=False, leased_until__lte=clock.now())
    idle = opened.filter(~_is_wanted(), leased_to__isnull=True)
    ids = [*expired.values_list("pk", flat=True)[:SWEEP_AT_ONCE], *idle.values_list("pk", flat=True)[:SWEEP_AT_ONCE]]
    still = Q(leased_to__isnull=True) | Q(leased_until__lte=clock.now())
    return _give_back(not_in_work(Candidate.objects.filter(still, pk__in=ids))) if ids else 0


def _give_back(places: QuerySet[Candidate]) -> int:
    """Take the leases off these places, and close those that nobody is to get any more."""
    return places.filter(state=CandidateState.OPEN).update(
        state=Case(When(_is_wanted(), then=Value(CandidateState.OPEN)), default=Value(CandidateState.SUPERSEDED)),
        leased_to=None,
        leased_at=None,
        leased_until=None,
    )


def _is_wanted() -> Q:
    """Of the round that is the queue, on an image that still waits for answers or is asked again on purpose."""
    queue = Project.objects.filter(pk=OuterRef("project_id"), queue_round_id=OuterRef("round_id"))
    waiting = Image.objects.filter(pk=OuterRef("image_id"), state=ImageState.POOL)
    return Q(Exists(queue)) & (Q(reason__in=NOT_OF_THE_POOL) | Q(Exists(waiting)))


def _stored(moment: datetime) -> str | datetime:
    """A moment as the database keeps it: raw statements do not convert it."""
    stored: str | datetime = connection.ops.adapt_datetimefield_value(moment)  # type: ignore[assignment]
    return stored
