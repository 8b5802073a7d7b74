"""Django's admin, for operators: every list and row opens; what services own is not edited; nothing inline."""

from __future__ import annotations

import pytest
from django.apps import apps
from django.contrib import admin
from django.urls import reverse

from labeler.models import Invitation, Project
from labeler.services.invitations import invite
from tests.labeler.queues import fill_queue

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)


@pytest.fixture
def operator(make_user, client_of):
    return client_of(make_user("root", is_staff=True, is_superuser=True))


def address(model, what: str, *arguments: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{what}", args=arguments)


def test_every_model_is_there() -> None:
    assert set(apps.get_app_config("labeler").get_models()) <= set(MODELS)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_lists_and_rows_open_without_anything_inline(model, operator, project, manager, make_images) -> None:
    fill_queue(project, make_images(project, 2))
    invite(project=project, role="annotator", note="", by=manager)
    pages = [address(model, "changelist"), f"{address(model, 'changelist')}?q=1"]
    first = model.objects.first()
    if first is not None:
        pages.append(address(model, "change", first.pk))
    for page in pages:
        reply = operator.get(page)
        assert reply.status_code == 200, page
        for part in reply.content.decode().split("<script")[1:]:
            opening = part.split(">")[0]
            assert "src=" in opening or "application/json" in opening, page


@pytest.mark.parametrize(
    "name", ["Annotation", "Round", "Candidate", "Image", "Invitation", "LabelClass", "LearningConfig", "Membership"]
)
def test_what_services_own_is_not_edited(name, operator, project, manager, make_images) -> None:
    fill_queue(project, make_images(project, 2))
    invite(project=project, role="annotator", note="", by=manager)
    model = apps.get_model("labeler", name)
    assert operator.get(address(model, "add")).status_code == 403
    first = model.objects.first()
    if first is not None:
        assert operator.post(address(model, "delete", first.pk), {"post": "yes"}).status_code == 403
        assert operator.post(address(model, "change", first.pk), {}).status_code == 403
        assert model.objects.filter(pk=first.pk).exists()


def test_no_project_without_its_settings_is_made_here(operator, project) -> None:
    assert operator.get(address(Project, "add")).status_code == 403
    assert operator.post(address(Project, "delete", project.pk), {"post": "yes"}).status_code == 403


def test_the_hash_of_a_link_is_not_shown(operator, project, manager) -> None:
    made = invite(project=project, role="annotator", note="", by=manager).invitation
    assert made.token_hash not in operator.get(address(Invitation, "change", made.pk)).content.decode()


def test_others_do_not_get_in(project, manager, client_of) -> None:
    reply = client_of(manager).get(reverse("admin:index"))
    assert reply.status_code == 302
    assert "/admin/login/" in reply.headers["Location"]
