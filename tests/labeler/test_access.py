"""What `member_access` reads by hand is what the ORM would read."""

from __future__ import annotations

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import Http404
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from labeler.access import manager_access, member_access
from labeler.models import LearningConfig, Project, Role


def request_of(user):
    request = RequestFactory().get("/")
    request.user = user
    return request


def test_the_project_and_its_learning_come_whole_in_one_statement(project, annotator) -> None:
    with CaptureQueriesContext(connection) as captured:
        access = member_access(request_of(annotator), "signs")
        learning = access.project.learning
        assert learning.project is access.project
    assert len(captured) == 1
    assert access.role == Role.ANNOTATOR
    for read, stored in [
        (access.project, Project.objects.get(pk=project.pk)),
        (learning, LearningConfig.objects.get(project=project)),
    ]:
        for field in type(stored)._meta.concrete_fields:
            assert getattr(read, field.attname) == getattr(stored, field.attname), field
            assert type(getattr(read, field.attname)) is type(getattr(stored, field.attname)), field
    learning.budget = 7
    learning.save()
    assert LearningConfig.objects.get().budget == 7


def test_strangers_find_nothing_and_annotators_do_not_manage(project, annotator, stranger, manager) -> None:
    with pytest.raises(Http404):
        member_access(request_of(stranger), "signs")
    with pytest.raises(Http404):
        member_access(request_of(annotator), "no-such-project")
    with pytest.raises(PermissionDenied):
        manager_access(request_of(annotator), "signs")
    assert manager_access(request_of(manager), "signs").is_manager


def test_a_site_admin_manages_every_project(project, make_user) -> None:
    assert manager_access(request_of(make_user("root", is_superuser=True)), "signs").project == project
