"""Handing out places of the queue: own leases first, then the lowest free rank, at a cost that no pool raises."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Case, Exists, OuterRef, Q, QuerySet, Value, When
from django.utils import timezone

from labeler.models import Candidate, CandidateState, Image, ImageState, Project, Reason, Round, User
from labeler.services.races import again_if_raced, lock_person

SWEEP_AT_ONCE = 2000

# The whole of handing out, in one statement: the lowest (rank, slot) of the queue's round that is open and that nobody
# holds, on an image that still waits for answers and that this person has not answered and does not hold in another
# place. The inner SELECT reads the partial index candidate_queue in its order and stops at the first row. On PostgreSQL
# it locks that row and passes over rows that others are taking at this very moment; on SQLite writers come one after
# the other anyway. States are written out because a partial index is only used for what the planner can read.
# What the page shows comes along, so that no second statement is needed, and no column that it does not show.
SHOWN = """
    {place}.id, {place}.project_id, {place}.round_id, {place}.image_id, {place}.rank, {place}.slot, {place}.reason,
    {place}.score, {place}.percentile, {place}.selection_probability, {place}.details, {place}.state,
    {place}.leased_to_id, {place}.leased_at, {place}.leased_until,
    (SELECT i.name FROM labeler_image i WHERE i.id = {place}.image_id) AS image_name,
    (SELECT i.width FROM labeler_image i WHERE i.id = {place}.image_id) AS image_width,
    (SELECT i.height FROM labeler_image i WHERE i.id = {place}.image_id) AS image_height,
    (SELECT r.number FROM labeler_round r WHERE r.id = {place}.round_id) AS round_number,
    (SELECT r.config FROM labeler_round r WHERE r.id = {place}.round_id) AS round_config
"""
HELD = """
SELECT {shown}
FROM labeler_candidate c
WHERE c.leased_to_id = %(me)s AND c.project_id = %(project)s AND c.state = 'open' AND c.leased_until > %(now)s
ORDER BY c.leased_at, c.round_id, c.rank, c.slot
""".replace("{shown}", SHOWN.format(place="c"))
CLAIM = """
UPDATE labeler_candidate
SET leased_to_id = %(me)s, leased_at = %(now)s, leased_until = %(until)s
WHERE id = (
    SELECT c.id
    FROM labeler_candidate c
    WHERE c.round_id = (SELECT p.queue_round_id FROM labeler_project p WHERE p.id = %(project)s)
      AND c.state = 'open'
      AND (c.leased_until IS NULL OR c.leased_until <= %(now)s)
      AND (c.reason = 'relabel' OR EXISTS (
          SELECT 1 FROM labeler_image i WHERE i.id = c.image_id AND i.state = 'pool'))
      AND NOT EXISTS (
          SELECT 1 FROM labeler_annotation a
          WHERE a.image_id = c.image_id AND a.annotator_id = %(me)s
            AND a.retracted_at IS NULL AND NOT (a.outcome = 'undo'))
      AND NOT EXISTS (
          SELECT 1 FROM labeler_candidate o
          WHERE o.image_id = c.image_id AND o.leased_to_id = %(me)s AND o.state = 'open' AND o.id <> c.id)
      AND (
          SELECT COUNT(*) FROM labeler_candidate h
          WHERE h.leased_to_id = %(me)s AND h.project_id = %(project)s AND h.state = 'open'
            AND h.leased_until > %(now)s) < %(most)s
    ORDER BY c.rank, c.slot
    LIMIT 1
    {lock}
)
RETURNING {shown}
"""


def lease_next(*, project: Project, annotator: User, want: int = 1) -> list[Candidate]:
    """Up to `want` places for this person: those already held, in rank order, then fresh ones, best first."""
    want = min(want, settings.LEASES_PER_ANNOTATOR)
    held = list(held_leases(project=project, annotator=annotator)[:want])
    return held + claim_places(project=project, annotator=annotator, count=want - len(held))


def held_leases(*, project: Project, annotator: User) -> list[Candidate]:
    """The person's live leases, in the order they came. One of an older round stays theirs until it ends."""
    parameters = {"me": annotator.pk, "project": project.pk, "now": _stored(timezone.now())}
    return [_with_what_is_shown(place) for place in Candidate.objects.raw(HELD, parameters)]


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
    now = timezone.now()
    parameters = {
        "me": annotator.pk,
        "project": project.pk,
        "now": _stored(now),
        "until": _stored(now + timedelta(seconds=settings.LEASE_SECONDS)),
        "most": settings.LEASES_PER_ANNOTATOR,
    }
    rows = list(Candidate.objects.raw(claim_statement(), parameters))
    return _with_what_is_shown(rows[0]) if rows else None


def _with_what_is_shown(place: Candidate) -> Candidate:
    """The extra columns of a raw query are attributes; here they become the image and the round."""
    shown = vars(place)
    image = [place.image_id, place.project_id, shown["image_name"], shown["image_width"], shown["image_height"]]
    place.image = Image.from_db("default", ["id", "project_id", "name", "width", "height"], image)
    config = shown["round_config"]
    config = json.loads(config) if isinstance(config, str) else config
    round_ = [place.round_id, place.project_id, shown["round_number"], config]
    place.round = Round.from_db("default", ["id", "project_id", "number", "config"], round_)
    return place


def claim_statement() -> str:
    shown = SHOWN.format(place="labeler_candidate")
    return CLAIM.format(
        shown=shown, lock="FOR NO KEY UPDATE OF c SKIP LOCKED" if connection.vendor == "postgresql" else ""
    )


@transaction.atomic
def renew_leases(*, project: Project, annotator: User, candidate_ids: list[int]) -> list[int]:
    """Prolong those that the person still holds, and say which these are, in rank order.

    One that ran out is not revived: it may have been offered to others.
    """
    now = timezone.now()
    mine = _places_of(project, annotator).filter(pk__in=candidate_ids, leased_until__gt=now)
    held = dict(mine.order_by("pk").values_list("pk", "rank"))
    Candidate.objects.filter(pk__in=held).update(leased_until=now + timedelta(seconds=settings.LEASE_SECONDS))
    return sorted(held, key=lambda pk: held[pk])


@transaction.atomic
def release_leases(*, project: Project, annotator: User, candidate_ids: list[int] | None = None) -> int:
    """Give places back at once: those named, or all."""
    mine = _places_of(project, annotator)
    if candidate_ids is not None:
        mine = mine.filter(pk__in=candidate_ids)
    return _give_back(Candidate.objects.filter(pk__in=list(mine.order_by("pk").values_list("pk", flat=True))))


@transaction.atomic
def free_expired_leases() -> int:
    """Hygiene, for the sweep: an expired lease is free for everybody already.

    Places that nobody is to get any more are closed: those of replaced rounds, and those of images with all their
    answers.
    """
    opened = Candidate.objects.filter(state=CandidateState.OPEN)
    expired = opened.filter(leased_to__isnull=False, leased_until__lte=timezone.now())
    idle = opened.filter(~_is_wanted(), leased_to__isnull=True)
    ids = [*expired.values_list("pk", flat=True)[:SWEEP_AT_ONCE], *idle.values_list("pk", flat=True)[:SWEEP_AT_ONCE]]
    still = Q(leased_to__isnull=True) | Q(leased_until__lte=timezone.now())
    return _give_back(Candidate.objects.filter(still, pk__in=ids)) if ids else 0


def _places_of(project: Project, annotator: User) -> QuerySet[Candidate]:
    """The person's open places, locked in one order, so that two tabs do not wait for each other."""
    mine = Candidate.objects.filter(project=project, leased_to=annotator, state=CandidateState.OPEN)
    return mine.select_for_update(no_key=True)


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
    return Q(Exists(queue)) & (Q(reason=Reason.RELABEL) | Q(Exists(waiting)))


def _stored(moment: datetime) -> str | datetime:
    """A moment as the database keeps it: raw statements do not convert it."""
    stored: str | datetime = connection.ops.adapt_datetimefield_value(moment)  # type: ignore[assignment]
    return stored
