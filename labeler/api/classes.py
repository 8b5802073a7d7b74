"""Classes, what is done to them and taken back, and what annotators propose."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest
from ninja import Query
from pydantic import Field

from labeler.access import Access, manager_access, member_access
from labeler.api.operations import NONE, Id, In, Line, Nothing, Operations, Out, unset
from labeler.api.paging import Page, Paging, Rows, page_of
from labeler.api.problems import Problem, invalid, of_field
from labeler.api.shapes import ClassName, Outcome, Person, class_in, class_name, person_of
from labeler.models import ClassChange, Fate, LabelClass, Scope
from labeler.selectors.classes import label_counts, targets_of
from labeler.services import classes as service
from labeler.services.class_changes import archive_class, merge_class, split_class, undo_change
from labeler.services.proposals import accept_proposal, merge_proposal, refuse_proposal, take_back_proposal

router = Operations("Classes")
ROOT = "/projects/{slug:slug}/classes"
CHANGES = "/projects/{slug:slug}/class-changes"


class ClassOut(Out):
    id: int
    name: str
    shortcut: str
    colour: str
    order: int
    is_archived: bool
    fate: str = Field(description="merged, split, proposed, refused or withdrawn; empty: none of these.")
    merged_into: ClassName | None
    images: int = Field(description="How many images have it as their label.")


class ClassesNew(In):
    names: list[Line] = Field(min_length=1, max_length=service.MAX_CLASSES)


class ClassEdit(In):
    """What is not named stays as it is."""

    name: Line = unset()
    shortcut: Annotated[str, Field(pattern=r"^[0-9a-z]?$")] = unset()
    colour: Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")] = unset()


class Place(In):
    place: int = Field(ge=1, le=service.MAX_CLASSES, description="In the list of classes that are offered, from 1.")


class Into(In):
    into: Id


class Parts(In):
    names: list[Line] = Field(min_length=2, max_length=100)


class Decision(In):
    decision: Literal["accept", "merge", "refuse"]
    name: Line = unset()
    into: Id = unset()
    why: Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")] = ""


class ChangeOut(Out):
    id: int
    kind: str
    words: str
    state: str = Field(description="queued or running: a worker goes over the images.")
    done: int
    total: int
    by: Person | None
    created_at: datetime
    is_undone: bool


class Shown(Paging):
    archived: Literal["", "yes", "no"] = Field(
        "no", description="yes: only those that are offered no more; empty: all."
    )


@router.read(ROOT, Page[ClassOut])
def list_classes(request: HttpRequest, slug: str, paging: Query[Shown]) -> Rows[ClassOut]:
    """The classes of a project. `order` is how people see them."""
    access = member_access(request, slug)
    rows = access.project.classes.select_related("merged_into")
    if paging.archived:
        rows = rows.filter(is_archived=paging.archived == "yes")
    page = page_of(f"classes {slug} {paging.archived}", rows, paging)
    return Rows(_shown(list(page.items)), page.next)


@router.make(ROOT, list[ClassOut])
def make_classes(request: HttpRequest, slug: str, body: ClassesNew) -> list[ClassOut]:
    """Add classes. Those that are there already are passed over; returned are the new ones."""
    access = manager_access(request, slug)
    names = _named("names", lambda: service.class_names_in("\n".join(body.names)))
    with of_field("names"):
        made = service.add_classes(project=access.project, names=names, by=access.user)
    return _shown(list(access.project.classes.filter(pk__in=[row.pk for row in made])))


@router.change(f"{ROOT}/{{int:class_id}}", ClassOut)
def change_class(request: HttpRequest, slug: str, class_id: int, body: ClassEdit) -> ClassOut:
    """Name, key and colour of a class. Answers stay with it."""
    access = manager_access(request, slug)
    row = class_in(access, class_id)
    values = {"name": row.name, "shortcut": row.shortcut, "colour": row.colour} | body.model_dump(exclude_unset=True)
    values["name"] = _named("name", lambda: service.class_names_in(values["name"]))[0]
    service.change_class(label_class=row, by=access.user, **values)
    return _one(access, class_id)


@router.act(f"{ROOT}/{{int:class_id}}/move", ClassOut)
def move_class(request: HttpRequest, slug: str, class_id: int, body: Place) -> ClassOut:
    """To another place in the list."""
    access = manager_access(request, slug)
    service.move_class(label_class=class_in(access, class_id), to=body.place - 1, by=access.user)
    return _one(access, class_id)


@router.act(f"{ROOT}/{{int:class_id}}/restore", ClassOut)
def restore_class(request: HttpRequest, slug: str, class_id: int, body: Nothing = NONE) -> ClassOut:  # noqa: ARG001
    """Offer an archived class again."""
    access = manager_access(request, slug)
    row = class_in(access, class_id)
    if not service.restore_class(label_class=row, by=access.user) and row.fate:
        raise Problem(409, f"“{row}” was {row.get_fate_display()}: take that change back instead.")
    return _one(access, class_id)


@router.act(f"{ROOT}/{{int:class_id}}/archive", ClassOut)
def archive_class_(request: HttpRequest, slug: str, class_id: int, body: Nothing = NONE) -> ClassOut:  # noqa: ARG001
    """Offer it no more. Its answers and labels stay."""
    access = manager_access(request, slug)
    archive_class(label_class=class_in(access, class_id), by=access.user)
    return _one(access, class_id)


@router.act(f"{ROOT}/{{int:class_id}}/merge", ChangeOut)
def merge_class_(request: HttpRequest, slug: str, class_id: int, body: Into) -> ChangeOut:
    """Answers that name it mean another class from now on."""
    access = manager_access(request, slug)
    row = class_in(access, class_id)
    with of_field("into", "target", "itself"):
        return _change(merge_class(label_class=row, into=_target(access, row, body.into), by=access.user))


@router.act(f"{ROOT}/{{int:class_id}}/split", ChangeOut)
def split_class_(request: HttpRequest, slug: str, class_id: int, body: Parts) -> ChangeOut:
    """Its images are asked again, as one of the parts."""
    access = manager_access(request, slug)
    names = _named("names", lambda: service.class_names_in("\n".join(body.names)))
    with of_field("names", "itself", "too_few", "archived"):
        return _change(split_class(label_class=class_in(access, class_id), names=names, by=access.user))


@router.act(f"{ROOT}/{{int:class_id}}/decide", Outcome)
def decide_proposal(request: HttpRequest, slug: str, class_id: int, body: Decision) -> Outcome:
    """Of a proposed class (`fate`): accept it, perhaps under another name; merge it into one that there is; refuse
    it."""
    access = manager_access(request, slug)
    row, given = class_in(access, class_id), body.model_fields_set
    if body.decision == "accept":
        with of_field("name", "too_long", "twice"):
            accept_proposal(label_class=row, name=body.name if "name" in given else row.name, by=access.user)
    elif body.decision == "refuse":
        refuse_proposal(label_class=row, why=body.why, by=access.user)
    elif "into" not in given:
        raise invalid("into", "Say which class it is another name of.")
    else:
        merge_proposal(label_class=row, into=_target(access, row, body.into), by=access.user)
    return Outcome(changed=True, detail="Who proposed it is told.")


@router.act(f"{ROOT}/{{int:class_id}}/take-back", Outcome, who="member", scope=Scope.ANNOTATE)
def take_back_own_proposal(request: HttpRequest, slug: str, class_id: int, body: Nothing = NONE) -> Outcome:  # noqa: ARG001
    """What you have proposed yourself, as long as no manager has decided on it. Its images are asked again."""
    access = member_access(request, slug)
    count = take_back_proposal(label_class=class_in(access, class_id), by=access.user)
    return Outcome(changed=True, detail=f"Answers that count no more: {count}.")


@router.act("/projects/{slug:slug}/class-keys", Outcome)
def renew_keys(request: HttpRequest, slug: str, body: Nothing = NONE) -> Outcome:  # noqa: ARG001
    """Give keys in the order of the list: 1 to 9, 0, then letters."""
    access = manager_access(request, slug)
    service.renew_keys(project=access.project, by=access.user)
    return Outcome(changed=True, detail="Keys follow the order of the list now.")


@router.read(CHANGES, Page[ChangeOut], who="manager")
def list_class_changes(request: HttpRequest, slug: str, paging: Query[Paging]) -> Rows[ChangeOut]:
    """What was done to the classes, newest first."""
    access = manager_access(request, slug)
    page = page_of(f"class changes {slug}", _changes(access), paging, newest_first=True)
    return Rows([_change(row) for row in page.items], page.next)


@router.read(f"{CHANGES}/{{int:change_id}}", ChangeOut, who="manager")
def read_class_change(request: HttpRequest, slug: str, change_id: int) -> ChangeOut:
    """How far a change is."""
    return _change(_found(manager_access(request, slug), change_id))


@router.act(f"{CHANGES}/{{int:change_id}}/undo", ChangeOut)
def undo_class_change(request: HttpRequest, slug: str, change_id: int, body: Nothing = NONE) -> ChangeOut:  # noqa: ARG001
    """Take it back."""
    access = manager_access(request, slug)
    try:
        return _change(undo_change(change=_found(access, change_id), by=access.user))
    except ValidationError as error:
        raise Problem(409, error.messages[0]) from error


def _changes(access: Access) -> QuerySet[ClassChange]:
    return access.project.class_changes.select_related("created_by", "undone_by")


def _found(access: Access, pk: int) -> ClassChange:
    row = _changes(access).filter(pk=pk).first()
    if row is None:
        raise Http404("No such change")
    return row


def _target(access: Access, source: LabelClass, pk: int) -> LabelClass:
    row = targets_of(source).filter(pk=pk, project=access.project).first()
    if row is None:
        raise invalid("into", "Choose a class of this project that is offered.")
    return row


def _named(field: str, work: object) -> list[str]:
    try:
        names: list[str] = work()  # type: ignore[operator]
    except ValidationError as error:
        raise ValidationError({field: error.messages}) from error
    if not names:
        raise invalid(field, "Give it a name that can be seen.")
    return names


def _one(access: Access, pk: int) -> ClassOut:
    return _shown([class_in(access, pk)])[0]


def _shown(rows: list[LabelClass]) -> list[ClassOut]:
    counts = label_counts([row.pk for row in rows])
    names = ("id", "name", "shortcut", "colour", "order", "is_archived", "fate")
    return [
        ClassOut(
            **{name: getattr(row, name) for name in names},
            merged_into=class_name(row.merged_into) if row.fate == Fate.MERGED else None,
            images=counts.get(row.pk, 0),
        )
        for row in rows
    ]


def _change(row: ClassChange) -> ChangeOut:
    names = ("id", "kind", "words", "state", "done", "total", "created_at", "is_undone")
    return ChangeOut(**{name: getattr(row, name) for name in names}, by=person_of(row.created_by))
