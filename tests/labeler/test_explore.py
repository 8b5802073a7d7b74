"""The Explore pages: regions, columns, galleries, thumbnails; people's labels only; words where there is nothing."""

from __future__ import annotations

import gzip
import shutil

import numpy as np
import pytest
from django.urls import reverse

from labeler.models import Image, ImageState, OfferedLabel, Round, RoundState, Trigger
from labeler.selectors import columns
from labeler.storage import round_folder
from tests.labeler.scored import five, scored_round

pytestmark = pytest.mark.django_db


@pytest.fixture
def pool(project, make_images):
    make_images(project, 5)
    return project


@pytest.fixture
def scored(pool) -> Round:
    return five(pool)


def label(project, position: int, name: str) -> None:
    project.images.filter(position=position).update(state=ImageState.LABELLED, label=project.classes.get(name=name))


def counts(page) -> dict[str, tuple[int, int]]:
    return {row.region.key: (row.count, row.waiting) for row in page.context["regions"]}


def test_regions_count_images_and_how_many_of_them_wait(scored, pool, manager, client_of) -> None:
    pool.images.filter(position=0).update(is_holdout=True)
    label(pool, 1, "owl")
    page = client_of(manager).get(reverse("explore", args=["signs"]))
    assert counts(page) == {"sure": (2, 0), "torn": (1, 1), "lost": (1, 1), "wrong": (1, 0)}
    assert "no label will change it" not in page.content.decode()  # a model that has learned little is torn everywhere


def test_wrong_is_told_from_peoples_labels_and_never_from_those_that_came_with_the_images(
    scored, pool, manager, client_of
) -> None:
    for image in pool.images.all():
        OfferedLabel.objects.create(image=image, class_name="owl")
    client = client_of(manager)
    assert counts(client.get(reverse("explore", args=["signs"])))["wrong"] == (0, 0)
    assert gallery(client, "wrong") == gallery(client, "disagreement") == []
    label(pool, 0, "dog")
    assert counts(client.get(reverse("explore", args=["signs"])))["wrong"] == (1, 0)
    assert gallery(client, "wrong") == [0]


def unpack(response) -> bytes:
    assert response.headers["Content-Encoding"] == "gzip"
    return gzip.decompress(response.content)


def test_columns_hold_probability_spread_and_class_of_each_image(scored, manager, client_of) -> None:
    client, url = client_of(manager), reverse("explore-points", args=["signs", scored.number])
    response = client.get(url)
    body = unpack(response)
    assert np.frombuffer(body[:16], "<u4").tolist() == [5, 5, 1, 0]
    x, y = (np.frombuffer(body[at : at + 10], "<u2") / 65535 for at in (16, 26))
    assert np.allclose(x, [0.97, 0.98, 0.52, 0.5, 0.75], atol=1e-3)
    assert np.allclose(y / 2, [0.02, 0.01, 0.03, 0.45, 0.15], atol=1e-3)
    assert list(body[36:]) == [0, 1, 0, 1, 0]
    again = client.get(url, headers={"if-none-match": response.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_of_a_large_pool_a_sample_is_drawn_that_is_always_the_same(scored, manager, client_of, monkeypatch) -> None:
    monkeypatch.setattr(columns, "MOST_DOTS", 3)
    columns.round_points.cache_clear()
    client = client_of(manager)
    body = unpack(client.get(reverse("explore-points", args=["signs", scored.number])))
    assert np.frombuffer(body[:16], "<u4").tolist() == [3, 5, 1, 1]
    positions = np.frombuffer(body[16:28], "<u4").tolist()
    assert positions == columns.dots(5).tolist() == sorted(positions)
    assert len(unpack(client.get(reverse("explore-states", args=["signs", scored.number])))) == 3
    assert "random sample of 3" in client.get(reverse("explore", args=["signs"])).content.decode()
    columns.round_points.cache_clear()


def test_states_are_a_byte_an_image(scored, pool, manager, client_of) -> None:
    label(pool, 0, "cat")
    label(pool, 1, "cat")
    pool.images.filter(position=2).update(state=ImageState.BAD)
    pool.images.filter(position=3).update(is_holdout=True)
    label(pool, 4, "cat")
    pool.images.filter(position=4).update(is_holdout=True)
    states = unpack(client_of(manager).get(reverse("explore-states", args=["signs", scored.number])))
    assert list(states) == [1, 2, 3, 8, 9]


def gallery(client, name: str, **query: str) -> list[int]:
    page = client.get(reverse("gallery", args=["signs", name]), query)
    return [tile.image.position for tile in page.context["tiles"]]


def test_galleries_have_their_order(scored, pool, manager, client_of) -> None:
    client = client_of(manager)
    assert gallery(client, "sure") == [1, 0]
    assert gallery(client, "unsure") == [3, 2, 4, 0, 1]
    assert gallery(client, "torn") == [2]
    assert gallery(client, "lost") == [3]
    label(pool, 3, "cat")
    label(pool, 2, "owl")
    Image.objects.filter(position=3).update(labelled_at="2026-01-01T00:00Z")
    Image.objects.filter(position=2).update(labelled_at="2026-01-02T00:00Z")
    Image.objects.filter(position=1).update(state=ImageState.DISPUTED)
    assert gallery(client, "disagreement") == [1, 2, 3]
    assert gallery(client, "unsure", waiting="yes") == [4, 0]
    assert gallery(client, "disagreement", waiting="yes") == []


def test_an_empty_gallery_says_only_what_is_true(scored, pool, manager, client_of) -> None:
    client = client_of(manager)

    def words(name: str, **query: str) -> str:
        return client.get(reverse("gallery", args=["signs", name]), query).content.decode()

    assert "None: where people have answered, the model says the same." in words("disagreement")
    label(pool, 2, "owl")  # the model says cat, and is not sure
    assert "None: nowhere is the model sure of a class and people say another." in words("wrong")
    label(pool, 0, "owl")
    assert "None that waits for an answer." in words("wrong", waiting="yes")


def test_where_nothing_is_torn_the_pages_say_by_which_thresholds(pool, manager, client_of) -> None:
    client, said = client_of(manager), "a probability below 0.60 and a standard deviation of at most 0.10"
    addresses = [reverse("explore", args=["signs"]), reverse("gallery", args=["signs", "torn"])]
    five(pool)
    assert not any(said in client.get(address).content.decode() for address in addresses)
    wide = [0.3, 0.3, 0.0]  # as dropout has it: between classes, and far from sure of that
    scored_round(pool, [[0.5, 0.5, 0.0]] * 5, [wide] * 5)
    for address in addresses:
        page = client.get(address).content.decode()
        assert said in page and "look under Lost" in page


def test_a_tile_says_class_mean_and_deviation_and_what_people_said(scored, pool, manager, client_of) -> None:
    label(pool, 0, "owl")
    page = client_of(manager).get(reverse("gallery", args=["signs", "wrong"])).content.decode()
    assert "cat: 0.97 ± 0.02" in page
    assert "people: owl" in page
    assert "Send what is ticked" not in page  # it has its answer


def test_thumbnails_come_in_the_order_asked_for(scored, manager, client_of) -> None:
    url = reverse("explore-tiles", args=["signs"])
    page = client_of(manager).get(url, {"at": "3,0,99,x,-1,1"})
    assert [tile.image.position for tile in page.context["tiles"]] == [3, 0, 1]


def test_from_a_dot_to_its_picture_and_page(scored, pool, manager, client_of) -> None:
    pk = pool.images.get(position=2).pk
    client = client_of(manager)
    assert client.get(reverse("explore-at", args=["signs", 2])).url == reverse("image", args=["signs", pk])
    assert client.get(reverse("explore-thumb", args=["signs", 2])).url == reverse("media", args=["signs", pk])
    assert client.get(reverse("explore-at", args=["signs", 7])).status_code == 404


def test_an_empty_project_and_one_without_a_model_say_what_to_do(project, make_images, manager, client_of) -> None:
    client, url = client_of(manager), reverse("explore", args=["signs"])
    assert "Import the first ones" in client.get(url).content.decode()
    make_images(project, 3)
    for address in (url, reverse("gallery", args=["signs", "sure"])):
        assert "No model has scored the pool yet" in client.get(address).content.decode()
    assert client.get(url, {"round": "1"}).status_code == 404


def test_score_files_that_are_gone_are_told_in_words(scored, manager, client_of) -> None:
    shutil.rmtree(round_folder(scored))
    client = client_of(manager)
    for name in ("explore", "compare"):
        assert client.get(reverse(name, args=["signs"])).status_code == 200
    for address in (reverse("explore", args=["signs"]), reverse("gallery", args=["signs", "sure"])):
        assert "score files of round 1 cannot be read" in client.get(address).content.decode()
    assert client.get(reverse("explore-points", args=["signs", 1])).status_code == 410
    assert client.get(reverse("explore-states", args=["signs", 1])).status_code == 410


def test_images_that_came_later_are_said_to_be_missing(scored, pool, make_images, manager, client_of) -> None:
    make_images(pool, 2)
    label(pool, 6, "cat")
    page = client_of(manager).get(reverse("explore", args=["signs"]))
    assert "2 came later" in page.content.decode()
    assert page.context["scored"] == 5


def test_the_newest_round_is_shown_unless_it_is_a_comparison(scored, pool, manager, client_of) -> None:
    five(pool, trigger=Trigger.COMPARISON)
    Round.objects.create(project=pool, number=3, trigger=Trigger.BUTTON, reason="", seed=0, state=RoundState.FAILED)
    client, url = client_of(manager), reverse("explore", args=["signs"])
    assert client.get(url).context["round"].number == 1
    assert client.get(url, {"round": "2"}).context["round"].number == 2
    assert client.get(url, {"round": "3"}).status_code == 404


def test_the_page_costs_a_fixed_number_of_statements(scored, manager, client_of, django_assert_max_num_queries) -> None:
    client = client_of(manager)
    for address in (reverse("explore", args=["signs"]), reverse("gallery", args=["signs", "unsure"])):
        with django_assert_max_num_queries(12):
            client.get(address)


def test_hostile_words_in_addresses_do_no_harm(scored, manager, client_of) -> None:
    client = client_of(manager)
    url = reverse("gallery", args=["signs", "sure"])
    for page in ("0", "-1", "x", "9" * 30, "²"):
        assert client.get(url, {"page": page}).status_code == 200
    assert client.get(reverse("gallery", args=["signs", "nonsense"])).status_code == 404
    assert client.get(reverse("explore", args=["signs"]), {"round": "²"}).status_code == 404
    for back in ("//evil.example/", "https://evil.example/", "/\\evil.example"):
        reply = client.post(reverse("explore-send", args=["signs"]), {"at": "2", "back": back})
        assert reply.url == reverse("explore", args=["signs"])
