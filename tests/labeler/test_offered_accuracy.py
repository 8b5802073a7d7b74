"""How right a model is by labels that came with the images: from the first round on, and on the pages."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from labeler.learning import offered
from labeler.models import Image, ImageState, LabelClass, OfferedLabel, Project, Round, Standing
from labeler.selectors.curve import learning_curve
from labeler.selectors.monitor import monitor_of
from labeler.selectors.offered import offered_classes
from labeler.selectors.scores import prediction_of
from labeler.services.class_changes import merge_class
from labeler.services.classes import change_class
from tests.labeler.monitored import measured_round
from tests.labeler.rounds import answer, begun, truth
from tests.labeler.test_round_loop import run_messages
from tests.labeler.test_worth import measured_rounds

pytestmark = pytest.mark.django_db(transaction=True)
SHARE = {"value": 0.9, "low": 0.85, "high": 0.94, "n": 200, "method": "wilson"}


def offer(project, wrong: set[int] = frozenset()) -> None:
    """Labels with every image: their true class, but for some."""
    names = [row.name for row in project.classes.all()]
    for image in project.images.all():
        label = (truth(image.position) + (image.position in wrong)) % 3
        OfferedLabel.objects.create(image=image, class_name=names[label].upper())


@pytest.fixture
def pool(project, make_images):
    return begun(project, make_images)


def learned_round(pool, annotator, sent) -> Round:
    answer(pool, annotator, 12)
    run_messages(sent)
    return Round.objects.exclude(folder="").latest("number")


def expected(round_, wrong: set[int] = frozenset(), without: set[int] = frozenset()) -> tuple[int, int]:
    """Right ones and all, image by image: those that it did not learn from."""
    images = round_.project.images.exclude(state=ImageState.BAD).exclude(position__in=without)
    unlearned = images.exclude(state=ImageState.LABELLED, is_holdout=False)
    classes = LabelClass.objects.in_bulk(round_.classes)
    right = 0
    for position in unlearned.values_list("position", flat=True):
        said = prediction_of(round_, position)
        best = max(zip(said.means, said.classes, strict=True))[1]
        label = (truth(position) + (position in wrong)) % 3
        right += classes[best].meaning == classes[round_.classes[label]].meaning
    return right, unlearned.count()


def test_a_round_is_compared_with_labels_that_it_did_not_learn_from(pool, annotator, sent) -> None:
    offer(pool, wrong={0, 7, 8})
    round_ = learned_round(pool, annotator, sent)
    right, n = expected(round_, wrong={0, 7, 8})
    assert 0 < n < 90
    assert (round_.offered["n"], round_.offered["value"]) == (n, pytest.approx(right / n))
    assert round_.offered["low"] < right / n < round_.offered["high"]
    assert not Image.objects.filter(state=ImageState.LABELLED).count() > 12  # the labels were taken by nobody


def test_nothing_is_compared_where_no_image_came_with_a_label(pool, annotator, sent) -> None:
    round_ = learned_round(pool, annotator, sent)
    assert round_.offered is None
    assert learning_curve(pool).squares == ()


def test_bad_images_and_names_of_no_class_are_left_out_and_a_merged_class_means_the_other(
    pool, annotator, manager, sent
) -> None:
    offer(pool)
    round_ = learned_round(pool, annotator, sent)
    bad = pool.images.filter(state=ImageState.POOL).first()
    Image.objects.filter(pk=bad.pk).update(state=ImageState.BAD)
    strange = pool.images.filter(state=ImageState.POOL).last()
    OfferedLabel.objects.filter(image=strange).update(class_name="lynx")
    first, second, _ = pool.classes.all()
    merge_class(label_class=second, into=first, by=manager)
    round_ = Round.objects.get(pk=round_.pk)
    offered.compare_with_offered(round_)
    right, n = expected(round_, without={strange.position})
    round_.refresh_from_db()
    assert (round_.offered["n"], round_.offered["value"]) == (n, pytest.approx(right / n))


def test_a_renamed_class_is_still_that_of_its_labels(pool, manager) -> None:
    offer(pool)
    dog = pool.classes.get(name="dog")
    before = sorted(offered_classes(pool, most=1000))
    change_class(label_class=dog, name="hound", shortcut=dog.shortcut, colour=dog.colour, by=manager)
    assert sorted(offered_classes(pool, most=1000)) == before


def test_of_many_labels_some_are_read_spread_over_the_pool(pool) -> None:
    offer(pool)
    assert len(offered_classes(pool, most=1000)) == 90
    assert [position for position, _ in sorted(offered_classes(pool, most=40))] == list(range(0, 90, 3))


def test_the_monitor_says_it_before_the_holdout_can(project, make_images, manager, client_of) -> None:
    round_ = measured_round(project, make_images)
    Round.objects.filter(pk=round_.pk).update(metrics={}, offered=SHARE, standing=Standing.ACCEPTED)
    seen = monitor_of(project).seen
    html = client_of(manager).get(reverse("monitor", args=["signs"])).content.decode()
    figure = r"figure-large.{0,150}90\.0 %.{0,150}right by the labels that came with 200 images.{0,30}</p>"
    assert re.search(figure, html, re.DOTALL)  # the large one: there is no other
    assert '<span class="number-missing">Not measured on the holdout yet: the next round measures it.</span>' in html
    assert "Nobody here has checked these labels" in html
    assert html.count('class="curve-square"') == 2  # of the wide drawing and the narrow one
    assert "Right by the labels that came with the images" in html
    Round.objects.filter(pk=round_.pk).update(offered=None)
    assert monitor_of(project).seen != seen  # so that an open page gets its curve


def test_the_holdouts_figure_is_the_large_one_where_there_is_one(project, make_images, manager, client_of) -> None:
    Round.objects.filter(pk=measured_round(project, make_images).pk).update(offered=SHARE | {"value": 0.875})
    html = " ".join(client_of(manager).get(reverse("monitor", args=["signs"])).content.decode().split())
    assert re.search(r"figure-large.{0,150}90\.0 %.{0,150}on the holdout</span> </p> <p><span.{0,60}87\.5 %", html)
    assert "right by the labels that came with 200 images.</span>" in html and "on the holdout yet" not in html


def test_the_lists_of_projects_and_of_rounds_say_it(project, make_images, manager, client_of) -> None:
    round_ = measured_round(project, make_images)
    client, rounds = client_of(manager), reverse("rounds", args=["signs"])
    both = Round.objects.filter(pk=round_.pk)
    both.update(offered=SHARE | {"value": 0.875})
    assert "87.5 %" not in client.get("/").content.decode()  # the holdout's alone
    assert "90.0 %" in client.get(rounds).content.decode()
    both.update(metrics={})
    home = " ".join(client.get("/").content.decode().split())
    said = r'title="Wilson 95 % interval, 200 images, round 2">87\.5 %.{0,120}by the labels that came with the images'
    assert re.search(said, home) and "not measured" not in home
    both.update(standing=Standing.ACCEPTED)
    Project.objects.filter(pk=project.pk).update(model_round=round_)
    assert re.search(said, " ".join(client.get("/").content.decode().split()))
    listed = " ".join(client.get(rounds).content.decode().split())
    assert re.search(
        r"not measured</span><br>.{0,40}by labels that came with the images:</span> <span.{0,60}87\.5 %", listed
    )
    both.update(offered=SHARE | {"n": 9})
    assert "not measured yet" in client.get("/").content.decode()
    assert "by labels that came" not in client.get(rounds).content.decode()


def test_too_few_labels_say_nothing(project, make_images, manager, client_of) -> None:
    round_ = measured_round(project, make_images)
    Round.objects.filter(pk=round_.pk).update(metrics={}, offered=SHARE | {"n": 9})
    html = client_of(manager).get(reverse("monitor", args=["signs"])).content.decode()
    assert "curve-square" not in html and "right by the label" not in html


def test_both_stand_in_one_curve_and_one_table(project) -> None:
    measured_rounds(project)
    rounds = list(project.rounds.order_by("number"))
    Round.objects.filter(pk=rounds[0].pk).update(metrics={}, offered=SHARE)
    Round.objects.filter(pk=rounds[1].pk).update(offered=SHARE)
    Round.objects.filter(pk=rounds[2].pk).update(offered=SHARE, standing=Standing.REFUSED)
    curve = learning_curve(project)
    assert [row.number for row in curve.rows] == [row.number for row in rounds]
    assert (curve.rows[0].point, curve.rows[1].point.number) == (None, rounds[1].number)
    assert [square.offered.number for square in curve.squares] == [rounds[0].number, rounds[1].number]
    assert curve.squares[1].x == curve.marks[0].x  # the same answers, the same place
    assert curve.squares[0].x < curve.squares[1].x


def test_the_rounds_page_says_it(project, make_images, manager, client_of) -> None:
    round_ = measured_round(project, make_images)
    Round.objects.filter(pk=round_.pk).update(offered=SHARE)
    html = client_of(manager).get(reverse("round", args=["signs", round_.number])).content.decode()
    assert re.search(
        r"Right by the labels that came with the images</dt><dd>.{0,160}90\.0 %.{0,120}of 200 images", html, re.DOTALL
    )
