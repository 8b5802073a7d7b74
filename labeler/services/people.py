"""Members of a project: roles, leaving, pauses. There is always a manager. And members who are no people."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from labeler import clock
from labeler.models import AuditKind, Membership, Project, Role, User
from labeler.services import audit
from labeler.services.lease import release_leases
from labeler.told import Told, ntold, told

LAST_MANAGER = gettext_lazy("This is the last manager. Make somebody else a manager first.")
# The mark of an account that is no person's: who makes an account for themselves gives no address, and mail to
# .invalid goes nowhere (RFC 2606).
SIMULATED = "simulated@annotator.invalid"


@transaction.atomic
def change_role(*, membership: Membership, role: str, by: User | None = None) -> None:
    """Raises ValidationError for an unknown role, and if no manager would be left."""
    if role not in Role.values:
        raise ValidationError(_("A role is one of: %(names)s.") % {"names": ", ".join(Role.values)}, code="role")
    before = _locked(membership).role
    if role != Role.MANAGER:
        _keep_a_manager(membership)
    if Membership.objects.filter(pk=membership.pk).exclude(role=role).update(role=role):
        _record(membership, by, _made(membership, role, before))


@transaction.atomic
def remove_member(*, membership: Membership, by: User | None = None) -> None:
    """Their leases return to the queue, their answers stay. Raises ValidationError if no manager would be left."""
    _locked(membership)
    _keep_a_manager(membership)
    release_leases(project=membership.project, annotator=membership.user)
    if Membership.objects.filter(pk=membership.pk).delete()[0]:
        left, removed = told("left the project"), told("removed %(person)s", person=membership.user)
        has_left = by is not None and by.pk == membership.user_id
        _record(membership, by, left if has_left else removed)


@transaction.atomic
def deactivate_member(*, membership: Membership, by: User) -> int:
    """The person sees the project no more until somebody brings them back. Answers stay; what they have on the screen
    goes to others at once. Returns how many images that are.

    An answer that is under way is kept; one that comes later is refused in words, and stays in their browser. Raises
    ValidationError if no manager would be left, and for oneself.
    """
    _locked(membership)
    if by.pk == membership.user_id:
        raise ValidationError(_("You cannot deactivate yourself. You can leave the project."), code="oneself")
    _keep_a_manager(membership)
    is_active = Membership.objects.filter(pk=membership.pk, deactivated_at__isnull=True)
    if is_active.update(deactivated_at=clock.now()):
        _record(membership, by, told("deactivated %(person)s", person=membership.user))
    return release_leases(project=membership.project, annotator=membership.user)


@transaction.atomic
def bring_back_member(*, membership: Membership, by: User) -> None:
    """As they were; what waits in their browser is sent by itself."""
    _locked(membership)
    if Membership.objects.filter(pk=membership.pk, deactivated_at__isnull=False).update(deactivated_at=None):
        _record(membership, by, told("brought %(person)s back", person=membership.user))


@transaction.atomic
def hand_back_leases(*, membership: Membership, by: User) -> int:
    """What the person has on the screen, or had before they went away, is asked of everybody again. How many images."""
    count = release_leases(project=membership.project, annotator=membership.user)
    if count:
        words = ntold(
            "handed back %(count)s image that %(person)s had", "handed back %(count)s images that %(person)s had",
            count,             person=membership.user,
        )  # fmt: skip
        _record(membership, by, words)
    return count


@transaction.atomic
def make_simulated(*, project: Project, numbers: Sequence[int]) -> list[tuple[str, str]]:
    """Annotators `oracle-{number}` in the project, each with a new password: (name, password) of each. Who is signed in
    with the former one is signed out by that.

    Raises ValidationError, and does nothing, if one of these names is that of an account that was not made here.
    """
    people = []
    for number in numbers:
        user, _ = User.objects.get_or_create(username=f"oracle-{number}", defaults={"email": SIMULATED})
        if user.email != SIMULATED:
            raise ValidationError(
                f"There is an account “{user}” that no simulation made: it may be a person's, and is left as it is. "
                f"To simulate {len(numbers)} annotators, give it another name in the admin first.",
                code="not_simulated",
            )
        password = secrets.token_urlsafe(16)
        user.set_password(password)
        user.save(update_fields=["password"])
        Membership.objects.get_or_create(project=project, user=user, defaults={"role": Role.ANNOTATOR})
        people.append((user.username, password))
    return people


def _locked(membership: Membership) -> Membership:
    """As it is now. Two managers who lower each other at the same moment come one after the other."""
    Project.objects.select_for_update(no_key=True).only("pk").get(pk=membership.project_id)
    return Membership.objects.filter(pk=membership.pk).first() or membership


def _keep_a_manager(membership: Membership) -> None:
    managers = Membership.objects.filter(
        project_id=membership.project_id, role=Role.MANAGER, deactivated_at__isnull=True
    )
    if set(managers.values_list("pk", flat=True)) == {membership.pk}:
        raise ValidationError(LAST_MANAGER, code="last_manager")


def _record(membership: Membership, by: User | None, words: str) -> None:
    audit.record(project=membership.project, by=by, kind=AuditKind.PEOPLE, words=words, person=membership.user_id)


def _made(membership: Membership, role: str, before: str) -> Told:
    if role == Role.ANNOTATOR:
        return told("made %(person)s an annotator (%(before)s before)", person=membership.user, before=a_role(before))
    return told("made %(person)s a manager (%(before)s before)", person=membership.user, before=a_role(before))


def a_role(role: str) -> Told:
    """As the record has it."""
    return told("manager") if role == Role.MANAGER else told("annotator")
