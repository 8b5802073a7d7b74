"""One-time links. The token is known to who made it and who got it; the database keeps its hash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from labeler import clock
from labeler.models import AuditKind, Invitation, Membership, Project, Role, User
from labeler.services import audit
from labeler.services.people import a_role
from labeler.told import Told, told

MAX_OPEN = 200  # of a project


class InvitationGoneError(Exception):
    """Used, expired or revoked: also a moment ago, by somebody else."""


@dataclass(frozen=True)
class NewInvitation:
    invitation: Invitation
    token: str


def find_invitation(token: str) -> Invitation | None:
    return (
        Invitation.objects.filter(token_hash=Invitation.hash_token(token))
        .select_related("project", "created_by", "used_by")
        .first()
    )


@transaction.atomic
def invite(*, project: Project, role: str, note: str, by: User) -> NewInvitation:
    """Raises ValidationError past MAX_OPEN open ones."""
    now = clock.now()
    still_open = project.invitations.filter(used_at=None, revoked_at=None, expires_at__gt=now)
    if still_open.count() >= MAX_OPEN:
        raise ValidationError(
            _("%(number)s invitations are open. Revoke some first.") % {"number": MAX_OPEN}, code="too_many"
        )
    token = Invitation.new_token()
    invitation = Invitation(
        project=project, role=role, note=note, token_hash=Invitation.hash_token(token), created_by=by
    )
    invitation.full_clean(exclude=["project", "created_by", "used_by", "used_at", "revoked_at"])
    invitation.save()
    _record(invitation, by, _made(role, note))
    return NewInvitation(invitation, token)


@transaction.atomic
def revoke_invitation(*, invitation: Invitation, by: User | None = None) -> bool:
    """False if it was used or revoked before."""
    is_open = Invitation.objects.filter(pk=invitation.pk, used_at=None, revoked_at=None)
    if is_open.update(revoked_at=clock.now()) != 1:
        return False
    _record(invitation, by, told("revoked an invitation as %(role)s", role=a_role(invitation.role)))
    return True


@transaction.atomic
def join_as_new(*, invitation: Invitation, save_user: Callable[[], User]) -> User:
    """The account and the membership, or neither. Raises InvitationGoneError; IntegrityError if the name was taken."""
    user = save_user()
    _spend(invitation, user)
    Membership.objects.create(project=invitation.project, user=user, role=invitation.role)
    return user


@transaction.atomic
def join(*, invitation: Invitation, user: User) -> Membership:
    """Somebody with an account joins. Who is in already keeps the link unspent, unless it raises their role."""
    membership = Membership.objects.filter(project=invitation.project, user=user).first()
    if membership is not None and (membership.deactivated_at or not raises_role(membership, invitation)):
        return membership  # nobody comes back by a link, but by a manager's word
    _spend(invitation, user)
    membership, _ = Membership.objects.update_or_create(
        project=invitation.project, user=user, defaults={"role": invitation.role}
    )
    return membership


def raises_role(membership: Membership, invitation: Invitation) -> bool:
    return membership.role == Role.ANNOTATOR and invitation.role == Role.MANAGER


def _spend(invitation: Invitation, user: User) -> None:
    """Of two people who race for one link, the conditional UPDATE lets one through."""
    now = clock.now()
    is_open = Invitation.objects.filter(pk=invitation.pk, used_at=None, revoked_at=None, expires_at__gt=now)
    if is_open.update(used_by=user, used_at=now) != 1:
        raise InvitationGoneError
    maker = invitation.created_by.get_username()
    _record(invitation, user, _joined(invitation, maker))


def _made(role: str, note: str) -> Told:
    if note:
        return told("made an invitation as %(role)s (%(note)s)", role=a_role(role), note=note)
    return told("made an invitation as %(role)s", role=a_role(role))


def _joined(invitation: Invitation, maker: str) -> Told:
    return told("joined as %(role)s, invited by %(person)s", role=a_role(invitation.role), person=maker)


def _record(invitation: Invitation, by: User | None, words: str) -> None:
    audit.record(project=invitation.project, by=by, kind=AuditKind.INVITATIONS, words=words, invitation=invitation.pk)
