"""Fetch and permission in one call: no view holds a project without the check. Strangers get 404, wrong roles 403."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from labeler.models import Membership, Project, Role, User


@dataclass(frozen=True)
class Access:
    user: User
    project: Project
    role: str

    @property
    def is_manager(self) -> bool:
        return self.role == Role.MANAGER


def member_access(request: HttpRequest, slug: str) -> Access:
    """The project for its members (and site admins, as managers). Learning config and queue come along."""
    user = request.user
    if not isinstance(user, User):
        raise PermissionDenied  # views are behind login_required; this is the second lock
    membership = (
        Membership.objects.filter(user=user, project__slug=slug)
        .select_related("project__learning", "project__queue_round")
        .first()
    )
    if membership is not None:
        return Access(user, membership.project, membership.role)
    if user.is_superuser:
        project = Project.objects.filter(slug=slug).select_related("learning", "queue_round").first()
        if project is not None:
            return Access(user, project, Role.MANAGER)
    raise Http404("No such project")


def manager_access(request: HttpRequest, slug: str) -> Access:
    access = member_access(request, slug)
    if not access.is_manager:
        raise PermissionDenied("Only a manager of this project can do this.")
    return access
