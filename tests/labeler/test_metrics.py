"""Metrics: off unless somebody has set who may see them, true, and as cheap with much as with nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from labeler import clock
from labeler.models import ExportJob, ImportJob, JobState
from tests.labeler.monitored import alive, measured_round
from tests.labeler.queues import answer_place, fill_queue


def scraped(client: Client | None = None) -> dict[str, float]:
    reply = (client or Client()).get("/metrics", headers={"Authorization": "Bearer s3cret"})
    assert reply.status_code == 200
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(reply.content.decode())
        for sample in family.samples
    }


@pytest.fixture
def is_on(settings) -> None:
    settings.METRICS_TOKEN = "s3cret"


def test_off_by_default(db):
    assert Client().get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", "s3cret", "Bearer s3cret2", "Bearer \u00e9"])
def test_without_the_token_it_is_not_there(db, is_on, header):
    assert Client().get("/metrics", headers={"Authorization": header} if header else {}).status_code == 404
    assert Client().get("/metrics", headers={"Authorization": "Bearer s3cret"}).status_code == 200


def test_networks(db, settings):
    settings.METRICS_NETWORKS = ["10.0.0.0/8", "::1/128"]
    assert Client().get("/metrics", REMOTE_ADDR="10.1.2.3").status_code == 200
    assert Client().get("/metrics", REMOTE_ADDR="192.0.2.1").status_code == 404
    assert Client().post("/metrics", REMOTE_ADDR="10.1.2.3").status_code == 405
    settings.METRICS_TOKEN = "s3cret"
    assert Client().get("/metrics", REMOTE_ADDR="10.1.2.3").status_code == 404


def test_what_is_told_is_true(is_on, project, manager, annotator, make_images):
    round_ = measured_round(project, make_images)
    round_.finished_at = clock.now()
    round_.save()
    queue = fill_queue(project, list(project.images.all()[:10]))
    held, answered = queue.candidates.all()[:2]
    queue.candidates.filter(pk=held.pk).update(leased_to=annotator, leased_until=clock.now() + timedelta(minutes=1))
    answer_place(project, annotator, answered)
    alive("learner", "default,background")
    ImportJob.objects.create(project=project, created_by=manager, state=JobState.RUNNING)
    ExportJob.objects.create(project=project, created_by=manager, state=JobState.DONE, format="csv")
    told = scraped()
    assert told["plusminus_queue_places"] == 8 and told["plusminus_leases"] == 1
    assert told["plusminus_answers_total"] >= 1 and told["plusminus_images"] == 90
    assert told["plusminus_workers learner"] == 1 and told["plusminus_workers background"] == 1
    assert told["plusminus_workers beat"] == 0
    assert told["plusminus_jobs import running"] == 1 and told["plusminus_jobs export queued"] == 0
    assert told["plusminus_rounds done"] == project.rounds.filter(state="done").count()
    assert told["plusminus_last_round_seconds fit"] == 3.2
    assert told["plusminus_part_up database"] == 1 and told["plusminus_part_up broker"] in (0, 1)
    assert told["plusminus_outgoing_waiting webhook"] == 0


def test_as_many_statements_with_much_as_with_nothing(is_on, project, manager, make_images, django_assert_num_queries):
    with django_assert_num_queries(10):
        scraped()
    measured_round(project, make_images)
    fill_queue(project, make_images(project, 30))
    for _ in range(4):
        ImportJob.objects.create(project=project, created_by=manager, state=JobState.RUNNING)
    with django_assert_num_queries(10):
        scraped()
