"""How the learning curve is drawn: where lines, bands, whiskers and marks stand, and where they end."""

from __future__ import annotations

import pytest
from django.urls import reverse

from labeler.models import (
    Round,
    Standing,
)
from labeler.selectors.curve import learning_curve
from labeler.selectors.forecast import curve_ahead
from tests.labeler.test_worth import measured_rounds

pytestmark = pytest.mark.django_db


def test_where_a_network_took_over_is_marked(project) -> None:
    measured_rounds(project)
    later = list(project.rounds.order_by("number"))[2:]
    for round_ in later:
        round_.config = {**round_.config, "features": "network 7", "has_likeness": True}
        round_.save()
    curve = learning_curve(project)
    assert [change.number for change in curve.changes] == [later[0].number]
    assert curve.changes[0].title.endswith("images are seen by likeness by features of network 7")


def test_the_mark_stands_where_rounds_made_aside_began_to_see_in_the_new_way(project) -> None:
    measured_rounds(project)
    for round_ in list(project.rounds.order_by("number"))[1:]:
        round_.config = {**round_.config, "features": "network 7", "has_likeness": True}
        round_.standing = Standing.ACCEPTED if round_.number == 104 else Standing.ASIDE
        round_.save()
    curve = learning_curve(project)
    (change,) = curve.changes
    assert (change.number, curve.marks[0].x < change.at < curve.marks[1].x) == (curve.points[1].number, True)


def standings(project, *words: str) -> None:
    """Of the measured rounds, in their order."""
    for round_, standing in zip(project.rounds.order_by("number"), words, strict=True):
        round_.standing = standing
        round_.save()


def drawn_ends(project) -> list[tuple[float, float]]:
    """Where each line of the curve begins and ends, across."""
    found = []
    for stretch in learning_curve(project).stretches:
        across = [float(pair.split(",")[0]) for pair in stretch.line.split()]
        assert len(stretch.band.split()) == 2 * len(across)
        assert min(across) == min(float(pair.split(",")[0]) for pair in stretch.band.split())
        found.append((across[0], across[-1]))
    return found


def test_neither_line_nor_band_lead_past_models_that_were_made_aside(project) -> None:
    """From the model that was kept to the one after its release they were drawn straight, and all that was measured in
    between lay outside the interval."""
    measured_rounds(project, [(20, 0.5), (40, 0.6), (60, 0.9), (80, 0.92), (100, 0.94), (120, 0.95)])
    standings(project, "accepted", "accepted", "aside", "aside", "accepted", "accepted")
    at = [mark.x for mark in learning_curve(project).marks]
    assert drawn_ends(project) == [(at[0], at[1]), (at[4], at[5])]
    assert (learning_curve(project).has_aside, learning_curve(project).has_crosses) == (True, False)


@pytest.mark.parametrize(("refused", "lines"), [(2, 1), (3, 2)])
def test_a_line_leads_past_two_refused_models_and_no_more(project, refused, lines) -> None:
    measured_rounds(project, [(20 * n, 0.5 + 0.05 * n) for n in range(1, refused + 3)])
    standings(project, "accepted", *["refused"] * refused, "accepted")
    assert len(drawn_ends(project)) == lines


def test_where_images_are_seen_in_another_way_a_new_line_begins(project) -> None:
    measured_rounds(project)
    for round_ in list(project.rounds.order_by("number"))[2:]:
        round_.config = {**round_.config, "features": "network 7"}
        round_.save()
    at, (change,) = [mark.x for mark in learning_curve(project).marks], learning_curve(project).changes
    assert drawn_ends(project) == [(at[0], at[1]), (at[2], at[3])]
    assert at[1] < change.at < at[2]


def test_models_made_aside_are_grey_dots_on_the_page(project, manager, client_of) -> None:
    measured_rounds(project)
    client, page = client_of(manager), reverse("worth", args=["signs"])
    html = client.get(page).content.decode()
    assert "curve-aside" not in html and "Grey dots" not in html and "there is no line" not in html
    standings(project, "accepted", "aside", "refused", "accepted")
    html = client.get(page).content.decode()
    assert html.count('class="curve-aside"') == html.count('class="curve-cross"') == 2  # wide, and for a phone
    for words in ("Grey dots are models that were made aside", "Crosses are models that were refused", "is no line"):
        assert words in html


def test_where_rounds_stand_close_the_band_alone_says_their_intervals(project, manager, client_of) -> None:
    """A hundred rounds were one bar of whiskers on a phone."""
    rows = [(200, 0.5), *((1000 + 5 * n, 0.9) for n in range(40))]
    measured_rounds(project, rows)
    standings(project, *["accepted"] * 20, "refused", *["accepted"] * 20)
    project.model_round = project.rounds.order_by("number").last()
    project.save()
    html = client_of(manager).get(reverse("worth", args=["signs"])).content.decode()
    wide, narrow = learning_curve(project).drawings
    for drawing, svg in zip((wide, narrow), html.split('<svg class="curve-')[1:], strict=True):
        assert [mark.point.number for mark in drawing.marks if mark.has_whisker] == [101, 141]
        assert [len(stretch.line.split()) for stretch in drawing.stretches] == [40]  # the band leads through all
        svg = svg.split("</svg>")[0]
        assert svg.count('class="curve-whisker') == 2
        assert svg.count("curve-small") == 39 and svg.count("<title>") == 41  # each can be pointed at
        assert svg.rindex("<circle") == svg.index('<circle class="curve-mark curve-charge"')  # above all
    assert html.count("stand close together") == 1
    assert html.split('<section id="curve"')[1].split("</section>")[0].count('<th scope="row">') == 41


def test_with_room_and_alone_each_round_has_its_whisker(project, manager, client_of) -> None:
    measured_rounds(project, [(20, 0.5), (200, 0.6), (202, 0.7), (204, 0.8)])
    standings(project, "accepted", "accepted", "aside", "accepted")
    curve = learning_curve(project)
    assert [mark.is_small for mark in curve.marks] == [False, True, True, True]
    assert [mark.has_whisker for mark in curve.marks] == [True, False, False, True]  # the last is a line by itself
    assert [len(stretch.line.split()) for stretch in curve.stretches] == [2, 1]
    Round.objects.filter(project=project, answers_spent__in=[202, 204]).delete()
    assert "stand close together" not in client_of(manager).get(reverse("worth", args=["signs"])).content.decode()


def test_the_curve_leads_on(project) -> None:
    measured_rounds(project)
    project.target_accuracy = 0.9
    plain, ahead = learning_curve(project), curve_ahead(project, learning_curve(project))
    assert (plain.target, plain.ahead) == (None, "")
    assert ahead.target is not None and ahead.shape.bottom > ahead.target > 0
    first, last = (tuple(map(float, pair.split(","))) for pair in (ahead.ahead.split()[0], ahead.ahead.split()[-1]))
    assert first[0] < last[0] <= ahead.shape.right
    assert last[1] <= first[1]  # it does not get worse
