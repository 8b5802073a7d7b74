"""Images asked about again, many at once: what would be done is said in numbers first."""

from __future__ import annotations

import uuid

import pytest
from django.urls import reverse

from labeler.models import Annotation, AuditEntry, Candidate, Image, ImageState, Membership, Outcome, Reason, Role
from labeler.selectors.work_left import Stage, work_left
from labeler.services import triggers
from labeler.services.lease import lease_next
from labeler.services.refill import refill_queue
from labeler.services.returning import return_images
from labeler.services.rounds import start_cold_round
from tests.labeler.queues import answer_place, fill_queue, fresh
from tests.labeler.rounds import tune
from tests.labeler.test_refill import start_round


@pytest.fixture
def images(project, make_images, annotator, make_user) -> list[Image]:
    """Two disputed, one of the holdout; two set aside, one bad, one with a label. Ann and Bob have answered all; at the
    end of a project with two answers an image."""
    cat, dog, _ = project.classes.all()
    Membership.objects.create(project=project, user=(bob := make_user("bob")), role=Role.ANNOTATOR)
    rows = make_images(project, 1, state=ImageState.DISPUTED, is_contested=True)
    rows += make_images(project, 1, state=ImageState.DISPUTED, is_contested=True, is_holdout=True)
    rows += make_images(project, 2, state=ImageState.SET_ASIDE)
    rows += make_images(project, 1, state=ImageState.BAD)
    rows += make_images(project, 1, state=ImageState.LABELLED, label=cat)
    for row in rows:
        for person, label in ((annotator, cat), (bob, dog)):
            Annotation.objects.create(
                project=project, image=row, annotator=person, outcome=Outcome.LABEL, label_class=label, key=uuid.uuid4()
            )
    fill_queue(project, [], overlap=2)
    return rows


@pytest.fixture
def carl(make_user, project):
    Membership.objects.create(project=project, user=(user := make_user("carl")), role=Role.ANNOTATOR)
    return user


def states(images) -> list[str]:
    return list(Image.objects.filter(pk__in=[row.pk for row in images]).order_by("pk").values_list("state", flat=True))


def test_asked_first_they_stand_before_all_in_the_queue(project, images, manager, carl) -> None:
    ids = [row.pk for row in images]
    assert return_images(project=fresh(project), image_ids=ids, by=manager, asks_first=True) == 5
    assert states(images) == ["pool"] * 5 + ["labelled"]
    assert work_left(fresh(project)).stage == Stage.OTHERS  # than those who have answered here
    places = lease_next(project=fresh(project), annotator=carl, want=3)
    assert work_left(fresh(project)).stage == Stage.QUEUED
    assert [place.image_id for place in places] == ids[:3]  # the holdout, too
    assert {place.reason for place in places} == {Reason.PICKED}
    answer_place(project, carl, places[0], label="dog")
    assert Image.objects.get(pk=ids[0]).label.name == "dog"  # with the answers that it had


@pytest.mark.parametrize("asks_first", [True, False])
def test_what_was_to_be_asked_of_another_person_counts_as_waiting_once_it_is_put_back(
    project, images, manager, carl, asks_first
) -> None:
    """With rounds by hand alone pages said that nobody is asked, beside six images that were."""
    tune(project, retrain_every=0)
    queue = fresh(project).queue_round
    Candidate.objects.create(project=project, round=queue, image=images[0], rank=1, slot=2, reason=Reason.RELABEL)
    return_images(project=fresh(project), image_ids=[images[0].pk], by=manager, asks_first=asks_first)
    assert lease_next(project=fresh(project), annotator=carl, want=1)[0].image_id == images[0].pk
    assert work_left(fresh(project)).stage == Stage.QUEUED


def test_put_back_they_wait_for_the_next_queue(project, images, manager) -> None:
    ids = [row.pk for row in images]
    assert return_images(project=fresh(project), image_ids=ids, by=manager, asks_first=False) == 5
    assert not Candidate.objects.filter(round=fresh(project).queue_round).exists()
    assert triggers.start_due_rounds() == 1


@pytest.mark.parametrize("by", ["a round", "a refill"])
def test_one_that_has_its_answers_gets_one_place(project, images, manager, carl, make_user, make_images, by) -> None:
    """Two places had two people at once asked about an image that one of them settles."""
    Membership.objects.create(project=project, user=(dora := make_user("dora")), role=Role.ANNOTATOR)
    (new,) = make_images(project, 1)
    *rest, bad, _labelled = images
    Image.objects.filter(pk__in=[row.pk for row in rest]).update(state=ImageState.BAD, is_contested=False)
    return_images(project=fresh(project), image_ids=[bad.pk], by=manager, asks_first=False)
    if by == "a round":
        assert start_cold_round(project=fresh(project)) is not None
    else:
        start_round(project)
        assert refill_queue(project=fresh(project), annotator=carl) == 2
    places = Candidate.objects.filter(round=fresh(project).queue_round)
    assert places.filter(image=bad).count() == 1
    assert places.filter(image=new).count() == 2
    held = [
        {place.image_id for place in lease_next(project=fresh(project), annotator=person, want=3)}
        for person in (carl, dora)
    ]
    assert sorted(held, key=len) == [{new.pk}, {new.pk, bad.pk}]


def test_twice_is_once_and_the_record_keeps_what_was(project, images, manager) -> None:
    ids = [row.pk for row in images]
    for expected in (5, 0):
        assert return_images(project=fresh(project), image_ids=ids, by=manager, asks_first=True) == expected
    entry = AuditEntry.objects.get()
    assert entry.words == "put 5 images back into the pool, to be asked about first"
    assert entry.details["images"] == {"bad": [ids[4]], "disputed": ids[:2], "set_aside": ids[2:4]}
    assert Candidate.objects.filter(reason=Reason.PICKED).values("image").distinct().count() == 5


def test_images_of_others_are_left_alone(images, manager) -> None:
    from labeler.services.projects import create_project

    other = create_project(name="Other", guidelines="", class_names=["cat"], by=manager)
    assert return_images(project=other, image_ids=[row.pk for row in images], by=manager, asks_first=True) == 0


@pytest.mark.usefixtures("images")
class TestPage:
    @pytest.fixture
    def client(self, client_of, manager):
        return client_of(manager)

    @pytest.fixture
    def url(self, project) -> str:
        return reverse("images-return", args=[project.slug])

    def test_the_list_leads_to_it(self, client, project) -> None:
        listed = reverse("images", args=[project.slug])
        html = client.get(f"{listed}?state=disputed").content.decode()
        assert "all 2 that fit" in html and html.count('type="checkbox" form="return"') == 2
        assert 'type="checkbox"' not in client.get(f"{listed}?state=labelled").content.decode()

    def test_an_annotator_has_no_such_list(self, client_of, annotator, project, url) -> None:
        listed = reverse("images", args=[project.slug])
        assert "images/return" not in client_of(annotator).get(f"{listed}?state=disputed").content.decode()
        assert client_of(annotator).post(url, {"state": "disputed"}).status_code == 403

    @pytest.mark.usefixtures("carl")
    def test_first_it_says_what_would_be_done(self, client, url, images) -> None:
        html = client.get(url, {"state": "disputed"}).content.decode()
        assert "2 images would wait for answers again." in html
        assert "Everybody here has answered 2 of them" in html  # Carl has not been here yet
        assert states(images)[0] == ImageState.DISPUTED

    def test_all_that_fit(self, client, url, images) -> None:
        reply = client.post(url, {"state": "set_aside", "first": "yes"}, follow=True)
        assert "2 images are asked about before all others." in reply.content.decode()
        assert reply.redirect_chain[0][0].endswith("/images/?state=set_aside")
        assert states(images)[2:4] == ["pool"] * 2 and states(images)[0] == "disputed"
        again = client.post(url, {"state": "set_aside", "first": "yes"}, follow=True).content.decode()
        assert "Nothing was changed" in again

    def test_it_can_be_undone_by_the_message(self, client, url, project, images, carl) -> None:
        """Who was set aside by "unsure", or bad, is so again; what was answered meanwhile counts, once and for all."""
        for row, outcome in zip(images[2:5], ("unsure", "unsure", "bad_image"), strict=True):
            Annotation.objects.filter(image=row).update(outcome=outcome, label_class=None)
        before = states(images)
        chosen = {"of": "chosen", "image": [row.pk for row in images], "back": "/p/signs/explore/"}
        page = client.post(url, {**chosen, "first": "yes", "back": ""}, follow=True).content.decode()
        assert "5 images are asked about before all others." in page and page.count("messages-undo") == 1
        assert states(images) == ["pool"] * 5 + ["labelled"]
        places = lease_next(project=fresh(project), annotator=carl, want=2)
        answer_place(project, carl, places[0], label="dog")
        undo = page.split('class="messages-undo" method="post" action="')[1].split('"')[0]
        assert client.get(undo).status_code == 405
        reply = client.post(undo, {"back": "/p/signs/explore/"})
        assert reply.url == "/p/signs/explore/"
        assert states(images) == ["labelled", *before[1:]]
        held = Candidate.objects.filter(state="open", reason=Reason.PICKED)
        assert list(held.values_list("image", flat=True)) == [images[1].pk]  # on Carl's screen: he may go on
        assert AuditEntry.objects.first().words == "took back that 4 images were put back into the pool"
        again = client.post(undo, {"back": "//evil.example"}, follow=True)
        assert "Nothing was taken back" in again.content.decode() and again.redirect_chain[0][0] == "/p/signs/images/"
        assert AuditEntry.objects.count() == 2

    def test_only_what_was_put_back_at_once_is_undone_there(self, client, project, manager, images) -> None:
        for details in ({}, {"images": [images[0].pk]}, {"image": images[0].pk}):
            entry = AuditEntry.objects.create(project=project, by=manager, kind="review", words="", details=details)
            assert client.post(reverse("images-return-undo", args=["signs", entry.pk])).status_code == 404
        assert client.post(reverse("images-return-undo", args=["signs", 10**30])).status_code == 404

    def test_its_statements_do_not_grow_with_the_images(
        self, client, project, url, make_images, annotator, carl, django_assert_max_num_queries
    ) -> None:
        given = {"project": project, "outcome": "unsure"}
        Annotation.objects.bulk_create(
            Annotation(image=row, annotator=person, key=uuid.uuid4(), **given)
            for row in make_images(project, 400, state=ImageState.SET_ASIDE)
            for person in (annotator, carl)
        )
        page = client.post(url, {"state": "set_aside", "first": "no"}, follow=True).content.decode()
        undo = page.split('class="messages-undo" method="post" action="')[1].split('"')[0]
        with django_assert_max_num_queries(24):
            client.post(undo)
        assert project.images.filter(state=ImageState.SET_ASIDE).count() == 400

    def test_those_selected(self, client, url, images) -> None:
        chosen = {"state": "disputed", "of": "chosen", "image": [images[1].pk, images[5].pk, 10**12]}
        html = client.get(url, chosen).content.decode()
        assert "1 image would wait for answers again." in html and f'value="{images[1].pk}"' in html
        reply = client.post(url, {**chosen, "first": "no"}, follow=True)
        assert "1 image is back in the pool." in reply.content.decode()
        assert states(images)[:2] == ["disputed", "pool"]

    def test_a_selection_of_explore_is_previewed_first(self, client, url, images) -> None:
        """It comes by POST, as it may be long, and leads back to where it was made."""
        chosen = {"of": "chosen", "at": ",".join(str(row.position) for row in images[2:]), "back": "/p/signs/explore/"}
        html = client.post(url, chosen).content.decode()
        assert "3 images would wait for answers again." in html and states(images)[2] == "set_aside"
        assert html.count('type="hidden" name="image"') == 4
        back = client.post(url, {**chosen, "first": "no"})
        assert back.url == "/p/signs/explore/" and states(images)[2:5] == ["pool"] * 3
        assert client.post(url, {**chosen, "first": "no", "back": "//evil.example"}).url.startswith("/p/signs/images/")

    def test_none_selected_is_not_all(self, client, url, images) -> None:
        for send in (client.get, client.post):
            for chosen in ({}, {"image": ["x", "9" * 40]}):
                reply = send(url, {"state": "disputed", "of": "chosen", **chosen}, follow=True)
                assert "No image is selected." in reply.content.decode()
        assert states(images)[:2] == ["disputed"] * 2

    def test_where_none_is_to_be_asked_again(self, client, url) -> None:
        assert "nothing is to be asked again" in client.get(url, {"state": "labelled"}).content.decode()

    def test_its_queries_do_not_grow(self, client, url, make_images, project, django_assert_max_num_queries) -> None:
        make_images(project, 50, state=ImageState.SET_ASIDE)
        with django_assert_max_num_queries(8):
            assert "52 images would wait" in client.get(url, {"state": "set_aside"}).content.decode()
