"""Members of a project: their roles, and their leaving. There is always a manager."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import transaction

from labeler.models import Membership, Project, Role
from labeler.services.lease import release_leases

LAST_MANAGER = "This is the last manager. Make somebody else a manager first."


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


def _lock(membership: Membership) -> None:
    """Two managers who lower each other at the same moment come one after the other."""
    Project.objects.select_for_update(no_key=True).only("pk").get(pk=membership.project_id)


def _keep_a_manager(membership: Membership) -> None:
    managers = Membership.objects.filter(project_id=membership.project_id, role=Role.MANAGER)
    if set(managers.values_list("pk", flat=True)) == {membership.pk}:
        raise ValidationError(LAST_MANAGER, code="last_manager")
