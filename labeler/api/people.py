"""Members and invitations. Managers only."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from ninja import Query
from pydantic import Field

from labeler.access import Access, manager_access
from labeler.api.once import SHOWN_ONCE
from labeler.api.operations import NONE, In, Nothing, Operations, Out
from labeler.api.paging import Page, Paging, Rows, page_of, position_in, rows_of
from labeler.api.problems import Problem
from labeler.api.shapes import Outcome, Person, person_of
from labeler.models import Invitation, Membership
from labeler.selectors.people import PersonRow, open_invitations, people_rows
from labeler.services.invitations import invite, revoke_invitation
from labeler.services.people import (
    bring_back_member,
    change_role,
    deactivate_member,
    hand_back_leases,
    remove_member,
)

router = Operations("People")
MEMBERS = "/projects/{slug:slug}/members"
INVITATIONS = "/projects/{slug:slug}/invitations"
RoleName = Literal["annotator", "manager"]


class MemberOut(Out):
    id: int = Field(description="Of the membership.")
    person: Person
    role: str
    created_at: datetime
    deactivated_at: datetime | None
    answers: int
    last_answer_at: datetime | None
    leases: int = Field(description="Images that are on their screen.")


class RoleChange(In):
    role: RoleName


class InvitationNew(In):
    role: RoleName = "annotator"
    note: Annotated[str, Field(max_length=100, pattern=r"^[^\x00]*$")] = ""


class InvitationOut(Out):
    id: int
    role: str
    note: str
    created_by: Person | None
    created_at: datetime
    expires_at: datetime


class InvitationMade(InvitationOut):
    link: str = Field(description="Works once. Shown this one time.")


@router.read(MEMBERS, Page[MemberOut], who="manager")
def list_members(request: HttpRequest, slug: str, paging: Query[Paging]) -> Rows[MemberOut]:
    """Members with what they have answered."""
    access, name = manager_access(request, slug), f"members {slug}"
    after = position_in(name, paging.cursor) or 0
    rows = [_shown(row) for row in people_rows(access.project) if row.membership and row.membership.pk > after]
    return rows_of(name, sorted(rows, key=lambda row: row.id), paging, by="id")


@router.change(f"{MEMBERS}/{{int:member_id}}", MemberOut)
def change_member(request: HttpRequest, slug: str, member_id: int, body: RoleChange) -> MemberOut:
    """Another role. There is always a manager."""
    access = manager_access(request, slug)
    _try(lambda: change_role(membership=_member(access, member_id), role=body.role, by=access.user))
    return _one(access, member_id)


@router.remove(f"{MEMBERS}/{{int:member_id}}")
def remove_member_(request: HttpRequest, slug: str, member_id: int) -> None:
    """Take somebody out of the project. Their answers stay."""
    access = manager_access(request, slug)
    _try(lambda: remove_member(membership=_member(access, member_id), by=access.user))


@router.act(f"{MEMBERS}/{{int:member_id}}/deactivate", MemberOut)
def deactivate_member_(request: HttpRequest, slug: str, member_id: int, body: Nothing = NONE) -> MemberOut:  # noqa: ARG001
    """They see the project no more, until somebody brings them back."""
    access = manager_access(request, slug)
    _try(lambda: deactivate_member(membership=_member(access, member_id), by=access.user))
    return _one(access, member_id)


@router.act(f"{MEMBERS}/{{int:member_id}}/return", MemberOut)
def return_member(request: HttpRequest, slug: str, member_id: int, body: Nothing = NONE) -> MemberOut:  # noqa: ARG001
    """Bring somebody back."""
    access = manager_access(request, slug)
    bring_back_member(membership=_member(access, member_id), by=access.user)
    return _one(access, member_id)


@router.act(f"{MEMBERS}/{{int:member_id}}/release", Outcome)
def release_member(request: HttpRequest, slug: str, member_id: int, body: Nothing = NONE) -> Outcome:  # noqa: ARG001
    """What is on their screen goes to others."""
    access = manager_access(request, slug)
    count = hand_back_leases(membership=_member(access, member_id), by=access.user)
    return Outcome(changed=count > 0, detail=f"{count} image{'s' * (count != 1)} given back.")


@router.read(INVITATIONS, Page[InvitationOut], who="manager")
def list_invitations(request: HttpRequest, slug: str, paging: Query[Paging]) -> Rows[InvitationOut]:
    """Those that are open."""
    access = manager_access(request, slug)
    page = page_of(f"invitations {slug}", open_invitations(access.project), paging)
    return Rows([InvitationOut(**_invitation(row)) for row in page.items], page.next)


@router.make(INVITATIONS, InvitationMade)
def make_invitation(request: HttpRequest, slug: str, body: InvitationNew, response: HttpResponse) -> InvitationMade:
    """A link that lets one person in. It is shown this one time."""
    access = manager_access(request, slug)
    new = invite(project=access.project, role=body.role, note=body.note, by=access.user)
    response[SHOWN_ONCE] = "yes"
    link = request.build_absolute_uri(reverse("invitation", args=[new.token]))
    return InvitationMade(**_invitation(new.invitation), link=link)


@router.remove(f"{INVITATIONS}/{{int:invitation_id}}")
def revoke_invitation_(request: HttpRequest, slug: str, invitation_id: int) -> None:
    """Its link opens nothing any more."""
    access = manager_access(request, slug)
    row = access.project.invitations.filter(pk=invitation_id).first()
    if row is None:
        raise Http404("No such invitation")
    revoke_invitation(invitation=row, by=access.user)


def _member(access: Access, pk: int) -> Membership:
    row = access.project.memberships.select_related("user", "project").filter(pk=pk).first()
    if row is None:
        raise Http404("No such member")
    return row


def _try(work: object) -> None:
    """What speaks against it is how things are, and no mistake in the request."""
    try:
        work()  # type: ignore[operator]
    except ValidationError as error:
        raise Problem(409, error.messages[0]) from error


def _one(access: Access, pk: int) -> MemberOut:
    rows = (row for row in people_rows(access.project) if row.membership and row.membership.pk == pk)
    row = next(rows, None)
    if row is None:
        raise Http404("No such member")
    return _shown(row)


def _shown(row: PersonRow) -> MemberOut:
    member = row.membership
    assert member is not None
    return MemberOut(
        id=member.pk,
        person=Person(id=row.user.pk, username=row.user.get_username()),
        role=member.role,
        created_at=member.created_at,
        deactivated_at=member.deactivated_at,
        answers=row.answers,
        last_answer_at=row.last_answer_at,
        leases=row.leases,
    )


def _invitation(row: Invitation) -> dict[str, Any]:
    names = ("id", "role", "note", "created_at", "expires_at")
    return {name: getattr(row, name) for name in names} | {"created_by": person_of(row.created_by)}
