"""The pages of answers: quality, people, gold."""

from __future__ import annotations

import time

import pytest
from django.urls import reverse

from labeler.models import AnnotatorQuality, AnswerQuality, GoldImage, Image, ImageState, Membership, Role
from labeler.services.gold import mark_gold
from tests.labeler.queues import answer_place, fill_queue

INTERVAL = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 120}


def url(project, name: str = "answers", *more: object) -> str:
    return reverse(name, args=[project.slug, *more])


@pytest.fixture
def measured(project, annotator):
    from labeler import clock

    stats = {
        "answers": 200, "kinds": {"train": 150, "gold": 50}, "paired": 80, "alpha": INTERVAL, "evidence": 80,
        "evidence_wanted": 10, "gold": INTERVAL,
    }  # fmt: skip
    AnswerQuality.objects.create(project=project, measured_at=clock.now(), right=0.93, stats=stats)
    person = {
        "answers": 200, "labels": 190, "skips": 7, "unsure": 3, "kinds": stats["kinds"], "seconds": INTERVAL,
        "timed": 200, "judged": 80, "agreement": INTERVAL, "adjusted": INTERVAL, "gold": INTERVAL, "gold_answers": 50,
        "gold_told": INTERVAL,
    }  # fmt: skip
    AnnotatorQuality.objects.create(project=project, annotator=annotator, trust=0.91, stats=person)


def test_before_the_first_answer_it_says_what_to_do(project, manager, client_of) -> None:
    page = client_of(manager).get(url(project)).content.decode()
    assert "Nobody has answered yet" in page


def test_it_shows_numbers_with_intervals(project, manager, client_of, measured) -> None:
    page = client_of(manager).get(url(project)).content.decode()
    assert '0.90 <span class="number-interval">(0.80 to 0.95)</span>' in page
    assert "80 images with two answers or more" in page
    assert "as far as 80 images can tell" in page
    assert "to learn from" in page
    assert "75 %" in page


def test_it_says_what_it_counts_beside_the_costs(project, manager, annotator, make_images, client_of, measured) -> None:
    """Answers to a class that was split are spent, and stand no more: the two pages differ by them."""
    answer_place(project, annotator, fill_queue(project, make_images(project, 1)).candidates.get())
    client = client_of(manager)
    for name, more in (("answers", []), ("annotator", [annotator.pk])):
        assert (
            f'Answers that stand. <a href="{url(project, "worth")}">'
            in client.get(url(project, name, *more)).content.decode()
        )
    html = client.get(url(project, "worth")).content.decode()
    assert f'<a href="{url(project)}">Answers</a> counts those that stand' in html


def test_what_is_missing_is_said(project, manager, client_of) -> None:
    from labeler import clock

    AnswerQuality.objects.create(project=project, measured_at=clock.now(), stats={"answers": 5, "paired": 3})
    page = client_of(manager).get(url(project)).content.decode()
    assert "not measured yet: 7 more images with two answers" in page
    assert "there are no gold images" in page


def test_a_person_sees_their_own_page_and_no_other(project, annotator, manager, client_of, measured) -> None:
    client = client_of(annotator)
    own = client.get(url(project, "annotator", annotator.pk))
    assert own.status_code == 200
    page = own.content.decode()
    assert "Your answers" in page
    assert "gold" not in page.lower()
    assert "What they were spent on" not in page  # would count gold
    assert client.get(url(project, "annotator", manager.pk)).status_code == 403


def test_a_manager_sees_everybodys(project, annotator, manager, client_of, measured) -> None:
    page = client_of(manager).get(url(project, "annotator", annotator.pk)).content.decode()
    assert "Right on gold" in page
    own = client_of(manager).get(url(project, "annotator", manager.pk)).content.decode()
    assert "You have not answered yet" in own


def test_who_is_nobody_here_is_not_found(project, manager, stranger, client_of) -> None:
    assert client_of(manager).get(url(project, "annotator", stranger.pk)).status_code == 404


def test_a_hundred_people_cost_no_more_statements(
    project, manager, make_user, client_of, measured, django_assert_max_num_queries
) -> None:
    stats = AnnotatorQuality.objects.get().stats
    for number in range(100):
        user = make_user(f"person{number}")
        Membership.objects.create(project=project, user=user, role=Role.ANNOTATOR)
        AnnotatorQuality.objects.create(project=project, annotator=user, trust=0.9, stats=stats)
    client = client_of(manager)
    client.get(url(project))
    with django_assert_max_num_queries(9):
        started = time.perf_counter()
        page = client.get(url(project)).content.decode()
        took = time.perf_counter() - started
    assert page.count("person") >= 100
    assert took < 1.0  # 200 ms on a machine of its own; measured in docs/log.md


class TestGold:
    def test_marking_one_from_its_page(self, project, make_images, manager, client_of) -> None:
        (image,) = make_images(project, 1)
        cat = project.classes.get(name="cat")
        body = {"image": image.pk, "label_class": cat.pk, "back": url(project, "image", image.pk)}
        client = client_of(manager)
        page = client.post(url(project, "gold-mark"), body, follow=True).content.decode()
        assert "The image is gold: cat" in page
        assert "No longer gold" in page
        assert "1 image." in client.get(url(project, "gold")).content.decode()
        page = client.post(url(project, "gold-unmark", image.pk), follow=True).content.decode()
        assert "no longer gold" in page
        assert "No image is gold yet" in page
        client.post(url(project, "gold-unmark", image.pk))  # twice is harmless

    def test_marking_what_is_ticked(self, project, make_images, manager, client_of) -> None:
        images = make_images(project, 3, state=ImageState.LABELLED, label=project.classes.first())
        body = {"at": [str(image.position) for image in images[:2]], "back": "//elsewhere.example/"}
        reply = client_of(manager).post(url(project, "gold-mark"), body)
        assert reply.headers["Location"] == url(project, "gold")
        assert GoldImage.objects.count() == 2

    @pytest.mark.parametrize("body", [{}, {"at": "x"}, {"at": "-1"}, {"at": "999999"}])
    def test_nonsense_changes_nothing(self, project, manager, client_of, body) -> None:
        assert client_of(manager).post(url(project, "gold-mark"), body).status_code == 302
        assert not GoldImage.objects.exists()

    @pytest.mark.parametrize("body", [{"image": "1", "label_class": "x"}, {"image": "1", "label_class": "9" * 30}])
    def test_no_such_class(self, project, manager, client_of, body) -> None:
        assert client_of(manager).post(url(project, "gold-mark"), body).status_code == 404

    def test_the_list_costs_a_fixed_number_of_statements(
        self, project, make_images, manager, client_of, django_assert_max_num_queries
    ) -> None:
        cat = project.classes.get(name="cat")
        for image in make_images(project, 70):
            mark_gold(project=project, image_id=image.pk, label_class=cat, by=manager)
        client = client_of(manager)
        with django_assert_max_num_queries(7):
            assert "1 of 2" in client.get(url(project, "gold")).content.decode()
        assert client.get(url(project, "gold") + "?page=2").content.decode().count("Not gold") == 10
        assert client.get(url(project, "gold") + "?page=99999").status_code == 200


def test_settings_refuse_gold_that_would_stand_out(project, manager, client_of) -> None:
    from labeler.forms.learning import LearningForm

    initial = LearningForm.initial_of(project.learning)
    form = LearningForm(initial=initial)
    data = {name: form[name].value() for name in form.fields}
    data = {name: value for name, value in data.items() if value is not None and value is not False}
    data |= {"gold_share": "5", "random_share": "0", "made_from": form.made_from}
    form = LearningForm(data, initial=initial)
    assert not form.is_valid()
    assert "stand out" in form.errors["gold_share"][0]
    form = LearningForm(data | {"random_share": "10"}, initial=initial)
    assert form.is_valid(), form.errors
    assert form.learning_values["gold_share"] == 0.05


def test_images_are_still_listed(project, make_images, manager, annotator, client_of) -> None:
    make_images(project, 2)
    assert client_of(annotator).get(url(project, "images")).status_code == 200
    assert Image.objects.count() == 2
