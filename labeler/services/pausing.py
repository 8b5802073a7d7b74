"""A project at rest: nobody is asked and no round starts, until a manager goes on with it.

The statement that hands out places looks for it (services/lease.py), and so does everything that starts a round. A
round that runs already ends as always. Answers that browsers still hold are kept when they arrive.
"""

from __future__ import annotations

from django.db import transaction

from labeler import clock
from labeler.models import AuditKind, Candidate, CandidateState, Project, User
from labeler.services import audit
from labeler.services.races import not_in_work
from labeler.told import told


@transaction.atomic
def pause_project(*, project: Project, by: User, reason: str = "") -> bool:
    """Stop asking; what people hold returns to the queue. False: it was paused already, and stays as it is."""
    resting = {"paused_at": clock.now(), "paused_by": by, "pause_reason": reason[:200]}
    if not Project.objects.filter(pk=project.pk, paused_at__isnull=True).update(**resting):
        return False
    held = Candidate.objects.filter(project=project, state=CandidateState.OPEN, leased_to__isnull=False)
    not_in_work(held).update(leased_to=None, leased_at=None, leased_until=None)
    words = told("paused the project: “%(reason)s”", reason=reason[:200]) if reason else told("paused the project")
    audit.record(project=project, by=by, kind=AuditKind.SETTINGS, words=words, reason=reason[:200])
    return True


@transaction.atomic
def resume_project(*, project: Project, by: User) -> bool:
    """Ask again; the sweep starts within seconds what became due meanwhile. False: it was not paused."""
    going = {"paused_at": None, "paused_by": None, "pause_reason": ""}
    if not Project.objects.filter(pk=project.pk, paused_at__isnull=False).update(**going):
        return False
    audit.record(project=project, by=by, kind=AuditKind.SETTINGS, words=told("resumed the project"))
    return True
