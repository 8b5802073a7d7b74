"""Which model takes charge: the gate on the holdout, and what is asked when it refuses."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from labeler import learning
from labeler.learning import rounds as rounds_door
from labeler.models import (
    Candidate,
    CandidateState,
    Image,
    ImageState,
    LabelClass,
    ModelChange,
    Reason,
    Round,
    RoundState,
    Standing,
    Trigger,
)
from labeler.selectors.charge import charge_of
from labeler.selectors.verdicts import class_names, verdict_of
from labeler.services.rollback import put_in_charge, release_model
from labeler.storage import round_folder
from tests.labeler.judged import finish, judged, loses_owls, measured_pool, round_to_judge, sure

pytestmark = pytest.mark.django_db


@pytest.fixture
def pool(project, make_images):
    return measured_pool(project, make_images)


def words(round_: Round) -> str:
    verdict = verdict_of(round_, class_names(round_.project, round_))
    return " ".join(verdict.sentences) if verdict else ""


def queue_of(round_: Round) -> list[Candidate]:
    return list(Candidate.objects.filter(round=round_).select_related("image").order_by("rank"))


def test_the_first_model_takes_charge(pool) -> None:
    first = judged(pool, loses_owls)
    assert (first.standing, first.verdict) == (Standing.ACCEPTED, {"basis": "first"})
    assert (pool.model_round, first.asked_by) == (first, first)
    change = ModelChange.objects.get()
    assert (change.kind, change.round, change.former, change.by) == ("took", first, None, None)
    assert words(first) == "It took charge: there was no model before it."


def test_one_that_is_as_good_takes_over_and_says_by_what(pool) -> None:
    first = judged(pool)
    second = judged(pool)
    assert second.standing == Standing.ACCEPTED
    assert (pool.model_round, pool.queue_round) == (second, second)
    found = second.verdict
    assert (found["n"], found["old_right"], found["new_right"], found["objections"]) == (30, 30, 30, [])
    assert found["difference"]["low"] < found["difference"]["value"] == 0 < found["difference"]["high"]
    assert [each["n"] for each in second.metrics["changes"]] == [10, 10, 10]
    assert "On the same 30 holdout images it is right about 30, the model of round 1 about 30." in words(second)
    assert "Neither in all nor in any of 3 classes is it significantly worse." in words(second)
    assert all("model" not in place.details for place in queue_of(second))
    assert ModelChange.objects.first().former == first


def test_one_that_lost_a_class_is_refused_and_people_go_on_by_the_model_in_charge(pool, annotator) -> None:
    first = judged(pool)
    taken = Image.objects.get(project=pool, position=35)
    taken.state, taken.label = ImageState.LABELLED, pool.classes.first()
    taken.save()
    second = judged(pool, loses_owls)
    assert (second.state, second.standing) == (RoundState.DONE, Standing.REFUSED)
    assert (pool.model_round, pool.queue_round, second.asked_by) == (first, second, first)
    assert "it finds 0 of 10 images of owl, the model of round 1 finds 10 (p = 0.0010)" in words(second)
    assert "The model of round 1 stays in charge, and chose the queue." in words(second)
    places = queue_of(second)
    assert [place.reason for place in places] == [Reason.ACQUIRED] * 10
    assert {place.details["model"] for place in places} == {1}
    assert all(place.image.position >= 30 and place.image.position != 35 for place in places)
    classes = list(pool.classes.values_list("pk", flat=True))
    for place in places:  # what the model in charge says of it, not what the refused one does
        assert place.details["likely"][0]["class"] == classes[place.image.position % 3]
    assert ModelChange.objects.count() == 1


def test_one_that_is_worse_in_all_is_refused_in_numbers(pool) -> None:
    judged(pool)
    second = judged(pool, lambda position: position < 30 and position % 5 == 0)
    assert second.standing == Standing.REFUSED
    assert second.verdict["objections"] == ["fewer_right"]
    assert "it is right about 24 of 30 holdout images, the model of round 1 is about 30 (p = 0.0156)" in words(second)


def test_a_difference_that_chance_explains_is_let_through(pool) -> None:
    judged(pool)
    assert judged(pool, lambda position: position in (0, 1, 2, 3)).standing == Standing.ACCEPTED


def test_without_the_gate_a_worse_one_takes_over_and_its_page_says_so(pool) -> None:
    judged(pool)
    pool.learning.gates_rounds = False
    pool.learning.save()
    second = judged(pool, loses_owls)
    assert (second.standing, pool.model_round) == (Standing.ACCEPTED, second)
    assert "The gate was off" in words(second)


def test_with_a_handful_of_holdout_answers_nothing_is_compared(pool) -> None:
    Image.objects.filter(project=pool, position__gte=9, is_holdout=True).update(state="pool", label=None)
    judged(pool)
    second = judged(pool, lambda _: True)
    assert (second.standing, second.verdict["basis"]) == (Standing.ACCEPTED, "too_few")
    assert "9 holdout images have a label and were scored by both, and 10 are needed" in words(second)


def test_classes_in_another_order_and_a_new_one_are_compared_by_what_they_are(pool) -> None:
    judged(pool)
    cat, dog, owl = pool.classes.values_list("pk", flat=True)
    fox = LabelClass.objects.create(project=pool, name="fox", colour="#000000", order=4).pk
    Image.objects.filter(project=pool, position__in=[0, 3]).update(label=fox)
    means = sure(70, classes=(2, 3, 0, 1))
    second = finish(round_to_judge(pool, means, classes=[owl, fox, cat, dog]))
    assert second.standing == Standing.ACCEPTED
    assert (second.verdict["n"], second.verdict["new_right"]) == (28, 28)
    assert "fox came since: the model of round 1 does not know it, so 2 holdout images" in words(second)
    worse = sure(70, classes=(2, 3, 0, 1), is_wrong=loses_owls)
    third = finish(round_to_judge(pool, worse, classes=[owl, fox, cat, dog]))
    assert "it finds 0 of 10 images of owl, the model of round 2 finds 10" in words(third)


def test_images_that_came_since_have_their_share_of_a_refused_rounds_queue(pool, make_images) -> None:
    judged(pool)
    make_images(pool, 40)  # half of what waits
    second = judged(pool, loses_owls)
    assert second.standing == Standing.REFUSED
    late = [place for place in queue_of(second) if place.image.position >= 70]
    assert len(queue_of(second)) == 10 and len(late) == 5
    assert {(place.reason, place.selection_probability) for place in late} == {(Reason.RANDOM, 5 / 40)}


def test_once_all_that_it_has_scored_is_answered_it_asks_about_the_others(pool, make_images) -> None:
    judged(pool)
    make_images(pool, 4)
    label = pool.classes.first()
    Image.objects.filter(project=pool, is_holdout=False, position__lt=70).update(state="labelled", label=label)
    second = judged(pool, loses_owls)
    assert sorted(place.image.position for place in queue_of(second)) == [70, 71, 72, 73]


def test_where_the_files_of_the_model_in_charge_are_gone_the_new_one_takes_over(pool) -> None:
    first = judged(pool)
    (round_folder(first) / "scores" / "000000.npz").unlink()
    second = judged(pool, loses_owls)
    assert (second.standing, pool.model_round) == (Standing.ACCEPTED, second)
    assert "It took charge: the score files of round 1 cannot be read" in words(second)


def test_pixels_that_are_gone_do_not_stop_the_model_in_charge_from_asking(pool) -> None:
    first = judged(pool)
    first.chunks.update(pixels="projects/0/pixels/gone.npy")
    pool.chunks.update(pixels="projects/0/pixels/gone-too.npy")
    means = sure(70, is_wrong=loses_owls)
    second = finish(round_to_judge(pool, means))
    assert second.standing == Standing.REFUSED
    assert len(queue_of(second)) == 10


def test_while_a_person_keeps_a_model_others_are_made_aside(pool, manager) -> None:
    first = judged(pool)
    assert put_in_charge(round_=first, by=manager)
    assert not Round.objects.filter(trigger=Trigger.CHARGE).exists()  # its queue is out already
    second = judged(pool)
    assert (second.standing, pool.model_round, second.asked_by) == (Standing.ASIDE, first, first)
    assert "Made aside: mia keeps the model of round 1 in charge." in words(second)
    assert second.metrics["accuracy"]["value"] == 1.0  # measured all the same
    assert release_model(project=pool, by=manager)
    assert not release_model(project=pool, by=manager)
    third = judged(pool)
    assert (third.standing, pool.model_round) == (Standing.ACCEPTED, third)
    assert [change.kind for change in ModelChange.objects.all()] == ["took", "released", "put", "took"]
    assert not charge_of(pool).is_kept


def test_a_kept_model_that_falls_behind_is_said_on_the_monitor_with_a_button(pool, manager, client_of) -> None:
    client, address = client_of(manager), f"/p/{pool.slug}/"
    first = judged(pool, loses_owls)
    assert "Release the model" not in client.get(address).content.decode()
    put_in_charge(round_=first, by=manager)
    page = client.get(address).content.decode()
    assert "Release the model of round 1" in page and "lies above 0" not in page
    second = judged(pool)
    assert second.standing == Standing.ASIDE
    page = client.get(address).content.decode()
    assert "is better than that of round 1: the whole interval of the difference lies above 0" in page
    assert "points" in page
    form = page[page.index("rounds/release/") : page.index('id="charge-release"')]
    (back,) = re.findall(r'name="back" value="([^"]+)"', form)
    assert client.post(reverse("charge-release", args=[pool.slug]), {"back": back}).url == address
    page = client.get(address).content.decode()
    assert "Release the model" not in page and "lies above 0" not in page


@pytest.mark.parametrize("back", ["", "//elsewhere.example/", "https://elsewhere.example/", "monitor"])
def test_a_release_from_elsewhere_leads_to_the_round(pool, manager, client_of, back) -> None:
    put_in_charge(round_=judged(pool), by=manager)
    reply = client_of(manager).post(reverse("charge-release", args=[pool.slug]), {"back": back})
    assert reply.url == reverse("round", args=[pool.slug, 1])


def test_a_comparison_is_never_judged(pool) -> None:
    first = judged(pool)
    other = judged(pool, trigger=Trigger.COMPARISON)
    assert (other.standing, pool.model_round, pool.queue_round) == ("", first, first)


def test_a_round_is_judged_again_when_another_model_was_put_in_charge_meanwhile(pool, manager, monkeypatch) -> None:
    """Between the comparison and the transaction that publishes."""
    first = judged(pool, loses_owls)
    second = judged(pool)
    waiting = round_to_judge(pool, sure(70, is_wrong=loses_owls))
    rule_on, calls = rounds_door.rule_on, []

    def rule(round_: Round):
        ruling = rule_on(round_)
        if not calls:
            put_in_charge(round_=first, by=manager)
        calls.append(ruling.seen.model_id)
        return ruling

    monkeypatch.setattr(rounds_door, "rule_on", rule)
    third = finish(waiting)
    assert calls == [second.pk, first.pk]
    assert (third.standing, third.asked_by, pool.model_round) == (Standing.ASIDE, first, first)


def test_one_who_changes_their_mind_without_end_does_not_hold_up_a_round_for_ever(pool, manager, monkeypatch) -> None:
    first, second = judged(pool), judged(pool)
    waiting = round_to_judge(pool, sure(70))
    rule_on = rounds_door.rule_on

    def rule(round_: Round):
        ruling = rule_on(round_)
        put_in_charge(round_=first if ruling.seen.model_id == second.pk else second, by=manager)
        return ruling

    monkeypatch.setattr(rounds_door, "rule_on", rule)
    with pytest.raises(rounds_door.ChargeMoved):
        learning.choose(round_=Round.objects.select_related("project__learning").get(pk=waiting.pk))


def test_places_that_somebody_holds_stay_theirs(pool, annotator) -> None:
    from labeler.services.lease import lease_next

    judged(pool)
    pool.refresh_from_db()
    (mine,) = lease_next(project=pool, annotator=annotator, want=1)
    second = judged(pool, loses_owls)
    assert mine.image_id not in {place.image_id for place in queue_of(second)}
    mine.refresh_from_db()
    assert mine.state == CandidateState.OPEN
