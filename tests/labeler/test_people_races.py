"""Two people at the same moment: threads with their own connections, on the real database."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from labeler.models import Invitation, Membership, Project, Role, User
from labeler.services import classes
from labeler.services.invitations import InvitationGoneError, find_invitation, invite, join, join_as_new
from labeler.services.people import change_role
from labeler.services.projects import create_project

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(*works: Callable[[], object]) -> list[object]:
    """What each returned, or the exception that it raised."""
    barrier, results = threading.Barrier(len(works)), [None] * len(works)

    def run(at: int) -> None:
        barrier.wait(timeout=30)
        try:
            results[at] = works[at]()
        except Exception as error:  # noqa: BLE001 (whatever it is, the test looks at it)
            results[at] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(at,)) for at in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return results


def test_one_link_and_six_strangers_make_one_account(project, manager) -> None:
    token = invite(project=project, role=Role.ANNOTATOR, note="", by=manager).token
    before = User.objects.count()

    def work(number: int) -> Callable[[], object]:
        return lambda: join_as_new(
            invitation=find_invitation(token), save_user=lambda: User.objects.create(username=f"new{number}")
        )

    results = at_once(*[work(number) for number in range(6)])
    assert sum(isinstance(result, User) for result in results) == 1
    assert sum(isinstance(result, InvitationGoneError) for result in results) == 5
    assert User.objects.count() == before + 1
    assert Invitation.objects.get().used_by in User.objects.filter(username__startswith="new")


def test_one_person_who_clicks_twice_is_a_member_once(project, manager, stranger) -> None:
    token = invite(project=project, role=Role.ANNOTATOR, note="", by=manager).token
    results = at_once(*[lambda: join(invitation=find_invitation(token), user=stranger)] * 4)
    assert all(isinstance(result, Membership | InvitationGoneError) for result in results), results
    assert project.memberships.filter(user=stranger).count() == 1


def test_two_managers_who_lower_each_other_leave_one(project, manager, annotator) -> None:
    Membership.objects.filter(user=annotator).update(role=Role.MANAGER)
    both = [project.memberships.get(user=user) for user in (manager, annotator)]
    results = at_once(*[lambda one=one: change_role(membership=one, role=Role.ANNOTATOR) for one in both])
    assert sum(isinstance(result, ValidationError) for result in results) == 1
    assert project.memberships.filter(role=Role.MANAGER).count() == 1


def test_a_double_click_makes_one_project(manager) -> None:
    make = lambda: create_project(name="Owls", guidelines="", class_names=["a", "b"], by=manager)  # noqa: E731
    results = at_once(make, make, make)
    assert len({result.pk for result in results}) == 1
    assert Project.objects.get().classes.count() == 2


def test_people_who_choose_one_name_get_an_address_each(manager, annotator, stranger) -> None:
    people = (manager, annotator, stranger)
    results = at_once(
        *[lambda by=by: create_project(name="Owls", guidelines="", class_names=[], by=by) for by in people]
    )
    assert {result.slug for result in results} == {"owls", "owls-2", "owls-3"}


def test_classes_added_by_two_at_once_are_there_once_with_a_key_each(project) -> None:
    names = [f"class {number}" for number in range(8)]
    add = lambda: classes.add_classes(project=project, names=names)  # noqa: E731
    results = at_once(add, add)
    assert sorted(map(len, results)) == [0, 8]
    keys = list(project.classes.values_list("shortcut", flat=True))
    assert len(keys) == len(set(keys)) == 11
