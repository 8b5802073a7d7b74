"""Every operation x role x scope, read off the document: one that is not in the table of bodies fails the test."""

from __future__ import annotations

import re
import uuid
from io import BytesIO
from typing import Any

import pytest
from django.core.cache import cache

from labeler.api.app import openapi
from labeler.models import Annotation, Image, LabelClass, LearningConfig, Membership, Project, Role, Scope
from labeler.services.tokens import make_token
from tests.labeler.api.conftest import ApiClient
from tests.labeler.test_access_matrix import build

OPERATIONS = {
    operation["operationId"]: (method.upper(), path.removeprefix("/api/v1"), operation["x-scope"], operation["x-who"])
    for path, methods in openapi()["paths"].items()
    for method, operation in methods.items()
}
OF_A_PROJECT = sorted(name for name, (_, path, _, _) in OPERATIONS.items() if "{slug}" in path)
NOTHING: dict[str, Any] = {}
# What each writing operation is sent: ids of the world below, by their names in angle brackets.
BODIES: dict[str, Any] = {
    "make_project": {"name": "New"},
    "return_images": {"images": [1]},
    "change_project": {"guidelines": "Look."},
    "copy_project": {"name": "Copy"},
    "pause_project": NOTHING,
    "resume_project": NOTHING,
    "change_learning": {"budget": 20},
    "make_classes": {"names": ["elk"]},
    "change_class": {"colour": "#000000"},
    "move_class": {"place": 2},
    "restore_class": NOTHING,
    "archive_class": NOTHING,
    "merge_class": {"into": "<other_class>"},
    "split_class": {"names": ["big", "small"]},
    "decide_proposal": {"decision": "accept"},
    "take_back_own_proposal": NOTHING,
    "renew_keys": NOTHING,
    "undo_class_change": NOTHING,
    "change_member": {"role": "manager"},
    "remove_member": None,
    "deactivate_member": NOTHING,
    "return_member": NOTHING,
    "release_member": NOTHING,
    "make_invitation": {"role": "annotator"},
    "revoke_invitation": None,
    "make_import": NOTHING,
    "import_from_folder": {"path": "/nowhere"},
    "import_from_bucket": {"name": "pictures"},
    "put_import_part": b"bytes",
    "finish_import": NOTHING,
    "cancel_import": NOTHING,
    "retry_import": NOTHING,
    "take_labels": {"take": "classes"},
    "return_image": NOTHING,
    "lease_next": {"want": 1},
    "make_answer": {"key": "<uuid>", "image": "<image>", "outcome": "label", "label_class": "<class>"},
    "undo_answer": {"key": "<uuid>"},
    "renew": {"candidates": [1]},
    "release": {"candidates": [1]},
    "start_round": NOTHING,
    "cancel_round": NOTHING,
    "retry_round": NOTHING,
    "choose_model": {"round": "<round>"},
    "release_model": NOTHING,
    "start_rerun": NOTHING,
    "stop_rerun": NOTHING,
    "start_replay": NOTHING,
    "stop_replay": NOTHING,
    "send_images": {"positions": [0, 1]},
    "draw_map": NOTHING,
    "start_comparison": {"members": 3},
    "accept_grid_page": {"key": "<uuid>", "label_class": "<class>", "round": "<round>", "accepted": ["<image>"]},
    "undo_grid_page": NOTHING,
    "start_features": NOTHING,
    "stop_features": NOTHING,
    "start_network": NOTHING,
    "stop_network": NOTHING,
    "leave_network": NOTHING,
    "take_network": NOTHING,
    "put_schedule": {"at": "02:00", "days": ["monday"]},
    "prepare_model": NOTHING,
    "stop_preparing": NOTHING,
    "predict": b"bytes",
    "predict_archive": {"format": "csv", "archive": b"no archive"},
    "stop_archive": NOTHING,
    "make_export": {"format": "csv"},
    "cancel_export": NOTHING,
    "delete_export": None,
    "make_webhook": {"address": "https://example.org/told", "events": ["round_done"]},
    "delete_webhook": None,
    "test_webhook": NOTHING,
    "start_webhook": NOTHING,
    "make_comment": {"key": "<uuid>", "image": "<image>", "text": "What is it?"},
    "close_comment": {"reply": "A cat."},
    "read_reply": NOTHING,
    "decide_image": {"key": "<uuid>", "label_class": "<class>", "seen": 0},
    "undo_decision": {"key": "<uuid>"},
    "mark_labels_gold": {"positions": [0]},
    "put_gold": {"label_class": "<class>"},
    "remove_gold": None,
    "put_example": NOTHING,
    "remove_example": None,
    "dismiss_notice": NOTHING,
}
FORMS = {"predict_archive"}  # sent as multipart forms
# What an operation cannot do without behind the question mark
QUERIES = {
    "put_import_part": "?name=a.png&size=5&offset=0",
    "list_confused": "?said=1&predicted=1",
    "read_comparison": "?one=8&other=8",
}
NO_FILES = {"read_picture", "download_export", "download_predictions"}  # the world's images and exports are rows alone
SOMEBODY_ELSES = {"read_reply", "read_quality_of"}  # a comment's writer, and the person whom it is about, alone
MADE_FIRST = {"undo_decision", "undo_grid_page", "list_confused"}  # 404 in a world without any of those


@pytest.fixture
def world(project, manager, annotator, make_images):
    cache.clear()
    found = build(project, manager, make_images)
    ids = found.ids
    ids["other_class"] = project.classes.last().pk
    ids["page"] = 1
    ids["member"] = project.memberships.get(user=annotator).pk
    return found


def call(api: ApiClient, name: str, world: Any, slug: str = "signs") -> Any:
    method, path, _, _ = OPERATIONS[name]
    names = {
        "class_id": "class", "change_id": "change", "member_id": "member", "invitation_id": "invitation",
        "import_id": "import", "image_id": "image", "number": "round", "export_id": "export", "comment_id": "comment",
        "notice_id": "notice", "user_id": "person", "webhook_id": "webhook",
        "network_id": "network",
        "gallery": "gallery", "page_id": "page", "archive_id": "prediction",
    }  # fmt: skip

    def value(found: re.Match[str]) -> str:
        if found[1] == "slug":
            return slug
        return str(uuid.uuid4()) if found[1] == "key" else str(world.ids[names[found[1]]])

    address = re.sub(r"{(\w+)}", value, path) + QUERIES.get(name, "")
    body = BODIES.get(name)
    if isinstance(body, bytes):
        url = f"/api/v1{address}"
        return getattr(api.client, method.lower())(url, body, "application/octet-stream", headers=api.headers)
    if name in FORMS:
        form = {at: BytesIO(said) if isinstance(said, bytes) else said for at, said in body.items()}
        return api.client.post(f"/api/v1{address}", form, headers=api.headers)
    if isinstance(body, dict):
        body = {field: _filled(value, world) for field, value in body.items()}
    return api.send(method, address, body)


def _filled(value: Any, world: Any) -> Any:
    if isinstance(value, list):
        return [_filled(each, world) for each in value]
    if isinstance(value, str) and value.startswith("<"):
        return str(uuid.uuid4()) if value == "<uuid>" else world.ids[value[1:-1]]
    return value


def test_every_operation_that_writes_is_in_the_table():
    assert set(BODIES) == {name for name, (method, *_) in OPERATIONS.items() if method != "GET"}
    assert len(OPERATIONS) > 140


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_nobody_comes_in_without_a_token(world, name):
    assert call(ApiClient(), name, world).status_code == 401
    assert call(ApiClient("pm_of_nobody"), name, world).status_code == 401


@pytest.mark.parametrize("name", OF_A_PROJECT)
def test_to_strangers_there_is_no_project(world, api_of, stranger, name):
    reply = call(api_of(stranger), name, world)
    assert reply.status_code == 404 and reply.json()["errors"] == []


@pytest.mark.parametrize("name", OF_A_PROJECT)
def test_annotators_do_what_is_theirs(world, as_annotator, name):
    reply = call(as_annotator, name, world)
    who = OPERATIONS[name][3]
    if who == "manager":
        assert reply.status_code == 403 and "manager" in reply.json()["detail"]
    elif name not in NO_FILES | SOMEBODY_ELSES:
        assert reply.status_code in (200, 201, 422), reply.content


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_a_token_does_what_it_is_for_and_nothing_else(world, manager, name):
    scope = OPERATIONS[name][2]
    others = [each for each in Scope.values if each != scope]
    reply = call(ApiClient(make_token(user=manager, name="t", scopes=others, days=1).token), name, world)
    assert reply.status_code == 403 and f"“{scope}”" in reply.json()["detail"]
    reply = call(ApiClient(make_token(user=manager, name="t", scopes=[scope], days=1).token), name, world)
    assert reply.status_code not in (401, 403, 404, 405, 415, 500) or name in NO_FILES | MADE_FIRST, reply.content


@pytest.mark.parametrize("name", OF_A_PROJECT)
def test_objects_of_another_project_are_not_there(world, api_of, make_user, name):
    """A manager of one project puts ids of another into addresses and bodies of their own."""
    olga = make_user("olga")
    other = Project.objects.create(name="Other", slug="other")
    LearningConfig.objects.create(project=other)
    Membership.objects.create(project=other, user=olga, role=Role.MANAGER)
    reply = call(api_of(olga), name, world, slug="other")
    _, path, _, _ = OPERATIONS[name]
    is_of_an_object = "{" in path.replace("{slug}", "").replace("{gallery}", "")  # a gallery has a name, no owner
    if is_of_an_object or "<" in str(BODIES.get(name)):
        assert reply.status_code in (404, 422), reply.content
    assert Image.objects.filter(project=world.project).count() == 3
    assert LabelClass.objects.filter(project=world.project, is_archived=False).count() == 3
    assert not Annotation.objects.exists()


@pytest.mark.parametrize("name", OF_A_PROJECT)
def test_who_is_deactivated_is_told_so(world, api_of, annotator, name):
    world.project.memberships.filter(user=annotator).update(deactivated_at="2026-01-01T00:00:00Z")
    reply = call(api_of(annotator), name, world)
    assert reply.status_code == 403 and "paused your access" in reply.json()["detail"]


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_a_parameter_that_there_is_not_is_refused_before_anything_is_done(world, as_manager, name):
    """A mistyped filter must not look like a result."""
    method, path, _, _ = OPERATIONS[name]
    stands_for = {"slug": "signs", "key": str(uuid.uuid4()), "gallery": "sure"}
    address = re.sub(r"{(\w+)}", lambda found: stands_for.get(found[1], "1"), path)
    reply = as_manager.send(method, f"{address}?lable=1")
    assert reply.status_code == 422, reply.content
    assert [each["field"] for each in reply.json()["errors"]] == ["lable"]
