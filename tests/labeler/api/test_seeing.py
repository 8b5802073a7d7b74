"""How images are seen, and when rounds start, by the API: the services of the settings page."""

from __future__ import annotations

import pytest

from labeler.models import AuditEntry, JobState, LearningConfig, PoolFeatures, PoolNetwork
from labeler.services.schedule import schedule_of

LEARNING = "/projects/signs/learning"


def test_a_schedule_is_set_read_and_taken_away(as_manager, project):
    assert as_manager.get(f"{LEARNING}/schedule").json()["at"] is None
    reply = as_manager.send("PUT", f"{LEARNING}/schedule", {"at": "02:30", "days": ["sunday", "monday"]})
    assert reply.status_code == 200, reply.content
    assert reply.json()["days"] == ["monday", "sunday"] and reply.json()["at"] == "02:30"
    config = LearningConfig.objects.select_related("schedule__crontab").get(project=project)
    assert schedule_of(config).days == (1, 0)
    assert AuditEntry.objects.filter(words__contains="when a round starts").count() == 1
    assert as_manager.send("PUT", f"{LEARNING}/schedule", {"at": None}).json()["at"] is None
    assert as_manager.get(f"{LEARNING}/schedule").json()["days"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"at": "25:00"}, "at"),
        ({"at": "02:00", "days": []}, "days"),
        ({"at": "02:00", "days": ["mon"]}, "days.0"),
        ({}, "at"),
    ],
)
def test_schedules_that_are_none(as_manager, project, body, field):
    reply = as_manager.send("PUT", f"{LEARNING}/schedule", body)
    assert reply.status_code == 422 and reply.json()["errors"][0]["field"] == field


def test_features_are_started_stopped_and_read(as_manager, project):
    assert as_manager.get(f"{LEARNING}/features").json()["is_ready"] is True  # of pixels nothing is made
    LearningConfig.objects.update(representation="default")
    started = as_manager.post(f"{LEARNING}/features/start").json()
    assert started["running"]["state"] == "queued" and started["is_ready"] is False
    assert as_manager.post(f"{LEARNING}/features/start").json()["running"]["id"] == started["running"]["id"]
    stopped = as_manager.post(f"{LEARNING}/features/stop").json()
    assert stopped["running"] is None and stopped["failed"]["state"] == "cancelled"
    assert PoolFeatures.objects.count() == 1


def test_a_network_says_why_there_is_none_and_is_taken_and_left(as_manager, project):
    refused = as_manager.post(f"{LEARNING}/network/start")
    assert refused.status_code == 409 and "images" in refused.json()["detail"]
    new = {"project": project, "seed": 0, "labels": {}, "answers": 40, "checkpoint": "", "state": JobState.DONE}
    accepted = PoolNetwork.objects.create(**new, is_accepted=True, file="networks/1.safetensors")
    refused_one = PoolNetwork.objects.create(
        **new, is_accepted=False, evidence={"objections": ["unproven"], "difference": None}
    )
    found = as_manager.get(f"{LEARNING}/network").json()
    assert found["can_be_taken"] == accepted.pk and found["last"]["id"] == refused_one.pk
    assert "better" in found["objections"][0] and found["used"] is None
    assert as_manager.post(f"{LEARNING}/networks/{refused_one.pk}/take").json()["changed"] is False
    assert as_manager.post(f"{LEARNING}/networks/{accepted.pk}/take").json()["changed"] is True
    assert as_manager.get(f"{LEARNING}/network").json()["used"]["id"] == accepted.pk
    assert as_manager.post(f"{LEARNING}/network/leave").json()["changed"] is True
    assert as_manager.post(f"{LEARNING}/network/leave").json()["changed"] is False
