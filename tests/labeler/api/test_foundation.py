"""What all operations share: problems that name the field, cursors, and requests that are done once."""

from __future__ import annotations

import json

import pytest

from labeler.api.app import openapi
from labeler.api.document import CONFLICTING
from labeler.models import ApiReply, AuditEntry, LabelClass, Project, Round, RoundState, Trigger, Webhook
from labeler.services.claims import mark_done
from labeler.services.tokens import forget_replies


def test_problems_name_the_field(as_manager, project):
    reply = as_manager.patch("/projects/signs", {"name": 7, "nmae": "x"})
    assert reply.status_code == 422
    assert reply["Content-Type"] == "application/problem+json"
    assert {error["field"] for error in reply.json()["errors"]} == {"name", "nmae"}
    assert reply.json()["type"] == "/api/v1/docs/#invalid"


def test_what_a_service_refuses_names_the_field_too(as_manager, project):
    reply = as_manager.patch(f"/projects/signs/classes/{project.classes.first().pk}", {"name": "dog"})
    assert reply.status_code == 422
    assert reply.json()["errors"][0]["field"] == "name"


def test_where_nothing_is_asked_for_nothing_has_to_be_sent(as_manager, project):
    for path in ("resume", "class-keys", "imports", "learning/features/stop", "replay/stop"):
        assert as_manager.send("POST", f"/projects/signs/{path}").status_code in (200, 201), path
    operation = openapi()["paths"]["/api/v1/projects/{slug}/resume"]["post"]
    assert operation["requestBody"]["required"] is False


@pytest.mark.parametrize("body", [None, "[1]", "3", '"x"', "null"])
def test_where_the_body_is_missing_or_no_object_it_is_said_what_to_send(as_manager, project, body):
    reply = as_manager.send("POST", "/projects/signs/classes", body)
    assert reply.status_code == 422
    [error] = reply.json()["errors"]
    assert error["field"] == "body" and "Send a JSON object" in error["detail"]
    assert as_manager.send("POST", "/projects/signs/pause", "[1]").json()["errors"][0]["field"] == "body"


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/projects", {"name": "New", "classes": ["a", "A"]}, "classes"),
        ("/projects/signs/classes", {"names": ["a", "A"]}, "names"),
        ("/projects/signs/classes", {"names": [f"class {n}" for n in range(1999)]}, "names"),
        ("/projects/signs/classes/{cat}/split", {"names": ["cat", "kitten"]}, "names"),
        ("/projects/signs/classes/{cat}/split", {"names": ["a", "b", "b"]}, "names"),
    ],
)
def test_what_services_refuse_of_names_says_whose(as_manager, project, path, body, field):
    reply = as_manager.post(path.format(cat=project.classes.first().pk), body)
    assert (reply.status_code, reply.json()["errors"][0]["field"]) == (422, field), reply.content


@pytest.mark.parametrize("body", ["{", "[" * 100_000, "NaN x"])
def test_what_is_no_json_is_said(as_manager, project, body):
    assert as_manager.post("/projects/signs/classes", body).status_code == 400


@pytest.mark.parametrize("body", ['{"target_accuracy": NaN}', '{"name": "\\u0000"}', '{"name": "\\ud800"}', "[1]", "3"])
def test_values_that_no_database_could_keep(as_manager, project, body):
    assert as_manager.send("PATCH", "/projects/signs", body).status_code == 422


def test_other_kinds_of_body(as_manager, project):
    reply = as_manager.client.post("/api/v1/projects", "name=x", "text/plain", headers=as_manager.headers)
    assert reply.status_code == 415 and reply.json()["status"] == 415


def test_methods_that_there_are_not(as_manager, project):
    reply = as_manager.send("DELETE", "/projects/signs/labels")
    assert reply.status_code == 405 and reply["Allow"] == "GET"
    assert reply["Content-Type"] == "application/problem+json"
    assert as_manager.get("/nothing").json()["status"] == 404


def test_a_large_body_is_refused_before_it_is_read(as_manager, project, settings):
    settings.BODY_MAX = settings.BODY_MAX_SIGNED_OUT = 100
    reply = as_manager.post("/projects/signs/classes", {"names": ["x" * 100]})
    assert reply.status_code == 413 and reply["Content-Type"] == "application/problem+json"


def test_pages_neither_hide_nor_repeat_what_comes_meanwhile(as_manager, project):
    for number in range(7):
        LabelClass.objects.create(project=project, name=f"extra {number}", colour="#000000", order=number)
    first = as_manager.get("/projects/signs/classes?limit=4").json()
    LabelClass.objects.create(project=project, name="later", colour="#000000", order=0)
    second = as_manager.get(f"/projects/signs/classes?limit=4&cursor={first['next']}").json()
    third = as_manager.get(f"/projects/signs/classes?limit=4&cursor={second['next']}").json()
    names = [row["name"] for page in (first, second, third) for row in page["items"]]
    assert len(names) == len(set(names)) == 11 and third["next"] is None


def test_a_cursor_is_of_its_list_and_ours(as_manager, project, make_images):
    make_images(project, 3)
    cursor = as_manager.get("/projects/signs/classes?limit=1").json()["next"]
    assert as_manager.get(f"/projects/signs/images?cursor={cursor}").status_code == 422
    assert as_manager.get(f"/projects/signs/classes?cursor={cursor[:-1]}!").status_code == 422
    assert as_manager.get("/projects/signs/classes?cursor=1").json()["errors"][0]["field"] == "cursor"


def test_a_key_does_a_thing_once(as_manager, project):
    body = {"names": ["bat", "fox"]}
    first = as_manager.post("/projects/signs/classes", body, Idempotency_Key="one")
    again = as_manager.post("/projects/signs/classes", body, Idempotency_Key="one")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json() and len(again.json()) == 2
    assert again["Idempotent-Replayed"] == "true" and "Idempotent-Replayed" not in first
    assert AuditEntry.objects.count() == 1
    other = as_manager.post("/projects/signs/classes", {"names": ["elk"]}, Idempotency_Key="one")
    assert other.status_code == 409 and not LabelClass.objects.filter(name="elk").exists()


def test_keys_are_a_persons_own(api_of, manager, annotator, project, as_manager):
    as_manager.post("/projects/signs/classes", {"names": ["bat"]}, Idempotency_Key="one")
    reply = api_of(annotator).post("/projects/signs/classes", {"names": ["bat"]}, Idempotency_Key="one")
    assert reply.status_code == 403


def test_an_error_is_not_kept(as_manager, project):
    for name, status in (("cat", 422), ("bat", 200)):
        class_id = project.classes.get(name="dog").pk
        reply = as_manager.post(f"/projects/signs/classes/{class_id}/merge", {"into": 10**6}, Idempotency_Key="m")
        assert reply.status_code == 422, (name, status)
    assert ApiReply.objects.count() == 0


def test_a_key_after_a_day(as_manager, project):
    as_manager.post("/projects", {"name": "New"}, Idempotency_Key="k")
    assert Project.objects.filter(name="New").count() == 1
    ApiReply.objects.update(created_at="2020-01-01T00:00:00Z")
    assert forget_replies() == 1 and ApiReply.objects.count() == 0


@pytest.mark.parametrize("key", ["", "x" * 201, "\u00fc"])
def test_a_key_that_is_none(as_manager, project, key):
    assert as_manager.post("/projects", {"name": "New"}, Idempotency_Key=key).status_code == 400


def test_a_secret_is_shown_once_and_kept_nowhere(as_manager, project):
    first = as_manager.post("/projects/signs/invitations", {"role": "annotator"}, Idempotency_Key="i")
    assert first.status_code == 201 and "/invite/" in first.json()["link"] and "X-Shown-Once" not in first
    again = as_manager.post("/projects/signs/invitations", {"role": "annotator"}, Idempotency_Key="i")
    assert again.status_code == 409 and project.invitations.count() == 1
    assert "invite" not in ApiReply.objects.get().body


def test_the_database_away_is_a_problem_too(as_manager, project, monkeypatch):
    from django.db import OperationalError

    def away(*_: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr("labeler.api.projects.member_access", away)
    as_manager.client.raise_request_exception = False
    reply = as_manager.client.get("/api/v1/projects/signs", headers=as_manager.headers)
    assert reply.status_code in (500, 503) and reply["Content-Type"] == "application/problem+json"


def test_a_mistyped_parameter_is_named_with_those_that_there_are(as_manager, project):
    reply = as_manager.get("/projects/signs/images?stat=bad&state=pool&nmae=x")
    assert reply.status_code == 422 and reply["Content-Type"] == "application/problem+json"
    assert [each["field"] for each in reply.json()["errors"]] == ["stat", "nmae"]
    assert all("“state”" in each["detail"] for each in reply.json()["errors"])
    assert "none" in as_manager.get("/me?x=1").json()["detail"]
    assert as_manager.get("/projects/signs/images?state=pool").status_code == 200


def test_a_parameter_twice_is_refused(as_manager, project):
    reply = as_manager.get("/projects/signs/images?state=pool&state=bad")
    assert reply.status_code == 422 and reply.json()["errors"][0]["field"] == "state"


def test_nothing_is_done_by_an_address_with_a_mistake(as_manager, project):
    assert as_manager.post("/projects?dry_run=1", {"name": "New"}).status_code == 422
    assert Project.objects.filter(name="New").count() == 0


def test_an_accuracy_has_one_shape_wherever_it_is(as_manager, project):
    """In a project, the list of rounds, a round, the model in charge, and what webhooks are told."""
    shape = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 40, "method": "wilson"}
    hook = Webhook.objects.create(project=project, address="https://example.org/", events=["round_done"])
    round_ = Round.objects.create(
        project=project, number=1, trigger=Trigger.BUTTON, reason="", seed=0, state=RoundState.ACQUIRING, claim="w"
    )
    mark_done(round_=round_, metrics={"n": 40, "accuracy": shape})
    Project.objects.update(model_round=round_)
    found = [
        as_manager.get("/projects/signs").json()["accuracy"],
        as_manager.get("/projects").json()["items"][0]["accuracy"],
        as_manager.get("/projects/signs/rounds").json()["items"][0]["accuracy"],
        as_manager.get("/projects/signs/rounds/1").json()["accuracy"],
        as_manager.get("/projects/signs/model").json()["accuracy"],
        json.loads(hook.deliveries.get().body)["accuracy"],
    ]
    assert found == [shape] * 6


def test_an_accuracy_of_a_few_images_is_told_nowhere(as_manager, project):
    hook = Webhook.objects.create(project=project, address="https://example.org/", events=["round_done"])
    round_ = Round.objects.create(
        project=project, number=1, trigger=Trigger.BUTTON, reason="", seed=0, state=RoundState.ACQUIRING, claim="w"
    )
    mark_done(round_=round_, metrics={"n": 3, "accuracy": {"value": 1.0, "low": 0.4, "high": 1.0, "n": 3}})
    Project.objects.update(model_round=round_)
    assert json.loads(hook.deliveries.get().body)["accuracy"] is None
    for address in ("", "/rounds/1", "/model"):
        assert as_manager.get(f"/projects/signs{address}").json()["accuracy"] is None


def test_an_operation_lists_what_it_can_answer_and_no_more():
    """Else that nothing undocumented is answered (conftest.py, test_api_fuzzed.py) would say little."""
    listed = {
        one["operationId"]: set(one["responses"]) for ones in openapi()["paths"].values() for one in ones.values()
    }
    assert not any(statuses & {"500", "503", "405"} for statuses in listed.values())
    assert all({"401", "403", "422", "429"} <= statuses for statuses in listed.values())
    assert {"404", "409", "413", "415"} & listed["me"] == set()
    assert {"404", "409"} & listed["list_rounds"] == {"404"}
    assert {"400", "404", "409", "413", "415"} <= listed["make_answer"]
    assert set(listed) >= CONFLICTING
    assert len({frozenset(statuses) for statuses in listed.values()}) > 5


def test_a_whole_number_may_be_written_with_a_point(as_manager, project):
    reply = as_manager.patch("/projects/signs/learning", '{"retrain_every": 20.0}')
    assert reply.status_code == 200 and reply.json()["retrain_every"] == 20
    for text in ("20.5", "1e999", "1e300"):
        assert as_manager.patch("/projects/signs/learning", f'{{"retrain_every": {text}}}').status_code == 422
