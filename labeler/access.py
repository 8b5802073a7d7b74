"""Fetch and permission in one call: no view holds a project without the check. Strangers get 404, wrong roles 403."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from labeler.models import LearningConfig, Project, Role, User

# Written out because every request runs it: to build it by the ORM takes several times as long as to run it.
LEARNING = list(LearningConfig._meta.concrete_fields)
MEMBER = """
SELECT {project}, {learning}, m.role AS role
FROM labeler_membership m
JOIN labeler_project p ON p.id = m.project_id
LEFT JOIN labeler_learningconfig l ON l.project_id = p.id
WHERE m.user_id = %s AND p.slug = %s
""".format(
    project=", ".join(f"p.{field.column}" for field in Project._meta.concrete_fields),
    learning=", ".join(f"l.{field.column} AS learning_{field.attname}" for field in LEARNING),
)


@dataclass(frozen=True)
class Access:
    user: User
    project: Project
    role: str

    @property
    def is_manager(self) -> bool:
        return self.role == Role.MANAGER


def member_access(request: HttpRequest, slug: str) -> Access:
    """The project for its members (and site admins, as managers). The learning config comes along."""
    user = request.user
    if not isinstance(user, User):
        raise PermissionDenied  # views are behind login_required; this is the second lock
    for project in Project.objects.raw(MEMBER, [user.pk, slug]):
        shown = vars(project)  # the extra columns of a raw query are attributes
        names = [field.attname for field in LEARNING]
        if shown["learning_id"] is not None:
            project.learning = LearningConfig.from_db("default", names, [shown[f"learning_{name}"] for name in names])
        return Access(user, project, shown["role"])
    if user.is_superuser:
        for project in Project.objects.filter(slug=slug).select_related("learning"):
            return Access(user, project, Role.MANAGER)
    raise Http404("No such project")


def manager_access(request: HttpRequest, slug: str) -> Access:
    access = member_access(request, slug)
    if not access.is_manager:
        raise PermissionDenied("Only a manager of this project can do this.")
    return access
