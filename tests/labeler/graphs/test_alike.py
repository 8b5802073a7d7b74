"""What the Label page tells of the group that a question stands for, and the images that it shows of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.translation import override

from labeler import storage
from labeler.models import Candidate, GoldImage, Image, ImageState, LearningConfig, Reason, Scope
from labeler.selectors.alike import SHOWN, group_details, hold_any
from labeler.selectors.graphs import current_graph, first_questions
from labeler.selectors.labelling import item_of
from labeler.services.rounds import start_cold_round
from labeler.services.tokens import make_token
from tests.labeler.graphs.conftest import made, queue, run
from tests.labeler.queues import fresh
from tests.labeler.rounds import truth, tune

pytestmark = pytest.mark.django_db
WORDS = "Typical of 20 images that look alike"


@pytest.fixture
def grouped(pool, cold):
    """Three groups of 20, none of it answered, and a queue."""
    made(pool)
    return fresh(pool)


def show(project) -> None:
    LearningConfig.objects.filter(project=project).update(shows_alike=True)


def item(place) -> dict:
    return item_of(fresh(place.project), place, {})


def details_of(project, asked) -> list[dict]:
    with storage.local_path(current_graph(project).file) as path:
        return group_details(project, path, asked)


def test_others_of_the_same_group_are_kept_with_the_question(grouped) -> None:
    first = queue(grouped)[:3]
    for place in first:
        assert place.details["group"] == 20 and place.details["groups"] == 3
        others = Image.objects.in_bulk(place.details["members"]).values()
        assert len(others) == SHOWN and place.image_id not in place.details["members"]
        assert {truth(image.position) for image in others} == {truth(place.image.position)}
    assert len({place.details["members"][0] for place in first}) == 3


def test_a_rounds_questions_have_them_too(grouped) -> None:
    """One kind is left without a name: the next round asks about it first."""
    tune(grouped, learns_from="likeness", retrain_every=0, random_share=0.0, holdout_questions=0.0)
    for place in [each for each in queue(grouped) if truth(each.image.position) < 2][:2]:
        Image.objects.filter(pk=place.image_id).update(
            state=ImageState.LABELLED, label=grouped.classes.all()[truth(place.image.position)]
        )
    run(grouped)
    place = queue(grouped)[0]
    assert (place.reason, truth(place.image.position)) == (Reason.GROUP, 2)
    assert place.details["groups"] == 3 and place.details["likely"]
    others = Image.objects.filter(pk__in=place.details["members"])
    assert {truth(position) for position in others.values_list("position", flat=True)} == {2}


def test_that_the_model_doubts_some_of_them_is_said(grouped) -> None:
    place = queue(grouped)[0]
    assert item(place)["alike"] == WORDS
    place.details["doubted"] = True
    assert item(place)["alike"] == "One of 20 that look alike, some in doubt"
    with override("de"):
        assert item(place)["alike"] == "Eins von 20 ähnlichen, manche zweifelhaft"


def test_images_that_measure_or_check_are_never_among_them(pool, manager) -> None:
    of_kind = [image for image in pool.images.all() if truth(image.position) == 0]
    free = {image.pk for image in of_kind[:4]}
    held, bad, gold = of_kind[4:10], of_kind[10:14], of_kind[14:]
    Image.objects.filter(pk__in=[each.pk for each in held]).update(is_holdout=True)
    Image.objects.filter(pk__in=[each.pk for each in bad]).update(state=ImageState.BAD)
    for each in gold:
        GoldImage.objects.create(project=pool, image=each, label_class=pool.classes.first(), created_by=manager)
    made(pool)
    members = {pk for row in details_of(pool, [(of_kind[0].position, 20)] * 9) for pk in row.get("members", [])}
    assert members == free - {of_kind[0].pk}


def test_a_group_is_the_largest_part_around_an_image_that_is_not_several_groups(tmp_path, project, make_images) -> None:
    """Two leaves of 3 and 1 images, which join to 4, and a third one of 2. In 2 groups are 3 each."""
    images = make_images(project, 6)
    path = tmp_path / "graph.npz"
    arrays = {
        "leaf_N": np.array([0, 1, 0, 2, 0, 2]),
        "parent_V": np.array([3, 3, 4, 4, -1]),
        "size_V": np.array([3, 1, 2, 4, 6]),
    }
    np.savez(path, n_groups=2, **arrays)
    rows = group_details(project, path, [(0, 3), (0, 4), (5, 2), (5, 6), (1, 1), (0, 5), (9, 2)])
    found = [{images.index(image) for image in images if image.pk in row.get("members", [])} for row in rows]
    assert found == [{2, 4}, {1, 2, 4}, {3}, {3}, set(), {1, 2, 4}, set()]
    assert [row.get("alike") for row in rows] == [3, 4, 2, 2, None, 4, None]
    assert [row["group"] for row in rows] == [3, 4, 2, 6, 1, 5, 2]
    assert "groups" not in rows[4] and rows[0]["groups"] == 2
    np.savez(path, n_groups=6, **arrays)  # 1 each
    assert [row["alike"] for row in group_details(project, path, [(0, 3), (1, 4), (5, 6)])] == [3, 4, 2]
    (tmp_path / "no.npz").write_bytes(b"no graph")
    assert group_details(project, tmp_path / "no.npz", [(0, 3)]) == [{"group": 3}]


def test_of_several_groups_that_are_asked_about_as_one_each_is_known_by_itself(tmp_path) -> None:
    """An eight on a screen says nothing of the fives that hang together with it a little."""
    path = tmp_path / "graph.npz"
    leaf_N = np.repeat([0, 1, 2], 4)
    np.savez(path, n_groups=3, leaf_N=leaf_N, parent_V=np.array([3, 3, 4, 4, -1]), size_V=np.array([4, 4, 4, 8, 12]))
    asked = [(0, 8), (5, 4), (8, 4), (2, 1)]  # the first stands for two groups
    assert hold_any(path, asked, {7}) == [False, True, False, False]
    assert hold_any(path, asked, {3, 9}) == [True, False, True, False]
    assert hold_any(path, asked, set()) == [False] * 4
    assert hold_any(tmp_path / "none.npz", asked, {7}) == [False] * 4


def test_the_page_says_how_many_look_alike(grouped, annotator, client_of) -> None:
    page = client_of(annotator).get(reverse("label", args=["signs"])).content.decode()
    assert f"<span data-alike>{WORDS}</span>" in page
    assert "<span data-groups>about 3 groups in all</span>" in page
    with override("de"):
        said = item(queue(grouped)[0])
        assert said["alike"] == "Typisch für 20 Bilder, die einander ähneln"
        assert said["groups"] == "etwa 3 Gruppen insgesamt"


def test_nothing_is_said_of_what_looks_like_no_other_or_was_not_asked_for_that(grouped) -> None:
    place = queue(grouped)[0]
    place.details = {"group": 1, "groups": 3}
    assert (item(place)["alike"], item(place)["groups"]) == ("", "")
    place.details = {"group": 60, "alike": 20, "groups": 3}  # a question about several groups at once
    assert (item(place)["alike"], item(place)["group"]) == (WORDS, 20)
    place.details = {"group": 20}  # made before this was kept
    assert (item(place)["alike"], item(place)["groups"]) == (WORDS, "")
    show(grouped)
    for reason in (Reason.GOLD, Reason.HOLDOUT, Reason.RELABEL, Reason.GRID_CHECK, Reason.RANDOM, Reason.PICKED):
        place.reason, place.details = reason, {"group": 20, "groups": 3, "members": [place.image_id]}
        assert (item(place)["alike"], item(place)["groups"], item(place)["members"]) == ("", "", [])


def test_members_are_shown_only_where_the_project_allows_it(grouped, annotator, client_of) -> None:
    place, client = queue(grouped)[0], client_of(annotator)
    page, following = reverse("label", args=["signs"]), reverse("label-next", args=["signs"])
    token = make_token(user=annotator, name="t", scopes=[Scope.READ, Scope.ANNOTATE], days=None).token

    def sent() -> tuple[str, list[dict], list[dict]]:
        items = client.post(following, json.dumps({"want": 2}), content_type="application/json").json()["items"]
        asked = client.post(
            "/api/v1/projects/signs/queue/next", json.dumps({"want": 2}), content_type="application/json",
            headers={"Authorization": f"Bearer {token}"},
        )  # fmt: skip
        return client.get(page).content.decode(), items, asked.json()["items"]

    html, items, asked = sent()
    assert "data-members" not in html and [each["members"] for each in (*items, *asked)] == [[]] * 4
    assert asked[0]["alike"] == WORDS
    show(grouped)
    html, items, asked = sent()
    first = [reverse("media", args=["signs", pk]) for pk in place.details["members"]]
    assert len(first) == SHOWN and items[0]["members"] == first
    assert all(f'<img src="{address}" alt=""' in html for address in first)
    assert asked[0]["members"] == [f"/api/v1/projects/signs/images/{pk}/picture" for pk in place.details["members"]]


def test_showing_them_costs_no_statement(grouped, annotator, client_of) -> None:
    client, address = client_of(annotator), reverse("label-next", args=["signs"])

    def statements() -> int:
        with CaptureQueriesContext(
            connection,
        ) as caught:
            assert client.post(address, json.dumps({"want": 3}), content_type="application/json").status_code == 200
        return len(caught)

    statements()
    before = statements()
    show(grouped)
    assert statements() == before


def test_a_queue_is_made_where_the_graph_is_damaged_in_what_this_reads(grouped) -> None:
    graph = current_graph(grouped)
    with storage.local_path(graph.file) as path:
        arrays = dict(np.load(path, allow_pickle=False))
    del arrays["leaf_N"]
    graph.file = storage.new_name(grouped, "graphs", "npz")
    graph.save()
    storage.write_once(graph.file, lambda file: np.savez(file, allow_pickle=False, **arrays))
    assert first_questions(graph)
    start_cold_round(project=grouped)
    assert queue(grouped)[0].details == {"group": 20}
    assert not Candidate.objects.filter(round=grouped.queue_round, reason=Reason.COLD_START).exists()
