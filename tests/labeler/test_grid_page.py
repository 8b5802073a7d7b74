"""The page of the grid: who may use it, what it shows and what it does with what comes in."""

from __future__ import annotations

import re
import uuid

import pytest
from django.urls import reverse

from labeler.models import Annotation, GridPage, Image, LearningConfig, Project
from tests.labeler.queues import fill_queue
from tests.labeler.scored import scored_round

URL = "/p/signs/grid/"


@pytest.fixture
def pool(project, make_images) -> list[Image]:
    images = make_images(project, 30)
    fill_queue(project, images)
    round_ = scored_round(project, [[0.9, 0.05, 0.05]] * 28 + [[0.1, 0.8, 0.1]] * 2, [[0.02] * 3] * 30)
    Project.objects.filter(pk=project.pk).update(model_round=round_)
    LearningConfig.objects.filter(project=project).update(grid="everybody")
    return images


def form(project, images, **fields) -> dict[str, object]:
    cat = project.classes.get(name="cat")
    sees = project.rounds.last().pk
    return {"key": str(uuid.uuid4()), "class": cat.pk, "round": sees, "tile": [image.pk for image in images], **fields}


def test_tiles_are_shown_with_the_error_and_the_rule(project, pool, annotator, client_of) -> None:
    page = client_of(annotator).get(URL).content.decode()
    assert len(re.findall('name="tile"', page)) == 24
    assert "Grid: cat" in page
    assert "not measured yet: 10 more checks" in page
    assert "it takes 189 more checks, if all are right" in page
    assert "0.90 ± 0.02" in page


def test_a_form_accepts_corrects_and_takes_out(project, pool, annotator, client_of) -> None:
    dog = project.classes.get(name="dog")
    sent = form(project, pool[:6], out=[pool[1].pk, pool[2].pk], **{f"is-{pool[2].pk}": dog.pk})
    client = client_of(annotator)
    reply = client.post(URL, sent, follow=True)
    words = reply.content.decode()
    assert "4 tiles accepted as “cat”. 1 tile given another class. 1 tile taken out" in words
    assert client.post(URL, sent).status_code == 302  # pressed twice
    assert GridPage.objects.get().round == project.rounds.last()  # by which the tiles were sorted
    assert dict(Annotation.objects.values_list("image", "label_class__name")) == {
        pool[0].pk: "cat", pool[2].pk: "dog", pool[3].pk: "cat", pool[4].pk: "cat", pool[5].pk: "cat",
    }  # fmt: skip
    reply = client.post(reverse("grid-undo", args=["signs"]), {"page": GridPage.objects.get().pk}, follow=True)
    assert "Undone: 5 answers taken back." in reply.content.decode()
    assert not Annotation.objects.filter(retracted_at=None).exclude(outcome="undo").exists()


@pytest.mark.parametrize(
    "broken",
    [{"key": "x"}, {"class": ""}, {"class": "99999999"}, {"tile": ["x"]}, {"tile": []}, {"out": ["²"]}, {"round": ""}],
)
def test_nonsense_is_refused_in_words(project, pool, annotator, client_of, broken) -> None:
    reply = client_of(annotator).post(URL, form(project, pool[:3]) | broken, follow=True)
    assert reply.status_code == 200
    assert 'class="message' in reply.content.decode() or "messages" in reply.content.decode()
    assert not Annotation.objects.exists()


def test_who_may_use_it_is_a_setting(project, pool, annotator, manager, client_of) -> None:
    LearningConfig.objects.update(grid="managers")
    assert client_of(annotator).get(URL).status_code == 403
    assert client_of(annotator).post(URL, form(project, pool[:3])).status_code == 403
    assert 'name="tile"' in client_of(manager).get(URL).content.decode()
    LearningConfig.objects.update(grid="off")
    assert client_of(annotator).get(URL).status_code == 403
    page = client_of(manager).get(URL).content.decode()
    assert "The grid is off." in page
    assert 'name="tile"' not in page
    client_of(manager).post(URL, form(project, pool[:3]))
    assert not Annotation.objects.exists()
    assert ">Grid</a>" not in client_of(manager).get("/p/signs/label/").content.decode()


def test_strangers_and_other_methods_are_turned_away(project, pool, annotator, stranger, client_of) -> None:
    assert client_of(stranger).get(URL).status_code == 404
    assert client_of(annotator).put(URL).status_code == 405
    assert client_of(annotator).get(reverse("grid-undo", args=["signs"])).status_code == 405


def test_what_is_missing_is_said(project, make_images, annotator, client_of) -> None:
    make_images(project, 3)
    LearningConfig.objects.update(grid="everybody")
    assert "No model has learned from the answers yet." in client_of(annotator).get(URL).content.decode()
    LearningConfig.objects.update(overlap=2)
    assert "2 people answer each image here." in client_of(annotator).get(URL).content.decode()


def test_its_statements_do_not_grow_with_what_was_accepted(
    project, pool, annotator, client_of, django_assert_max_num_queries
) -> None:
    client = client_of(annotator)
    client.post(URL, form(project, pool[:8]))
    with django_assert_max_num_queries(24):
        client.get(URL)


# --- More classes than have a place in a list -------------------------------------------------------------------------


@pytest.fixture
def many(project, pool) -> list[Image]:
    from labeler.services.classes import add_classes

    add_classes(project=project, names=["Ringed seal", *(f"bird {number}" for number in range(40))])
    return pool


def test_with_many_classes_the_class_of_a_tile_is_typed(project, many, annotator, client_of) -> None:
    client = client_of(annotator)
    page = client.get(URL).content.decode()
    assert page.count('list="grid-names"') == 24
    assert page.count('<datalist id="grid-names">') == 1
    assert page.count('<option value="bird 7"></option>') == 1
    assert "<select" not in page
    typed = {f"named-{many[1].pk}": " ringed   SEAL ", f"named-{many[2].pk}": "bird 7", f"named-{many[3].pk}": "cat"}
    reply = client.post(URL, form(project, many[:5], **typed), follow=True)
    assert "3 tiles accepted as “cat”. 2 tiles given another class." in reply.content.decode()
    assert dict(Annotation.objects.values_list("image", "label_class__name")) == {
        many[0].pk: "cat", many[1].pk: "Ringed seal", many[2].pk: "bird 7", many[3].pk: "cat", many[4].pk: "cat",
    }  # fmt: skip
    assert list(Annotation.objects.filter(is_grid=False).values_list("image", flat=True)) == [many[1].pk, many[2].pk]


def test_a_name_that_is_no_class_takes_its_tile_out_and_is_said(project, many, annotator, client_of) -> None:
    typed = {f"named-{many[1].pk}": "lnyx <b>", f"named-{many[2].pk}": "lnyx <b>", f"named-{many[9].pk}": "bird 7"}
    reply = client_of(annotator).post(URL, form(project, many[:4], **typed), follow=True)
    words = reply.content.decode()
    assert "2 tiles accepted as “cat”. 2 tiles taken out" in words
    assert words.count("No class is called “lnyx &lt;b&gt;”. Those tiles were taken out") == 1
    assert set(Annotation.objects.values_list("image", flat=True)) == {many[0].pk, many[3].pk}


def test_an_archived_class_cannot_be_typed(project, many, annotator, client_of) -> None:
    from labeler.services.class_changes import archive_class

    archive_class(label_class=project.classes.get(name="bird 7"))
    typed = {f"named-{many[1].pk}": "bird 7"}
    reply = client_of(annotator).post(URL, form(project, many[:3], **typed), follow=True)
    assert "No class is called “bird 7”" in reply.content.decode()


# --- Two people at once -----------------------------------------------------------------------------------------------


def tiles_of(client, url=URL) -> list[int]:
    return [int(pk) for pk in re.findall('name="tile" value="([0-9]+)"', client.get(url).content.decode())]


@pytest.fixture
def wide(project, make_images) -> list[Image]:
    """Sixty images that the model takes for cats, less and less surely."""
    images = make_images(project, 60)
    fill_queue(project, images)
    sure = [[0.99 - 0.005 * n, 0.005, 0.005 + 0.005 * n] for n in range(60)]
    round_ = scored_round(project, sure, [[0.02] * 3] * 60)
    Project.objects.filter(pk=project.pk).update(model_round=round_)
    LearningConfig.objects.filter(project=project).update(grid="everybody")
    return images


def test_two_people_who_open_a_class_at_once_look_at_different_tiles(
    project, wide, annotator, manager, client_of
) -> None:
    mine, other, pks = client_of(annotator), client_of(manager), [image.pk for image in wide]
    assert "What others look at here at this moment comes last." not in mine.get(URL).content.decode()
    assert tiles_of(other) == pks[24:48]
    assert tiles_of(mine) == pks[:24], "what somebody has open stays theirs"
    mine.post(URL, form(project, wide[:24]))
    done = other.post(URL, form(project, wide[24:48]), follow=True).content.decode()
    assert "24 tiles accepted as “cat”." in done
    assert "somebody else has or had" not in done


def test_what_others_look_at_is_shown_last_and_only_where_no_other_is_left(
    project, pool, annotator, manager, client_of
) -> None:
    mine, other, pks = client_of(annotator), client_of(manager), [image.pk for image in pool]
    assert tiles_of(mine) == pks[:24]
    assert tiles_of(other) == [*pks[24:28], *pks[:20]]
    assert "What others look at here at this moment comes last." in other.get(URL).content.decode()


def test_who_looks_at_another_class_sets_the_tiles_free(project, wide, annotator, manager, client_of) -> None:
    mine, pks = client_of(annotator), [image.pk for image in wide]
    tiles_of(mine)
    assert not tiles_of(mine, f"{URL}?class={project.classes.get(name='dog').pk}")
    assert tiles_of(client_of(manager)) == pks[:24]


def test_without_its_cache_the_page_is_as_it_was(project, wide, annotator, manager, client_of, monkeypatch) -> None:
    from redis.exceptions import ConnectionError as NoRedis

    class Gone:
        def get_many(self, *_args):
            raise NoRedis("gone")

        def set(self, *_args, **_kwargs):
            raise NoRedis("gone")

    monkeypatch.setattr("labeler.selectors.grid.cache", Gone())
    monkeypatch.setattr("labeler.services.grid.cache", Gone())
    pks = [image.pk for image in wide]
    assert tiles_of(client_of(annotator)) == tiles_of(client_of(manager)) == pks[:24]
