"""Who is asking; projects, what they are called, and how they learn."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.http import HttpRequest
from ninja import Query
from pydantic import Field

from labeler.access import Access, manager_access, member_access
from labeler.api.authentication import token_of
from labeler.api.learning import LearningChange, LearningSettings, check_together, settings_of
from labeler.api.operations import NONE, In, Line, Nothing, Operations, Out, Text, unset
from labeler.api.paging import Page, Paging, Rows, page_of
from labeler.api.problems import of_field
from labeler.api.shapes import Measured, Outcome, Person, user_of
from labeler.models import Project, User
from labeler.naming import clean_name
from labeler.selectors.projects import ProjectRow, can_create_projects, home_rows
from labeler.services.classes import MAX_CLASSES, allow_proposals, class_names_in
from labeler.services.features import follow_choice
from labeler.services.pausing import pause_project, resume_project
from labeler.services.project_copies import copy_project
from labeler.services.projects import change_learning, change_project, create_project, set_target

router = Operations("Projects")


class Me(Out):
    person: Person
    token: str
    scopes: list[str]
    expires_at: datetime | None
    can_make_projects: bool


class ProjectOut(Out):
    slug: str
    name: str
    guidelines: str
    role: str = Field(description="The person's own: annotator or manager.")
    images: int
    labelled: int
    accuracy: Measured | None = Field(description="Of the model in charge, on the holdout; null: not measured yet.")
    target_accuracy: float | None
    takes_proposals: bool
    paused_at: datetime | None
    pause_reason: str
    created_at: datetime


class ProjectNew(In):
    name: Line
    guidelines: Text = ""
    classes: list[Line] = Field([], max_length=MAX_CLASSES)


class ProjectChange(In):
    """What is not named stays as it is."""

    name: Line = unset()
    guidelines: Text = unset()
    takes_proposals: bool = unset()
    target_accuracy: Annotated[float, Field(ge=0.01, le=0.9999)] | None = unset()


class Copy(In):
    name: Line
    with_people: bool = False


class Pause(In):
    reason: Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")] = ""


@router.read("/me", Me, who="person")
def me(request: HttpRequest) -> Me:
    """Who the token is, and what it may do."""
    token, user = token_of(request), user_of(request)
    assert token is not None
    return Me(
        person=Person(id=user.pk, username=user.get_username()),
        token=token.name,
        scopes=token.scopes,
        expires_at=token.expires_at,
        can_make_projects=can_create_projects(user),
    )


@router.read("/projects", Page[ProjectOut], who="person")
def list_projects(request: HttpRequest, paging: Query[Paging]) -> Rows[ProjectOut]:
    """The person's projects."""
    user = user_of(request)
    own = Project.objects.filter(memberships__user=user, memberships__deactivated_at__isnull=True)
    page = page_of("projects", Project.objects.all() if user.is_superuser else own, paging)
    rows = {row.project.pk: row for row in home_rows(user, among=[project.pk for project in page.items])}
    return Rows([_shown(rows[project.pk]) for project in page.items], page.next)


@router.make("/projects", ProjectOut, who="person")
def make_project(request: HttpRequest, body: ProjectNew) -> ProjectOut:
    """A new project, managed by who makes it. For staff and for who manages a project already."""
    user = user_of(request)
    if not can_create_projects(user):
        raise PermissionDenied("Only staff, and who manages a project already, make projects.")
    with of_field("classes"):
        names = class_names_in("\n".join(body.classes))
    project = create_project(name=_name(body.name), guidelines=body.guidelines, class_names=names, by=user)
    return _project(user, project)


@router.read("/projects/{slug:slug}", ProjectOut)
def read_project(request: HttpRequest, slug: str) -> ProjectOut:
    """A project."""
    access = member_access(request, slug)
    return _project(access.user, access.project)


@router.change("/projects/{slug:slug}", ProjectOut)
def change_project_(request: HttpRequest, slug: str, body: ProjectChange) -> ProjectOut:
    """Name, guidelines, the accuracy to reach, and whether annotators may propose classes. The slug stays."""
    access = manager_access(request, slug)
    values = body.model_dump(exclude_unset=True)
    with transaction.atomic():
        _change(access, values)
    return _project(access.user, Project.objects.get(pk=access.project.pk))


@router.make("/projects/{slug:slug}/copies", ProjectOut)
def copy_project_(request: HttpRequest, slug: str, body: Copy) -> ProjectOut:
    """A new project with the settings of this one: no images, no answers, no models."""
    access = manager_access(request, slug)
    made = copy_project(source=access.project, name=_name(body.name), by=access.user, with_people=body.with_people)
    return _project(access.user, made)


@router.act("/projects/{slug:slug}/pause", Outcome)
def pause_project_(request: HttpRequest, slug: str, body: Pause) -> Outcome:
    """Nobody is asked and no round starts until somebody goes on."""
    access = manager_access(request, slug)
    changed = pause_project(project=access.project, by=access.user, reason=body.reason)
    return Outcome(changed=changed, detail="Paused." if changed else "It was paused already.")


@router.act("/projects/{slug:slug}/resume", Outcome)
def resume_project_(request: HttpRequest, slug: str, body: Nothing = NONE) -> Outcome:  # noqa: ARG001
    """Go on after a pause."""
    access = manager_access(request, slug)
    changed = resume_project(project=access.project, by=access.user)
    return Outcome(changed=changed, detail="Going on." if changed else "It was not paused.")


@router.read("/projects/{slug:slug}/learning", LearningSettings, who="manager")
def read_learning(request: HttpRequest, slug: str) -> LearningSettings:
    """How the project learns, asks and measures."""
    return settings_of(manager_access(request, slug).project.learning)


@router.change("/projects/{slug:slug}/learning", LearningSettings)
def change_learning_(request: HttpRequest, slug: str, body: LearningChange) -> LearningSettings:
    """Change how it learns. The model and what it asks change with the next round, all else at once. What is not named
    stays as it is; shares are from 0 to 1."""
    access = manager_access(request, slug)
    values = body.model_dump(exclude_unset=True)
    with transaction.atomic():
        check_together(access.project.learning, values)
        change_learning(project=access.project, values=values, by=access.user)
        access.project.learning.refresh_from_db()
        follow_choice(project=access.project, by=access.user)
    return settings_of(access.project.learning)


def _change(access: Access, values: dict[str, object]) -> None:
    project = access.project
    if {"name", "guidelines"} & set(values):
        name = _name(str(values.get("name", project.name)))
        guidelines = str(values.get("guidelines", project.guidelines))
        change_project(project=project, name=name, guidelines=guidelines, by=access.user)
    if "target_accuracy" in values:
        set_target(project=project, target=values["target_accuracy"], by=access.user)  # type: ignore[arg-type]
    if "takes_proposals" in values:
        allow_proposals(project=project, is_allowed=bool(values["takes_proposals"]), by=access.user)


def _name(text: str) -> str:
    try:
        return clean_name(text)
    except ValidationError as error:
        raise ValidationError({"name": error.messages}) from error


def _project(user: User, project: Project) -> ProjectOut:
    return _shown(home_rows(user, among=[project.pk])[0])


def _shown(row: ProjectRow) -> ProjectOut:
    project, accuracy = row.project, row.accuracy
    return ProjectOut(
        slug=project.slug,
        name=project.name,
        guidelines=project.guidelines,
        role=row.role,
        images=row.images,
        labelled=row.labelled,
        accuracy=Measured(**{name: getattr(accuracy, name) for name in Measured.model_fields}) if accuracy else None,
        target_accuracy=project.target_accuracy,
        takes_proposals=project.takes_proposals,
        paused_at=project.paused_at,
        pause_reason=project.pause_reason,
        created_at=project.created_at,
    )
