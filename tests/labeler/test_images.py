"""The image list, one image, and its bytes: members only, constant cost, allow-listed filters."""

from __future__ import annotations

import uuid

import pytest
from django.urls import reverse

from labeler.models import Annotation, ImageState, OfferedLabel
from labeler.selectors import images as selecting
from labeler.services.importing import import_local
from tests.labeler.imports import make_zip, png

pytestmark = pytest.mark.django_db


@pytest.fixture
def stored(project, manager, tmp_path):
    import_local(project=project, path=make_zip(tmp_path / "a.zip", {f"{n}.png": png(n) for n in range(3)}), by=manager)
    return list(project.images.all())


@pytest.mark.parametrize("name", ["images", "image", "media"])
def test_members_only(project, stored, manager, annotator, stranger, client, client_of, name):
    url = reverse(name, args=[project.slug] if name == "images" else [project.slug, stored[0].pk])
    assert client.get(url).status_code == 302
    assert client_of(stranger).get(url).status_code == 404
    assert client_of(annotator).get(url).status_code == 200
    assert client_of(manager).get(url).status_code == 200
    assert client_of(manager).post(url).status_code == 405


def test_an_image_of_another_project_is_not_found(project, stored, manager, make_images, client_of):
    from labeler.models import Membership, Project

    other = Project.objects.create(name="Other", slug="other")
    Membership.objects.create(project=other, user=manager, role="manager")
    for name in ("image", "media"):
        assert client_of(manager).get(reverse(name, args=["other", stored[0].pk])).status_code == 404


def test_bytes_are_served_as_an_image_and_nothing_else(project, stored, annotator, client_of):
    client = client_of(annotator)
    url = reverse("media", args=[project.slug, stored[1].pk])
    answer = client.get(url)
    assert answer.content.startswith(b"\x89PNG")
    assert len(answer.content) == stored[1].length
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "private, max-age=14400"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'"
    again = client.get(url, headers={"if-none-match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    project.images.update(media_type="text/html")
    assert client.get(url).status_code == 404


def test_bytes_cost_one_query_beside_the_session(project, stored, annotator, client_of, django_assert_num_queries):
    client = client_of(annotator)
    with django_assert_num_queries(3):  # session, person, membership with image
        client.get(reverse("media", args=[project.slug, stored[0].pk]))


def test_a_missing_file_is_not_found(project, make_images, annotator, client_of):
    image = make_images(project, 1)[0]
    assert client_of(annotator).get(reverse("media", args=[project.slug, image.pk])).status_code == 404


def test_a_site_admin_sees_every_image(project, stored, make_user, client_of):
    admin = make_user("root", is_superuser=True)
    assert client_of(admin).get(reverse("media", args=[project.slug, stored[0].pk])).status_code == 200


def test_the_list_pages_forth_and_back(project, make_images, annotator, client_of, django_assert_num_queries):
    make_images(project, 150)
    client = client_of(annotator)
    url = reverse("images", args=[project.slug])
    with django_assert_num_queries(7):  # session, person, membership, images, gold, classes, count
        first = client.get(url)
    assert [image.position for image in first.context["page"].images] == list(range(60))
    assert first.context["page"].before is None
    second = client.get(url, {"start": first.context["page"].start})
    third = client.get(url, {"start": second.context["page"].start})
    assert [image.position for image in third.context["page"].images] == list(range(120, 150))
    assert third.context["page"].start is None
    back = client.get(url, {"before": third.context["page"].before})
    assert [image.position for image in back.context["page"].images] == list(range(60, 120))
    start = client.get(url, {"before": back.context["page"].before})
    assert [image.position for image in start.context["page"].images] == list(range(60))
    assert start.context["page"].before is None


def test_the_list_is_filtered_by_allowed_keys_only(project, make_images, manager, client_of):
    images = make_images(project, 10)
    cat = project.classes.get(name="cat")
    project.images.filter(pk=images[3].pk).update(state=ImageState.LABELLED, label=cat)
    project.images.filter(pk=images[4].pk).update(is_holdout=True, name="50% off_.png")
    client = client_of(manager)

    def found(**query):
        page = client.get(reverse("images", args=[project.slug]), query).context["page"]
        return [image.position for image in page.images]

    assert found(state="labelled") == [3]
    assert found(**{"class": cat.pk}) == [3]
    assert found(holdout="yes") == [4]
    assert len(found(holdout="no")) == 9
    assert found(name="50% off_") == [4]
    assert found(name="%") == [4]  # no wildcard
    assert len(found(state="x' OR 1=1", label__project__created_by__password="a", holdout="maybe")) == 10
    assert found(state="pool", name="nothing") == []
    for hostile in ({"start": "-1"}, {"start": "9" * 30}, {"before": "x"}, {"class": "1 OR 1"}, {"name": "\x00"}):
        assert client.get(reverse("images", args=[project.slug]), hostile).status_code == 200


def test_a_filtered_page_looks_at_a_window_and_says_so(project, make_images, annotator, client_of, monkeypatch):
    monkeypatch.setattr(selecting, "WINDOW", 100)
    images = make_images(project, 250)
    project.images.filter(pk=images[240].pk).update(name="needle.png")
    client = client_of(annotator)
    url = reverse("images", args=[project.slug])
    answer = client.get(url, {"name": "needle"})
    assert "None among the first 100" in answer.content.decode()
    start = answer.context["page"].start
    start = client.get(url, {"name": "needle", "start": start}).context["page"].start
    page = client.get(url, {"name": "needle", "start": start}).context["page"]
    assert [image.position for image in page.images] == [240]


def test_what_needs_a_manager_is_found_at_once(project, make_images, manager, client_of, monkeypatch):
    monkeypatch.setattr(selecting, "WINDOW", 100)
    monkeypatch.setattr(selecting, "PAGE", 3)
    images = make_images(project, 250)
    rare = [images[at].pk for at in (5, 99, 150, 200, 249)]
    project.images.filter(pk__in=rare).update(state=ImageState.SET_ASIDE)
    client = client_of(manager)
    url = reverse("images", args=[project.slug])
    first = client.get(url, {"state": "set_aside"}).context["page"]
    assert [image.position for image in first.images] == [5, 99, 150]
    second = client.get(url, {"state": "set_aside", "start": first.start}).context["page"]
    assert [image.position for image in second.images] == [200, 249]
    back = client.get(url, {"state": "set_aside", "before": second.before}).context["page"]
    assert [image.position for image in back.images] == [5, 99, 150]
    assert (first.before, second.start, back.before) == (None, None, None)


def test_one_image_shows_its_answers_with_those_taken_back(
    project, manager, annotator, make_images, client_of, django_assert_max_num_queries
):
    image = make_images(project, 3)[1]
    OfferedLabel.objects.create(image=image, class_name="secret owl")
    cat = project.classes.get(name="cat")
    for _ in range(3):
        old = Annotation.objects.create(
            project=project, image=image, annotator=annotator, outcome="label", label_class=cat, key=uuid.uuid4()
        )
        Annotation.objects.filter(pk=old.pk).update(retracted_at=old.created_at)
    url = reverse("image", args=[project.slug, image.pk])
    client = client_of(manager)
    with django_assert_max_num_queries(13):
        page = client.get(url).content.decode()
    assert page.count("taken back") == 3
    assert "secret owl" in page
    assert "secret owl" not in client_of(annotator).get(url).content.decode()


def test_an_annotator_does_not_see_what_would_give_the_answer_away(project, manager, annotator, make_images, client_of):
    """Folders are named after classes, and what a colleague answered would sway the next one."""
    image, other = make_images(project, 2)
    project.images.filter(pk=image.pk).update(name="secret-owl/tree_1.png")
    project.images.filter(pk=other.pk).update(name="tree/other.png")
    answers = {manager: "cat", annotator: "dog"}
    for person, name in answers.items():
        Annotation.objects.create(
            project=project, image=image, annotator=person, outcome="label", key=uuid.uuid4(),
            label_class=project.classes.get(name=name),
        )  # fmt: skip
    list_url, url = reverse("images", args=[project.slug]), reverse("image", args=[project.slug, image.pk])
    mine, all_ = client_of(annotator), client_of(manager)
    assert "secret-owl" in all_.get(list_url).content.decode()
    assert "secret-owl" in all_.get(url).content.decode()
    assert all_.get(url).content.decode().count("<td>cat</td>") == 1
    for page in (mine.get(list_url), mine.get(url)):
        assert "secret-owl" not in page.content.decode()
        assert "tree_1.png" in page.content.decode()
    assert "<td>dog</td>" in mine.get(url).content.decode()
    assert "<td>cat</td>" not in mine.get(url).content.decode()

    def found(client, name):
        return [each.pk for each in client.get(list_url, {"name": name}).context["page"].images]

    assert found(all_, "secret-owl") == [image.pk]
    assert found(mine, "secret-owl") == []
    assert found(mine, "TREE_1") == found(mine, "ee_1.p") == [image.pk]
    assert found(all_, "tree") == [image.pk, other.pk]
    assert found(mine, "t.e") == []  # no pattern


def test_a_manager_puts_an_image_back(project, manager, annotator, stranger, make_images, client_of):
    image = make_images(project, 1, state=ImageState.SET_ASIDE)[0]
    url = reverse("image-return", args=[project.slug, image.pk])
    assert client_of(stranger).post(url).status_code == 404
    assert client_of(annotator).post(url).status_code == 403
    assert client_of(manager).get(url).status_code == 405
    for _ in range(2):
        assert client_of(manager).post(url).status_code == 302
    image.refresh_from_db()
    assert image.state == ImageState.POOL


def test_names_are_escaped(project, make_images, annotator, client_of):
    image = make_images(project, 1)[0]
    project.images.update(name='"><script>alert(1)</script>')
    for name, args in (("images", []), ("image", [image.pk])):
        assert (
            "<script>alert" not in client_of(annotator).get(reverse(name, args=[project.slug, *args])).content.decode()
        )


@pytest.mark.parametrize("name", ["images", "imports", "import-new", "exports"])
def test_the_tab_of_the_page_is_marked(project, manager, client_of, name):
    text = client_of(manager).get(reverse(name, args=[project.slug])).content.decode()
    tab = {"import-new": "imports"}.get(name, name)
    assert f'<a href="{reverse(tab, args=[project.slug])}" aria-current="page">' in text


def test_which_images_measure_the_accuracy_is_for_managers(project, manager, annotator, make_images, client_of):
    """People would take extra care of exactly those, and the accuracy would be of nothing else."""
    make_images(project, 2)
    holdout = make_images(project, 1, is_holdout=True)[0]
    pages = [reverse("images", args=[project.slug]), reverse("image", args=[project.slug, holdout.pk])]
    for url in pages:
        assert "oldout" in client_of(manager).get(url).content.decode()
        assert "oldout" not in client_of(annotator).get(url).content.decode()
    found = client_of(annotator).get(pages[0], {"holdout": "yes"}).context["page"].images
    assert len(found) == 3


def test_a_filter_says_how_many_images_fit(project, make_images, manager, client_of, monkeypatch):
    make_images(project, 7)
    client = client_of(manager)
    assert "7 in all" in client.get("/p/signs/images/").content.decode()
    name = project.images.first().name
    assert "1 of 7" in " ".join(client.get("/p/signs/images/", {"name": name}).content.decode().split())
    monkeypatch.setattr("labeler.selectors.images.WINDOW", 3)
    assert "some of 7" in client.get("/p/signs/images/", {"name": name}).content.decode()
