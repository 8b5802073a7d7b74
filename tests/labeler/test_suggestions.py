"""What the model says: shown as the project wants it, never where it would spoil a measurement, kept with answers."""

from __future__ import annotations

import json
import uuid

import pytest

from labeler.models import Annotation, Candidate, LearningConfig, Reason
from labeler.selectors.labelling import item_of
from labeler.services.lease import lease_next
from tests.labeler.queues import fresh

LABEL = "/p/signs/label/"


@pytest.fixture
def place(project, queue) -> Candidate:
    cat, dog, _ = project.classes.all()
    likely = [{"class": dog.pk, "mean": 0.6, "std": 0.2}, {"class": cat.pk, "mean": 0.93, "std": 0.04}]
    Candidate.objects.update(reason=Reason.ACQUIRED, details={"likely": likely})
    return Candidate.objects.order_by("rank").first()


def suggestion(project, annotator) -> dict | None:
    (place,) = lease_next(project=fresh(project), annotator=annotator)
    names = {row.pk: row.name for row in project.classes.all()}
    return item_of(fresh(project), place, names)["suggestion"]


def test_hidden_is_the_default(project, place, annotator, client_of) -> None:
    assert suggestion(project, annotator) is None
    assert "0.93" not in client_of(annotator).get(LABEL).content.decode().split("label-items")[0]


@pytest.mark.parametrize("when", ["after", "before"])
def test_the_likeliest_class_is_said(project, place, annotator, when) -> None:
    LearningConfig.objects.update(suggestions=when)
    said = suggestion(project, annotator)
    assert said == {"class": project.classes.get(name="cat").pk, "words": "cat: 0.93 ± 0.04", "when": when}


@pytest.mark.parametrize(
    "reason", [Reason.HOLDOUT, Reason.GOLD, Reason.RELABEL, Reason.GRID_CHECK, Reason.RANDOM, Reason.COLD_START]
)
def test_never_where_it_would_spoil_a_measurement(project, place, annotator, reason) -> None:
    """Images drawn at random look like gold ones; if those alone showed nothing, people would know them."""
    LearningConfig.objects.update(suggestions="before")
    Candidate.objects.update(reason=reason)
    assert suggestion(project, annotator) is None


def test_an_archived_class_is_not_suggested(project, place, annotator) -> None:
    LearningConfig.objects.update(suggestions="before")
    names = {row.pk: row.name for row in project.classes.exclude(name="cat")}
    (held,) = lease_next(project=fresh(project), annotator=annotator)
    assert item_of(fresh(project), held, names)["suggestion"]["words"] == "dog: 0.60 ± 0.20"


@pytest.mark.parametrize(("sent", "kept"), [("before", "before"), ("after", "after"), ("", ""), ("x", ""), (7, "")])
def test_how_it_was_shown_is_kept_with_the_answer(project, place, annotator, client_of, sent, kept) -> None:
    client = client_of(annotator)
    client.post(f"{LABEL}next/", json.dumps({"want": 1}), content_type="application/json")
    body = {
        "key": str(uuid.uuid4()), "image": place.image_id, "candidate": place.pk, "outcome": "label",
        "label_class": project.classes.first().pk, "suggestion": sent,
    }  # fmt: skip
    assert client.post(f"{LABEL}answer/", json.dumps(body), content_type="application/json").status_code == 200
    assert Annotation.objects.get().suggestion == kept


def test_the_form_offers_it_before_the_answer(project, place, annotator, client_of) -> None:
    LearningConfig.objects.update(suggestions="before")
    page = client_of(annotator).get(LABEL).content.decode()
    assert "<strong data-suggested>cat: 0.93 ± 0.04</strong>" in page
    assert '<input type="hidden" name="suggestion" value="before">' in page


def test_the_form_tells_it_after_the_answer(project, place, annotator, client_of) -> None:
    LearningConfig.objects.update(suggestions="after")
    client = client_of(annotator)
    page = client.get(LABEL).content.decode()
    assert "<strong data-suggested></strong>" in page
    sent = {
        "key": str(uuid.uuid4()), "image": place.image_id, "candidate": place.pk, "suggestion": "after",
        "label_class": project.classes.get(name="dog").pk,
    }  # fmt: skip
    assert "The model says cat: 0.93 ± 0.04" in client.post(LABEL, sent, follow=True).content.decode()
    assert Annotation.objects.get().suggestion == "after"
