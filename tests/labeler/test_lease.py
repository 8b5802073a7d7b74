"""Places are handed out in rank order, to one person each, at a cost that does not grow with the pool."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone

from labeler.models import Annotation, Candidate, CandidateState, Project, Round
from labeler.services.annotate import record_answer
from labeler.services.lease import (
    claim_places,
    claim_statement,
    free_expired_leases,
    lease_next,
    release_leases,
    renew_leases,
)
from labeler.services.publish import supersede_places
from tests.labeler.queues import answer_place, fill_queue, fresh


def ranks(places: list[Candidate]) -> list[int]:
    return [place.rank for place in places]


def test_two_people_get_ranks_one_and_two(project, make_images, annotator, manager) -> None:
    fill_queue(project, make_images(project, 5))
    mine = lease_next(project=fresh(project), annotator=annotator)
    yours = lease_next(project=fresh(project), annotator=manager)
    assert (ranks(mine), ranks(yours)) == ([0], [1])


def test_a_reload_shows_the_same_image(project, make_images, annotator) -> None:
    fill_queue(project, make_images(project, 5))
    first = lease_next(project=fresh(project), annotator=annotator, want=2)
    again = lease_next(project=fresh(project), annotator=annotator, want=2)
    assert ranks(first) == ranks(again) == [0, 1]


def test_places_follow_the_rank_whatever_the_order_of_rows(project, make_images, annotator) -> None:
    images = make_images(project, 6)
    fill_queue(project, list(reversed(images)))
    got = [place.image_id for place in claim_places(project=fresh(project), annotator=annotator, count=6)]
    assert got == [image.pk for image in reversed(images)]


def test_an_expired_lease_is_free_for_others(project, make_images, annotator, manager) -> None:
    fill_queue(project, make_images(project, 2))
    place = lease_next(project=fresh(project), annotator=annotator)[0]
    Candidate.objects.filter(pk=place.pk).update(leased_until=timezone.now() - timedelta(seconds=1))
    assert ranks(lease_next(project=fresh(project), annotator=manager)) == [0]


def test_released_places_go_back_at_once_and_only_own_ones(project, make_images, annotator, manager) -> None:
    fill_queue(project, make_images(project, 3))
    mine = lease_next(project=fresh(project), annotator=annotator, want=2)
    assert release_leases(project=project, annotator=manager, candidate_ids=[mine[0].pk]) == 0
    assert release_leases(project=project, annotator=annotator, candidate_ids=[mine[0].pk]) == 1
    assert ranks(lease_next(project=fresh(project), annotator=manager)) == [0]


def test_renewing_says_what_is_still_held(project, make_images, annotator) -> None:
    fill_queue(project, make_images(project, 3))
    held = [place.pk for place in lease_next(project=fresh(project), annotator=annotator, want=2)]
    Candidate.objects.filter(pk=held[0]).update(leased_until=timezone.now() - timedelta(seconds=1))
    assert renew_leases(project=project, annotator=annotator, candidate_ids=held) == [held[1]]


def test_overlap_gives_an_image_to_several_people_and_to_none_twice(
    project, make_images, annotator, manager, stranger
) -> None:
    images = make_images(project, 2)
    fill_queue(project, images, overlap=2)
    first = claim_places(project=fresh(project), annotator=annotator, count=4)
    assert [place.image_id for place in first] == [images[0].pk, images[1].pk]
    second = claim_places(project=fresh(project), annotator=manager, count=4)
    assert [place.image_id for place in second] == [images[0].pk, images[1].pk]
    assert claim_places(project=fresh(project), annotator=stranger, count=4) == []


def test_nobody_sees_an_image_that_they_answered(project, make_images, annotator) -> None:
    images = make_images(project, 1)
    fill_queue(project, images, overlap=3)
    answer_place(project, annotator, lease_next(project=fresh(project), annotator=annotator)[0])
    assert lease_next(project=fresh(project), annotator=annotator) == []


def test_a_person_holds_no_more_than_the_setting_allows(project, make_images, annotator, settings) -> None:
    settings.LEASES_PER_ANNOTATOR = 2
    fill_queue(project, make_images(project, 5))
    assert len(claim_places(project=fresh(project), annotator=annotator, count=5)) == 2


def test_only_the_published_round_is_handed_out(project, make_images, annotator) -> None:
    images = make_images(project, 2)
    fill_queue(project, images[:1])
    fill_queue(project, images[1:])
    places = claim_places(project=fresh(project), annotator=annotator, count=5)
    assert [place.image_id for place in places] == [images[1].pk]


def test_the_sweep_frees_what_expired_and_closes_what_was_replaced(project, make_images, annotator) -> None:
    images = make_images(project, 2)
    fill_queue(project, images[:1])
    old = lease_next(project=fresh(project), annotator=annotator)[0]
    fill_queue(project, images[1:])
    new = claim_places(project=fresh(project), annotator=annotator, count=1)[0]
    Candidate.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
    free_expired_leases()
    old.refresh_from_db()
    new.refresh_from_db()
    assert (old.state, old.leased_to_id) == (CandidateState.SUPERSEDED, None)
    assert (new.state, new.leased_to_id) == (CandidateState.OPEN, None)


def test_the_statement_reads_the_partial_index_and_never_the_images(project, make_images, annotator) -> None:
    fill_queue(project, make_images(project, 50))
    if connection.vendor != "sqlite":
        pytest.skip("the plan of a small table says nothing on PostgreSQL; benchmarks/serving.py measures it there")
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    parameters = {"me": annotator.pk, "project": project.pk, "now": now, "until": now, "most": 8}
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {claim_statement()}", parameters)
        plan = [row[3] for row in cursor.fetchall()]
    assert any("candidate_queue" in line for line in plan), plan
    assert not any(line.startswith("SCAN") and "candidate_queue" not in line for line in plan), plan
    assert not any("USE TEMP B-TREE" in line for line in plan), plan


@pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL may make joins of subqueries")
def test_no_statistics_make_handing_out_read_all_that_a_person_ever_answered(project, make_images, annotator) -> None:
    """Tables grow faster than their statistics: with those of empty tables a join by person looked cheap."""
    images = make_images(project, 300)
    fill_queue(project, images[200:])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE labeler_annotation, labeler_candidate, labeler_image")
    label = project.classes.first()
    Annotation.objects.bulk_create(
        Annotation(project=project, image=image, annotator=annotator, outcome="label", label_class=label, key=uuid4())
        for image in images[:200]
    )
    now = timezone.now()
    parameters = {"me": annotator.pk, "project": project.pk, "now": now, "until": now, "most": 8}
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE) {claim_statement()}", parameters)
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "Anti Join" not in plan
    assert "Rows Removed by Join Filter: 200" not in plan


def test_handing_out_takes_one_statement(project, make_images, annotator, django_assert_num_queries) -> None:
    fill_queue(project, make_images(project, 5))
    known = Project.objects.select_related("learning", "queue_round").get(pk=project.pk)
    with django_assert_num_queries(3):  # SAVEPOINT, the statement, RELEASE
        place = claim_places(project=known, annotator=annotator, count=1)[0]
        assert place.image.name == "00000.png"
        assert place.round.number == 1


def test_a_label_of_somebody_else_closes_the_place(project, make_images, annotator, manager) -> None:
    image = make_images(project, 1)[0]
    fill_queue(project, [image])
    place = lease_next(project=fresh(project), annotator=annotator)[0]
    label = project.classes.first()
    record_answer(
        project=fresh(project), annotator=annotator, image_id=image.pk, candidate_id=place.pk, outcome="label",
        label_class_id=label.pk, key="0d2b4c1e-0000-4000-8000-000000000001",
    )  # fmt: skip
    assert lease_next(project=fresh(project), annotator=manager) == []


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_the_sweep_and_a_new_round_do_not_wait_for_a_place_that_is_being_answered(
    project, make_images, annotator
) -> None:
    """They change many places in no certain order: waiting for one would be a way into a deadlock."""
    fill_queue(project, make_images(project, 4))
    places = lease_next(project=fresh(project), annotator=annotator, want=3)
    Candidate.objects.update(leased_until=timezone.now() - timedelta(seconds=1))
    other = connection.copy()
    other.set_autocommit(False)
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT 1 FROM labeler_candidate WHERE id = %s FOR UPDATE", [places[1].pk])
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '3s'")
        assert free_expired_leases() == 2
        with transaction.atomic():
            assert supersede_places(project, without=Round(pk=0)) == 3
    finally:
        other.close()
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = 0")
    assert list(Candidate.objects.filter(state=CandidateState.OPEN).values_list("pk", flat=True)) == [places[1].pk]
    assert free_expired_leases() == 1
