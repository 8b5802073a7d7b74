"""Holdout images that people disagree about come to a decision: by a third person, else by a manager, who gets them
first."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import transaction
from django.urls import reverse

from labeler import clock
from labeler.models import Annotation, Candidate, Image, ImageState, Membership, Outcome, Reason, Role
from labeler.selectors.disputes import MOST_MORE, Again, holdout_disputes
from labeler.selectors.review import next_contested
from labeler.selectors.work_left import Stage, work_left
from labeler.services.draw import Draw, Place
from labeler.services.lease import claim_places, release_leases
from labeler.services.projects import change_learning
from labeler.services.publish import publish_cold
from labeler.services.refill import lease_or_refill, refill_queue
from tests.labeler.queues import answer_place, fill_queue, fresh


@pytest.fixture
def people(make_user, project, annotator) -> list:
    """Ann, Bob and Carl; all have answered lately."""
    users = [annotator]
    for name in ("bob", "carl"):
        users.append(make_user(name))
        Membership.objects.create(project=project, user=users[-1], role=Role.ANNOTATOR)
    return users


def say(project, image: Image, person, name: str, outcome: str = Outcome.LABEL) -> None:
    label_class = project.classes.get(name=name) if outcome == Outcome.LABEL else None
    Annotation.objects.create(
        project=project, image=image, annotator=person, outcome=outcome, label_class=label_class, key=uuid.uuid4()
    )


@pytest.fixture
def images(project, make_images, people) -> list[Image]:
    """0 to 9 wait. Of the holdout, Ann and Bob disagree about 10 and 11; of others about 12. Nothing is asked again."""
    change_learning(project=project, values={"overlap": 2, "relabel": "never", "gold_share": 0.0})
    rows = make_images(project, 10)
    rows += make_images(project, 2, is_holdout=True, state=ImageState.DISPUTED, is_contested=True)
    rows += make_images(project, 1, state=ImageState.DISPUTED, is_contested=True)
    for row in rows[10:]:
        say(project, row, people[0], "cat")
        say(project, row, people[1], "dog")
    say(project, rows[0], people[2], "cat")
    return rows


def publish(project, main: range = range(1, 5)) -> None:
    round_ = fill_queue(project, [], overlap=2)
    places = [Place(position, Reason.RANDOM, 0.5) for position in main]
    with transaction.atomic():
        publish_cold(round_=round_, draw=Draw((Reason.ACQUIRED,) * len(places), (), ()), main=places)


def test_a_third_person_is_asked_first_of_all(project, images, people) -> None:
    publish(project)
    queue = Candidate.objects.filter(round=fresh(project).queue_round).order_by("rank", "slot")
    assert [(row.image_id, row.reason) for row in queue[:2]] == [
        (images[10].pk, Reason.RELABEL), (images[11].pk, Reason.RELABEL)
    ]  # fmt: skip
    assert not queue.filter(image=images[12]).exists()  # "never" holds for what is no holdout
    carls = claim_places(project=fresh(project), annotator=people[2], count=2)
    assert [place.image_id for place in carls] == [images[10].pk, images[11].pk]
    anns = claim_places(project=fresh(project), annotator=people[0], count=10)
    assert {images[10].pk, images[11].pk}.isdisjoint(place.image_id for place in anns)


def test_the_third_answer_decides_and_the_image_is_measured_on(project, images, people) -> None:
    publish(project)
    place = claim_places(project=fresh(project), annotator=people[2], count=1)[0]
    answer_place(project, people[2], place, label="dog")
    settled = Image.objects.get(pk=images[10].pk)
    assert (settled.state, settled.label.name) == (ImageState.LABELLED, "dog")
    assert [each.image_id for each in holdout_disputes(fresh(project)).open_] == [images[11].pk]


def test_who_has_nothing_else_to_answer_gets_them_without_a_new_round(project, images, people) -> None:
    """Where nothing waits any more no round follows."""
    Image.objects.filter(pk__in=[row.pk for row in images[:10]]).update(state=ImageState.SET_ASIDE)
    fill_queue(project, [], overlap=2)
    assert lease_or_refill(project=fresh(project), annotator=people[0], want=1) == []
    places = lease_or_refill(project=fresh(project), annotator=people[2], want=2)
    assert [place.image_id for place in places] == [images[10].pk, images[11].pk]
    assert refill_queue(project=fresh(project), annotator=people[2]) == 0  # they have their places
    answer_place(project, people[2], places[0], label="owl")  # three say three things, and nobody is left
    assert lease_or_refill(project=fresh(project), annotator=people[2], want=1) == places[1:]
    assert [each.image_id for each in holdout_disputes(fresh(project)).stuck] == [images[10].pk]


def test_one_place_for_an_image_at_a_time(project, images, people, make_user) -> None:
    dora = make_user("dora")
    Membership.objects.create(project=project, user=dora, role=Role.ANNOTATOR)
    say(project, images[0], dora, "cat")
    fill_queue(project, [], overlap=2)
    first = lease_or_refill(project=fresh(project), annotator=people[2], want=2)
    assert len(first) == 2
    assert not {place.image_id for place in lease_or_refill(project=fresh(project), annotator=dora, want=2)} & {
        place.image_id for place in first
    }


def test_who_comes_back_after_a_long_time_is_there(project, images, people, make_user) -> None:
    Annotation.objects.filter(annotator=people[2]).delete()
    fill_queue(project, [], overlap=2)
    assert holdout_disputes(fresh(project)).open_ == []
    assert len(lease_or_refill(project=fresh(project), annotator=people[2], want=2)) == 2
    assert len(holdout_disputes(fresh(project)).open_) == 2  # for pages that say whether somebody can be asked


def test_a_decided_one_is_not_asked(project, images, people, manager) -> None:
    from labeler.services.decide import decide_image

    publish(project)
    decide_image(
        project=fresh(project), by=manager, image_id=images[10].pk, outcome="label", key=uuid.uuid4(), seen=10**6,
        label_class_id=project.classes.get(name="dog").pk,
    )  # fmt: skip
    claimed = claim_places(project=fresh(project), annotator=people[2], count=1)
    assert [place.image_id for place in claimed] == [images[11].pk]


def test_nobody_who_has_left_is_waited_for(project, images, people) -> None:
    Membership.objects.filter(user=people[2]).delete()
    found = holdout_disputes(fresh(project))
    assert (found.open_, len(found.stuck)) == ([], 2)
    publish(project)
    assert not Candidate.objects.filter(reason=Reason.RELABEL).exists()


def test_what_many_could_not_settle_is_a_managers(project, images, people, make_user) -> None:
    for number in range(MOST_MORE):
        say(project, images[10], make_user(f"more{number}"), "cat" if number % 2 else "dog")
    found = holdout_disputes(fresh(project))
    assert [each.image_id for each in found.stuck] == [images[10].pk]
    assert [each.image_id for each in found.open_] == [images[11].pk]


def test_who_skipped_is_not_asked_again(project, images, people) -> None:
    say(project, images[10], people[2], "", outcome=Outcome.SKIP)
    assert [each.image_id for each in holdout_disputes(fresh(project)).stuck] == [images[10].pk]


def test_what_nobody_can_be_asked_about_stands_first_in_the_review(
    project, images, people, make_images, client_of, manager
) -> None:
    older = images[0]
    Image.objects.filter(pk=older.pk).update(state=ImageState.DISPUTED, is_contested=True)
    assert next_contested(fresh(project), []) == (older.pk, 4)
    say(project, images[11], people[2], "owl")
    assert next_contested(fresh(project), []) == (images[11].pk, 4)
    assert next_contested(fresh(project), [images[11].pk]) == (older.pk, 3)
    page = client_of(manager).get(reverse("review", args=[project.slug])).content.decode()
    assert f'data-image="{images[11].pk}"' in page


class TestTheEnd:
    """No new image is left: whoever has not answered a disputed one is asked, as far as the settings ask again."""

    @pytest.fixture
    def end(self, project, images):
        """Image 12, no holdout, is all that is left."""
        change_learning(project=project, values={"relabel": "overlap"})
        Image.objects.exclude(pk=images[12].pk).update(state=ImageState.LABELLED, label=project.classes.first())
        fill_queue(project, [], overlap=2)
        return fresh(project)

    def test_who_has_not_answered_is_asked_without_a_new_round(self, end, images, people) -> None:
        left = work_left(end)
        assert (left.stage, left.again, left.to_settle) == (Stage.AGAIN, Again(1), 0)
        assert lease_or_refill(project=end, annotator=people[0], want=1) == []
        place = lease_or_refill(project=end, annotator=people[2], want=1)[0]
        assert (place.image_id, place.reason) == (images[12].pk, Reason.RELABEL)
        answer_place(end, people[2], place, label="dog")
        assert Image.objects.get(pk=images[12].pk).label.name == "dog"
        assert work_left(end).stage == Stage.DONE

    def test_who_has_never_answered_is_named_and_gets_it(self, end, images, people, make_user) -> None:
        say(end, images[12], people[2], "owl")
        assert (work_left(end).stage, work_left(end).to_settle) == (Stage.DISPUTED, 1)
        assert "No annotator is left who could be asked" in work_left(end).words
        dora, mona = make_user("dora"), make_user("mona")
        Membership.objects.create(project=end, user=dora, role=Role.ANNOTATOR)
        Membership.objects.create(project=end, user=mona, role=Role.ANNOTATOR, deactivated_at=clock.now())
        left = work_left(end)
        assert (left.stage, left.again, left.to_settle) == (Stage.DISPUTED, Again(), 1)
        assert left.words.endswith(
            "a manager has to decide. Or somebody else does: who has not answered here yet (dora) is asked about "
            "1 image on opening Label."
        )
        assert lease_or_refill(project=end, annotator=dora, want=1)[0].image_id == images[12].pk
        assert (work_left(end).stage, work_left(end).again) == (Stage.AGAIN, Again(1))

    def test_who_has_answered_long_ago_is_named_too(self, end, images, people) -> None:
        Annotation.objects.filter(annotator=people[2]).update(created_at=clock.now() - timedelta(days=20))
        assert "who has not answered here lately (carl) is asked about 1 image on" in work_left(end).words
        assert lease_or_refill(project=end, annotator=people[2], want=1)[0].image_id == images[12].pk

    def test_nobody_is_named_who_would_not_be_asked(self, end, images, people, make_user) -> None:
        for name in ("eve", "fay"):
            say(end, images[12], make_user(name), "cat")
        say(end, images[12], people[2], "dog")  # five answers: a manager's
        dora = make_user("dora")
        Membership.objects.create(project=end, user=dora, role=Role.ANNOTATOR)
        assert "No annotator is left who could be asked" in work_left(end).words
        assert lease_or_refill(project=end, annotator=dora, want=1) == []
        change_learning(project=end, values={"relabel": "never"})
        assert "The settings have nobody else asked about them." in work_left(fresh(end)).words

    def test_a_round_asks_where_fewer_questions_are_left_than_asked_for(self, end, images, people) -> None:
        publish(end, main=range(0))
        place = claim_places(project=fresh(end), annotator=people[2], count=2)
        assert [(each.image_id, each.reason) for each in place] == [(images[12].pk, Reason.RELABEL)]

    def test_a_round_with_questions_enough_does_not(self, end, images) -> None:
        change_learning(project=end, values={"budget": 4})
        Image.objects.filter(position__lt=6).update(state=ImageState.POOL, label=None)
        publish(end)
        places = Candidate.objects.filter(round=fresh(end).queue_round)
        assert places.count() and not places.filter(reason=Reason.RELABEL).exists()
        change_learning(project=end, values={"budget": 5})
        publish(end)
        places = Candidate.objects.filter(round=fresh(end).queue_round, reason=Reason.RELABEL)
        assert [place.image_id for place in places] == [images[12].pk]

    @pytest.mark.parametrize("values", [{"relabel": "never"}, {"overlap": 1}, {"relabel_share": 0.0}])
    def test_where_the_settings_ask_nobody_again_a_manager_decides(self, end, people, values) -> None:
        change_learning(project=end, values=values)
        left = work_left(fresh(end))
        assert (left.stage, left.to_settle) == (Stage.DISPUTED, 1)
        assert left.words.endswith("a manager has to decide. The settings have nobody else asked about them.")
        assert lease_or_refill(project=fresh(end), annotator=people[2], want=1) == []
        change_learning(project=end, values={"relabel": "always", "relabel_share": 0.1})
        assert work_left(fresh(end)).stage == Stage.AGAIN
        assert len(lease_or_refill(project=fresh(end), annotator=people[2], want=1)) == 1

    def test_answers_enough_are_a_managers_until_the_overlap_is_raised(self, end, images, people, make_user) -> None:
        for name, label in (("dora", "cat"), ("emil", "dog")):
            say(end, images[12], make_user(name), label)
        left = work_left(end)
        assert (left.stage, left.to_settle) == (Stage.DISPUTED, 1)
        assert left.words.endswith("all have answered, or there are answers enough.")
        change_learning(project=end, values={"overlap": 3})
        assert work_left(fresh(end)).stage == Stage.AGAIN
        assert len(lease_or_refill(project=fresh(end), annotator=people[2], want=1)) == 1

    def test_nobody_is_asked_twice_and_one_at_a_time(self, end, people, make_user) -> None:
        dora = make_user("dora")
        Membership.objects.create(project=end, user=dora, role=Role.ANNOTATOR)
        assert len(lease_or_refill(project=end, annotator=people[2], want=2)) == 1
        assert lease_or_refill(project=end, annotator=dora, want=2) == []

    def test_what_is_on_a_screen_or_in_the_queue_is_a_question(self, end, people, client_of, manager) -> None:
        """Also for somebody of whom nobody had heard before: the notice and the Monitor do not say the contrary."""
        Annotation.objects.filter(annotator=people[2]).delete()
        assert work_left(end).stage == Stage.DISPUTED
        place = lease_or_refill(project=end, annotator=people[2], want=1)[0]
        for _ in range(2):
            assert work_left(end).stage == Stage.AGAIN
            page = client_of(manager).get(reverse("monitor", args=[end.slug])).content.decode()
            assert "1 disputed image is asked of another person." in page
            assert "is left who could be asked" not in page
            assert page.count("Settle them") == 1
            release_leases(project=end, annotator=people[2], candidate_ids=[place.pk])  # and once it is back

    def test_a_label_in_doubt_that_is_asked_about_is_a_question(self, end, images) -> None:
        Image.objects.filter(pk=images[12].pk).update(state=ImageState.LABELLED, label=end.classes.first())
        assert work_left(end).stage == Stage.DONE
        queue = fresh(end).queue_round
        Candidate.objects.create(project=end, round=queue, image=images[12], rank=50, reason=Reason.RELABEL)
        left = work_left(end)
        assert (left.stage, left.again) == (Stage.AGAIN, Again(0, 1))
        assert "1 image whose label is in doubt is asked of another person." in left.words

    def test_it_costs_no_more_for_more_of_them(self, end, make_images, django_assert_max_num_queries) -> None:
        make_images(end, 30, state=ImageState.DISPUTED, is_contested=True)
        with django_assert_max_num_queries(12):
            assert work_left(end).again.disputed == 31

    def test_nor_for_more_people_and_holdout_images(
        self, end, people, make_images, make_user, django_assert_max_num_queries
    ) -> None:
        """Disputed of every kind: in the queue, of the holdout, for who is here and for who has never come."""
        queue = fresh(end).queue_round
        for number in range(2):
            Membership.objects.create(project=end, user=make_user(f"dora{number}"), role=Role.ANNOTATOR)
        for count, seen in ((2, 1), (600, 2)):
            holdout = make_images(end, count, state=ImageState.DISPUTED, is_contested=True, is_holdout=True)
            for person in people:
                Annotation.objects.bulk_create(
                    Annotation(project=end, image=image, annotator=person, outcome="unsure", key=uuid.uuid4())
                    for image in holdout
                )
            doubted = make_images(end, count, state=ImageState.LABELLED, label=end.classes.first())
            Candidate.objects.bulk_create(
                Candidate(project=end, round=queue, image=image, rank=rank, reason=Reason.RELABEL)
                for rank, image in enumerate(doubted, 5000 * seen)
            )
            with django_assert_max_num_queries(14):
                left = work_left(end)
            assert (left.again, left.away.people, left.away.have_answered) == (
                Again(1, 2 if seen == 1 else 602), ("dora0", "dora1"), False,
            )  # fmt: skip
            assert left.away.images == (2 if seen == 1 else 602)


def test_without_disputes_it_is_one_statement(project, make_images, annotator, django_assert_num_queries) -> None:
    make_images(project, 3, is_holdout=True)
    with django_assert_num_queries(1):
        assert holdout_disputes(project).open_ == []
