"""What each person has answered, and how long an answer takes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, F, Max, Q, Sum

from labeler.intervals import Interval, mean_of_sums
from labeler.models import Annotation, Outcome, Project, User
from labeler.selectors.answers import PersonQuality, people_of

PAUSE_SECONDS = 120  # an answer that took longer had a break in it


@dataclass(frozen=True)
class Effort:
    person: User
    answers: int
    labels: int
    seconds: Interval | None
    last_at: datetime | None
    quality: PersonQuality | None = None


def efforts_of(project: Project) -> list[Effort]:
    """Who has answered most is first. Reads all answers: not for every poll."""
    live = Annotation.objects.filter(project=project, retracted_at__isnull=True).exclude(outcome=Outcome.UNDO)
    timed = Q(seconds__gt=0, seconds__lte=PAUSE_SECONDS)
    rows = {
        row["annotator"]: row
        for row in live.order_by()
        .values("annotator")
        .annotate(
            answers=Count("id"),
            labels=Count("id", filter=Q(outcome=Outcome.LABEL)),
            timed=Count("id", filter=timed),
            total=Sum("seconds", filter=timed),
            squares=Sum(F("seconds") * F("seconds"), filter=timed),
            last_at=Max("created_at"),
        )
    }
    people = User.objects.in_bulk(list(rows))
    quality = {person.user.pk: person for person in people_of(project)}
    found = [
        Effort(
            person=people[pk],
            answers=row["answers"],
            labels=row["labels"],
            seconds=mean_of_sums(row["total"], row["squares"], row["timed"]),
            last_at=row["last_at"],
            quality=quality.get(pk),
        )
        for pk, row in rows.items()
    ]
    return sorted(found, key=lambda row: -row.answers)
