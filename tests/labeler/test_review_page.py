"""The review queue: what comes first, one press each, undo, skip, and an end with words."""

from __future__ import annotations

import uuid

import pytest
from django.urls import reverse

from labeler.models import Annotation, GoldImage, Image, ImageState
from tests.labeler.contested import contested_images


@pytest.fixture
def address(project) -> str:
    return reverse("review", args=[project.slug])


@pytest.fixture
def client(client_of, manager):
    return client_of(manager)


@pytest.fixture
def images(project, make_images, annotator, make_user) -> list[Image]:
    return contested_images(project, make_images, annotator, make_user("bob"))


def shown(page: str) -> int:
    return int(page.split('data-image="')[1].split('"', maxsplit=1)[0] or 0)


def press(client, address: str, **body: object):
    """What the form of the shown page would send."""
    page = client.get(address).content.decode()
    values = {name: page.split(f'name="{name}" value="')[1].split('"')[0] for name in ("image", "seen", "key")}
    return client.post(address, values | body, follow=True).content.decode()


def test_first_where_people_disagree(client, address, images, project) -> None:
    page = client.get(address).content.decode()
    assert shown(page) == images[1].pk
    assert "2 to review" in page
    assert "<strong>cat</strong>" in page
    assert "<strong>dog</strong>" in page
    assert "cat: 0.90 ± 0.01" in page


def test_a_press_decides_and_the_next_one_is_there(client, address, images, project) -> None:
    dog = project.classes.get(name="dog")
    page = press(client, address, label_class=dog.pk)
    assert Image.objects.get(pk=images[1].pk).label == dog
    assert shown(page) == images[3].pk
    page = press(client, address, outcome="bad_image")
    assert Image.objects.get(pk=images[3].pk).state == ImageState.BAD
    assert "People disagree about no image" in page


def test_undo_shows_it_again(client, address, images, project) -> None:
    press(client, address, label_class=project.classes.get(name="dog").pk)
    page = client.post(reverse("review-undo", args=[project.slug]), {"kind": "disagree"}, follow=True).content.decode()
    assert shown(page) == images[1].pk
    assert Image.objects.get(pk=images[1].pk).state == ImageState.DISPUTED
    assert page.count("Undone.") == 1
    assert page.index('id="review"') < page.index("Undone.")  # it goes with the next decision, which replaces all of it


def test_undo_without_anything_to_undo(client, images, project) -> None:
    page = client.post(reverse("review-undo", args=[project.slug]), follow=True).content.decode()
    assert "nothing to undo" in page


def test_skip_and_begin_again(client, address, images) -> None:
    page = press(client, address, action="skip")
    assert shown(page) == images[3].pk
    assert "1 skipped" in page
    page = press(client, address, action="skip")
    assert "that you have not skipped" in page
    page = client.post(address, {"action": "again"}, follow=True).content.decode()
    assert shown(page) == images[1].pk


def test_doubts_the_surest_first(client, address, images, project) -> None:
    address += "?kind=doubt"
    page = client.get(address).content.decode()
    assert shown(page) == images[5].pk
    assert "2 to review" in page
    cat = project.classes.get(name="cat")
    page = press(client, address, label_class=cat.pk)  # people were right
    assert shown(page) == images[4].pk
    page = press(client, address, label_class=project.classes.get(name="dog").pk)
    assert "The model says the same as every label" in page


def test_what_is_gold_or_decided_is_no_doubt(client, address, images, project) -> None:
    GoldImage.objects.create(project=project, image=images[5], label_class=project.classes.get(name="cat"))
    assert shown(client.get(address + "?kind=doubt").content.decode()) == images[4].pk


def test_without_a_model_it_says_so(client, address, project) -> None:
    assert "No model has learned from the answers yet" in client.get(address + "?kind=doubt").content.decode()
    assert "One person answers each image" in client.get(address).content.decode()


def test_gold_by_the_way(client, address, images, project) -> None:
    page = press(client, address, label_class=project.classes.get(name="dog").pk, gold="yes")
    assert GoldImage.objects.get().label_class.name == "dog"
    assert "gold from now on: dog" in page


def test_a_second_send_decides_once(client, address, images, project) -> None:
    page = client.get(address).content.decode()
    values = {name: page.split(f'name="{name}" value="')[1].split('"')[0] for name in ("image", "seen", "key")}
    body = values | {"label_class": project.classes.get(name="dog").pk}
    for _ in range(2):
        client.post(address, body)
    assert Annotation.objects.filter(is_decision=True).count() == 1
    client.post(reverse("review-undo", args=[project.slug]))
    assert not Annotation.objects.filter(is_decision=True, retracted_at__isnull=True).exists()


def test_another_manager_was_faster(client, client_of, address, images, project, make_user) -> None:
    from labeler.models import Membership, Role

    other = make_user("olga")
    Membership.objects.create(project=project, user=other, role=Role.MANAGER)
    page = client.get(address).content.decode()
    values = {name: page.split(f'name="{name}" value="')[1].split('"')[0] for name in ("image", "seen", "key")}
    press(client_of(other), address, label_class=project.classes.get(name="owl").pk)
    page = client.post(
        address, values | {"label_class": project.classes.get(name="dog").pk}, follow=True
    ).content.decode()
    assert "olga has decided meanwhile: owl" in page
    assert Image.objects.get(pk=images[1].pk).label.name == "owl"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"image": "x"},
        {"image": "1", "key": "no"},
        {"image": "1", "key": str(uuid.uuid4()), "label_class": "x"},
        {"image": "999999", "key": str(uuid.uuid4()), "outcome": "bad_image"},
    ],
)
def test_nonsense_decides_nothing(client, address, images, body) -> None:
    page = client.post(address, body, follow=True)
    assert page.status_code == 200
    assert "othing was" in page.content.decode()
    assert not Annotation.objects.filter(is_decision=True).exists()


def test_htmx_gets_the_part(client, address, images) -> None:
    part = client.get(address, headers={"HX-Request": "true"}).content.decode()
    assert part.lstrip().startswith('<div id="review"')
    assert "<html" not in part


def test_statements_do_not_grow_with_the_pool(
    client, address, images, project, make_images, django_assert_max_num_queries
) -> None:
    Image.objects.filter(project=project, position=0).update(is_contested=True)
    for query in ("", "?kind=doubt"):
        client.get(address + query)
        with django_assert_max_num_queries(19):
            client.get(address + query)


def test_many_classes_get_a_list(client, address, images, project) -> None:
    from labeler.services.classes import add_classes

    add_classes(project=project, names=[f"class {number}" for number in range(60)])
    page = client.get(address).content.decode()
    assert '<select class="input" id="other"' in page
    assert page.count('name="label_class"') < 12
