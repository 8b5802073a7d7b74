"""Fetch and permission in one call: no view holds a project without the check. Strangers get 404, wrong roles 403."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import Http404, HttpRequest
from django.utils.translation import gettext_lazy as _

from labeler.models import LearningConfig, Project, Role, User
from labeler.rows import Reader
from labeler.selectors.classes import waiting_proposals

# Written out because every request runs it: to build it by the ORM takes several times as long as to run it.
PROJECTS, LEARNING = Reader(Project), Reader(LearningConfig)
UNREAD = """CASE WHEN m.role = 'manager' THEN (
    SELECT COUNT(*) FROM labeler_notice n WHERE n.project_id = p.id AND n.created_at >= m.created_at
      AND n.over_at IS NULL
      AND NOT EXISTS (SELECT 1 FROM labeler_noticedismissal d WHERE d.notice_id = n.id AND d.user_id = m.user_id)
) ELSE 0 END"""
MEMBER = """
SELECT m.role, m.deactivated_at IS NOT NULL, {notices}, {project}, {learning}
FROM labeler_membership m
JOIN labeler_project p ON p.id = m.project_id
LEFT JOIN labeler_learningconfig l ON l.project_id = p.id
WHERE m.user_id = %s AND p.slug = %s
""".format(notices=UNREAD, project=PROJECTS.columns("p"), learning=LEARNING.columns("l"))


DEACTIVATED = _(
    "A manager has paused your access to “{}”. The answers that you gave are kept. Ask a manager of the project to "
    "bring you back."
)


class Deactivated(PermissionDenied):
    """A member whom a manager has deactivated; the message says so for people."""


@dataclass(frozen=True)
class Access:
    user: User
    project: Project
    role: str
    notices: int = 0  # that a manager has not dismissed

    @property
    def is_manager(self) -> bool:
        return self.role == Role.MANAGER

    @property
    def may_use_grid(self) -> bool:
        grid = self.project.learning.grid if hasattr(self.project, "learning") else "off"
        return grid == "everybody" or (self.is_manager and grid == "managers")

    @property
    def may_ask_model(self) -> bool:
        """Who may learn what the model says of any picture, one of the queue included, before they answer."""
        return self.is_manager or self.project.learning.suggestions == "before"

    @cached_property
    def proposals(self) -> int:
        """Proposed classes that wait for a manager: asked for by every page of a project that takes proposals."""
        return waiting_proposals(self.project) if self.project.takes_proposals and self.is_manager else 0


def member_access(request: HttpRequest, slug: str) -> Access:
    """The project for its members (and site admins, as managers). The learning config comes along.

    Raises Http404 for strangers, and Deactivated."""
    user = request.user
    if not isinstance(user, User):
        raise PermissionDenied  # views are behind login_required; this is the second lock
    with connection.cursor() as cursor:
        cursor.execute(MEMBER, [user.pk, slug])
        row = cursor.fetchone()
    if row is not None:
        values = iter(row)
        role, is_deactivated, notices = next(values), next(values), next(values)
        project, learning = PROJECTS.take(values), LEARNING.take(values)
        if is_deactivated:
            raise Deactivated(DEACTIVATED.format(project.name))
        if learning.pk is not None:
            project.learning = learning
        return Access(user, project, role, notices)
    if user.is_superuser:
        for project in Project.objects.filter(slug=slug).select_related("learning"):
            return Access(user, project, Role.MANAGER)
    raise Http404("No such project")


def manager_access(request: HttpRequest, slug: str) -> Access:
    access = member_access(request, slug)
    if not access.is_manager:
        raise PermissionDenied(_("Only a manager of this project can do this."))
    return access


def model_access(request: HttpRequest, slug: str) -> Access:
    """Managers, and annotators where the model's word is shown before the answer."""
    access = member_access(request, slug)
    if not access.may_ask_model:
        raise PermissionDenied(
            _("What the model says is not shown before an answer here. A manager can change that in the settings.")
        )
    return access
