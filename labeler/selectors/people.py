"""Members of a project and what they have answered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, QuerySet

from labeler import clock
from labeler.models import Annotation, Invitation, Membership, Outcome, Project, User


@dataclass(frozen=True)
class PersonRow:
    user: User
    membership: Membership | None  # None: has left, the answers are still here
    answers: int
    last_answer_at: datetime | None


def people_rows(project: Project) -> list[PersonRow]:
    """Members by name, then those who have left but answered. Three queries."""
    answers = _answers(project)
    members = list(project.memberships.select_related("user").order_by("user__username"))
    rows = [_row(membership.user, membership, answers.pop(membership.user_id, None)) for membership in members]
    left = User.objects.filter(pk__in=list(answers)).order_by("username")
    return rows + [_row(user, None, answers[user.pk]) for user in left]


def _row(user: User, membership: Membership | None, answered: tuple[int, datetime] | None) -> PersonRow:
    count, last = answered or (0, None)
    return PersonRow(user, membership, count, last)


def _answers(project: Project) -> dict[int, tuple[int, datetime]]:
    live = Annotation.objects.filter(project=project, retracted_at__isnull=True).exclude(outcome=Outcome.UNDO)
    grouped = live.order_by().values_list("annotator").annotate(n=Count("pk"), last=Max("created_at"))
    return {annotator: (n, last) for annotator, n, last in grouped}


def open_invitations(project: Project) -> QuerySet[Invitation]:
    now = clock.now()
    still_open = project.invitations.filter(used_at=None, revoked_at=None, expires_at__gt=now)
    return still_open.select_related("created_by").order_by("-created_at")
