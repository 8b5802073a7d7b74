"""Members of a project and what they have answered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, F, Max, QuerySet

from labeler import clock
from labeler.models import Annotation, Candidate, CandidateState, Invitation, Membership, Outcome, Project, User


@dataclass(frozen=True)
class PersonRow:
    user: User
    membership: Membership | None  # None: has left, the answers are still here
    answers: int
    last_answer_at: datetime | None
    leases: int = 0  # images that are theirs just now


def people_rows(project: Project) -> list[PersonRow]:
    """Members by name, the active ones first, then those who have left but answered. Four queries."""
    answers, leases = _answers(project), _leases(project)
    members = project.memberships.select_related("user")
    rows = [
        _row(membership.user, membership, answers.pop(membership.user_id, None), leases.get(membership.user_id, 0))
        for membership in members.order_by(F("deactivated_at").asc(nulls_first=True), "user__username")
    ]
    left = User.objects.filter(pk__in=list(answers)).order_by("username")
    return rows + [_row(user, None, answers[user.pk], leases.get(user.pk, 0)) for user in left]


def _row(user: User, membership: Membership | None, answered: tuple[int, datetime] | None, leases: int) -> PersonRow:
    count, last = answered or (0, None)
    return PersonRow(user, membership, count, last, leases)


def _leases(project: Project) -> dict[int, int]:
    held = Candidate.objects.filter(project=project, state=CandidateState.OPEN, leased_until__gt=clock.now())
    return dict(held.order_by().values_list("leased_to").annotate(n=Count("pk")))


def _answers(project: Project) -> dict[int, tuple[int, datetime]]:
    live = Annotation.objects.filter(project=project, retracted_at__isnull=True).exclude(outcome=Outcome.UNDO)
    grouped = live.order_by().values_list("annotator").annotate(n=Count("pk"), last=Max("created_at"))
    return {annotator: (n, last) for annotator, n, last in grouped}


def open_invitations(project: Project) -> QuerySet[Invitation]:
    now = clock.now()
    still_open = project.invitations.filter(used_at=None, revoked_at=None, expires_at__gt=now)
    return still_open.select_related("created_by").order_by("-created_at")
