"""Imports and exports in German: no English is left on what they go through, what they refuse and what they record."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse

from labeler import clock
from labeler.models import (
    ExportJob,
    ImportedPerson,
    ImportFile,
    ImportJob,
    JobState,
    OfferedAnswer,
    OfferedLabel,
    Project,
    User,
    Worker,
)
from labeler.told import keep, told
from tests.labeler.german import english_left, in_both, kept_in_words

pytestmark = pytest.mark.words


LOOKED_AT = {
    "entries": 30_000, "is_cut": True, "looked_at": 20_000, "read": 100, "new": 90, "known": 7, "refused": 3,
    "labels": [[f"owl {number}", 1200] for number in range(40)], "label_count": 1200,
    "people": [f"dan{number}" for number in range(30)], "columns": ["camera"],
    "tables": [
        {"name": "a.csv", "kind": "CSV", "rows": 1, "place": "path", "label": "species"},
        {"name": "b.csv", "kind": "CSV", "rows": 1200, "place": "path", "label": ""},
        {"name": "c.json", "kind": "COCO", "rows": 1200},
    ],
    "refusals": [["x.txt", keep(told("It lies outside of the folder."))]],
    "notes": [["y.png", keep(told("Its category is not among the categories of the COCO file."))]],
}  # fmt: skip
DATA = {"owl", "dan", "camera", "CSV", "COCO", "path", "species", "a.csv", "b.csv", "c.json", "x.txt", "y.png", "zip"}


def test_no_english_is_left_on_what_an_import_goes_through(furnished) -> None:
    client = Client()
    client.force_login(User.objects.get(username="mia"))
    _offer(furnished)
    done = furnished.imports.filter(added__gt=0)[0]
    Worker.objects.all().delete()  # nobody does it
    Project.objects.filter(pk=furnished.pk).update(large_grey_images=1200, small_colour_images=1)
    given = {"project": furnished, "created_by": User.objects.get(username="mia"), "started_at": clock.now()}
    states = [
        {"state": JobState.UPLOADING},
        {"state": JobState.UPLOADING, "found": LOOKED_AT},
        {"state": JobState.QUEUED, "looks_first": True},
        {"state": JobState.RUNNING, "looks_first": True},
        {"state": JobState.RUNNING},
        {
            "state": JobState.RUNNING,
            "done": 1200,
            "total": 3000,
            "loading": 9,
            "is_cancel_requested": True,
            "ignored": 2,
        },
        {"state": JobState.FAILED, "error": told("The bucket answered %(status)s.", status="500"), "ignored": 1200},
        {"state": JobState.DONE, "error": told("No image was added: there is nothing in it.")},
    ]
    for number, state in enumerate(states):
        job = ImportJob.objects.create(**given, **state)
        for part in range(7):
            ImportFile.objects.create(job=job, name=f"{number} {part}.zip", staged=f"{number} {part}", size=9 * 2**30)
    pages = [reverse("import", args=[furnished.slug, job.pk]) for job in furnished.imports.all()]
    pages += [reverse("imports", args=[furnished.slug]), f"{pages[-1]}?kind=unlabelled"]
    for page in pages:
        left = english_left(*in_both(client, page), kept_in_words(furnished) | DATA)
        assert not left, (page, left)
    german = client.get(pages[-3], headers={"accept-language": "de"}).content.decode()
    assert reverse("import", args=[furnished.slug, done.pk]) in pages[-3:] and "Daraus 2 Klassen anlegen" in german
    for words in (
        " davon als Ihre Antworten übernehmen",
        "1 Antwort von 1 Person als deren eigene",
        "1 Bild ohne Farbe",
    ):
        assert words in german


def _offer(project: Project) -> None:
    """Labels that came with images, some of which are classes, and an answer that was given elsewhere."""
    images = list(project.images.order_by("position"))
    names = [*["seven"] * (len(images) - 2), "owl 1", "owl 2"]
    OfferedLabel.objects.bulk_create(
        OfferedLabel(image=image, class_name=name) for image, name in zip(images, names, strict=True)
    )
    person = ImportedPerson.objects.create(project=project, name="dan1")
    OfferedAnswer.objects.create(image=images[-3], person=person, class_name="seven")
    project.imports.filter(added__gt=0).update(has_offered_labels=True)


def test_what_is_exported_is_said_in_german(furnished) -> None:
    client = Client()
    client.force_login(User.objects.get(username="mia"))
    seven, ann = furnished.classes.get(name="seven"), User.objects.get(username="ann")
    given = {"project": furnished, "created_by": ann, "format": "everything"}
    every = {
        "images": "with_model", "model_above": 0.99, "label_class": seven.pk, "annotator": ann.pk, "with_images": True,
        "since": clock.now().isoformat(), "until": clock.now().isoformat(), "holdout": "only", "least_agreement": 0.5,
    }  # fmt: skip
    right = {"value": 0.981, "low": 0.97, "high": 0.99}
    ExportJob.objects.create(
        **given, state=JobState.DONE, filters=every, manifest={"model_labels": {"right": right}, "sha256": "a" * 64}
    )
    gone = {"images": "all", "label_class": 0, "annotator": 0, "holdout": "without"}
    ExportJob.objects.create(**given, state=JobState.RUNNING, filters=gone, done=1, total=1200)
    why = told("The file could not be written: %(why)s", why="28")
    ExportJob.objects.create(**given, state=JobState.FAILED, error=why)
    Worker.objects.all().delete()
    address = reverse("exports", args=[furnished.slug])
    known = kept_in_words(furnished)
    for query in ("", "?format=csv&holdout=only&label_class=0", "?format=csv&least_agreement=2&images=every"):
        left = english_left(*in_both(client, address + query), known)
        assert not left, (query, left)
    german = client.get(address, headers={"accept-language": "de"}).content.decode()
    assert "ab Wahrscheinlichkeit 0,99, Klasse seven, beantwortet von ann" in german
    assert ">Alles<" in german and "Everything" not in german
    assert re.search(r">0\.9\d+<", german)  # as the file has it


def test_what_is_refused_of_imports_is_refused_in_german(furnished, settings, tmp_path) -> None:
    client = Client(headers={"accept-language": "de"})
    client.force_login(User.objects.get(username="mia"))

    def said(name: str, sent: dict[str, object]) -> str:
        return unescape(client.post(reverse(name, args=[furnished.slug]), sent, follow=True).content.decode())

    assert "Wählen Sie mindestens eine Datei." in said("import-new", {})
    settings.IMPORT_ROOTS = [str(tmp_path)]
    assert "gibt es diesen Ordner nicht" in said("import-folder", {"path": "/etc"})
    both = Client()
    both.force_login(User.objects.get(username="mia"))
    folders = in_both(both, reverse("import-folder", args=[furnished.slug]))
    assert not english_left(*folders, {str(tmp_path), tmp_path.name, *kept_in_words(furnished)})
    bucket = {"endpoint": "http://127.0.0.1", "name": "owls"}
    assert "liegt in einem eigenen Netz des Servers" in said("import-bucket", bucket)
    assert "Das wird gebraucht." in said("import-bucket", {"region": "here"})
    Project.objects.filter(pk=furnished.pk).update(model_round=None)
    assert "Die Labels des Modells können nicht mitkommen" in said(
        "exports", {"format": "csv", "images": "with_model", "model_above": "0.99"}
    )
