"""Members of a project: their roles, and their leaving. There is always a manager. And members who are no people."""

from __future__ import annotations

import secrets

from django.core.exceptions import ValidationError
from django.db import transaction

from labeler.models import Membership, Project, Role, User
from labeler.services.lease import release_leases

LAST_MANAGER = "This is the last manager. Make somebody else a manager first."
# The mark of an account that is no person's: who makes an account for themselves gives no address, and mail to
# .invalid goes nowhere (RFC 2606).
SIMULATED = "simulated@annotator.invalid"


@transaction.atomic
def change_role(*, membership: Membership, role: str) -> None:
    """Raises ValidationError for an unknown role, and if no manager would be left."""
    if role not in Role.values:
        raise ValidationError(f"A role is one of: {', '.join(Role.values)}.", code="role")
    _lock(membership)
    if role != Role.MANAGER:
        _keep_a_manager(membership)
    Membership.objects.filter(pk=membership.pk).update(role=role)


@transaction.atomic
def remove_member(*, membership: Membership) -> None:
    """Their leases return to the queue, their answers stay. Raises ValidationError if no manager would be left."""
    _lock(membership)
    _keep_a_manager(membership)
    release_leases(project=membership.project, annotator=membership.user)
    Membership.objects.filter(pk=membership.pk).delete()


@transaction.atomic
def make_simulated(*, project: Project, count: int) -> list[tuple[str, str]]:
    """Annotators `oracle-1` to `oracle-{count}` in the project, each with a new password: (name, password) of each.

    Raises ValidationError, and does nothing, if one of these names is that of an account that was not made here.
    """
    people = []
    for number in range(1, count + 1):
        user, _ = User.objects.get_or_create(username=f"oracle-{number}", defaults={"email": SIMULATED})
        if user.email != SIMULATED:
            raise ValidationError(
                f"There is an account “{user}” that no simulation made: it may be a person's, and is left as it is. "
                f"To simulate {count} annotators, give it another name in the admin first.",
                code="not_simulated",
            )
        password = secrets.token_urlsafe(16)
        user.set_password(password)
        user.save(update_fields=["password"])
        Membership.objects.get_or_create(project=project, user=user, defaults={"role": Role.ANNOTATOR})
        people.append((user.username, password))
    return people


def _lock(membership: Membership) -> None:
    """Two managers who lower each other at the same moment come one after the other."""
    Project.objects.select_for_update(no_key=True).only("pk").get(pk=membership.project_id)


def _keep_a_manager(membership: Membership) -> None:
    managers = Membership.objects.filter(project_id=membership.project_id, role=Role.MANAGER)
    if set(managers.values_list("pk", flat=True)) == {membership.pk}:
        raise ValidationError(LAST_MANAGER, code="last_manager")
