"""Who undoes or corrects the answer that proposed a class takes the proposal back."""

from __future__ import annotations

import json
import uuid

import pytest
from django.urls import reverse

from labeler.models import Annotation, ClassProposal
from labeler.services.annotate import retract_answer
from labeler.services.lease import lease_next
from labeler.services.proposals import accept_proposal
from tests.labeler.queues import fresh
from tests.labeler.test_proposals import propose, states


def answer_of(project, person) -> Annotation:
    return Annotation.objects.filter(project=project, annotator=person, outcome="label").latest("pk")


def undo(project, person) -> Annotation:
    key = answer_of(project, person).key
    return retract_answer(project=fresh(project), annotator=person, target_key=key, key=uuid.uuid4())


def test_an_undone_proposal_is_taken_back(client_of, open_project, annotator, manager) -> None:
    propose(client_of, open_project, annotator, "Lynxx")
    lynxx = open_project.classes.get(name="Lynxx")
    undo(open_project, annotator)
    lynxx.refresh_from_db()
    assert (lynxx.fate, ClassProposal.objects.count()) == ("withdrawn", 0)
    assert open_project.audit.get(words__startswith="took back the proposed class “Lynxx”").by == annotator
    assert "Lynxx" not in client_of(manager).get(reverse("proposals", args=["signs"])).content.decode()
    place = lease_next(project=open_project, annotator=annotator)[0]
    assert "question" not in place.details  # their own undo asked for it, nobody else
    propose(client_of, open_project, annotator, "lynxx", place=place)
    lynxx.refresh_from_db()
    assert (lynxx.fate, ClassProposal.objects.get().by, states(open_project)[0]) == ("proposed", annotator, "set_aside")


@pytest.mark.parametrize("becomes", ["cat", "Lynx"])
def test_a_corrected_proposal_is_taken_back(client_of, open_project, annotator, becomes) -> None:
    propose(client_of, open_project, annotator, "Lynxx")
    lynxx, cat = open_project.classes.get(name="Lynxx"), open_project.classes.get(name="cat")
    body = {
        "key": str(uuid.uuid4()), "corrects": str(answer_of(open_project, annotator).key), "outcome": "label",
        "image": answer_of(open_project, annotator).image_id, "seconds": 1.0,
        "label_class": cat.pk if becomes == "cat" else None, "want": 1, "holding": [],
        **({} if becomes == "cat" else {"proposed": becomes}),
    }  # fmt: skip
    url = reverse("label-answer", args=["signs"])
    reply = client_of(annotator).post(url, json.dumps(body), content_type="application/json")
    assert reply.status_code == 200, reply.content
    lynxx.refresh_from_db()
    waiting = list(ClassProposal.objects.values_list("label_class__name", flat=True))
    assert (lynxx.fate, waiting) == ("withdrawn", [] if becomes == "cat" else ["Lynx"])
    assert answer_of(open_project, annotator).retracted_at is None


def test_an_undone_proposal_stays_while_another_answer_names_it(client_of, open_project, annotator, manager) -> None:
    for person in (annotator, annotator, manager):
        propose(client_of, open_project, person, "Lynx")
    lynx = open_project.classes.get(name="Lynx")
    undo(open_project, annotator)
    assert set(ClassProposal.objects.values_list("by", flat=True)) == {annotator.pk, manager.pk}  # their other one
    first = Annotation.objects.get(retracted_at=None, outcome="label", annotator=annotator)
    retract_answer(project=open_project, annotator=annotator, target_key=first.key, key=uuid.uuid4())
    lynx.refresh_from_db()
    assert (lynx.fate, ClassProposal.objects.get().by) == ("proposed", manager)
    assert Annotation.objects.filter(retracted_at=None, outcome="label").count() == 1


def test_what_a_manager_has_decided_stays_when_its_answer_is_undone(
    client_of, open_project, annotator, manager
) -> None:
    propose(client_of, open_project, annotator, "Lynx")
    lynx = open_project.classes.get(name="Lynx")
    accept_proposal(label_class=lynx, name="Lynx", by=manager)
    undo(open_project, annotator)
    lynx.refresh_from_db()
    assert (lynx.fate, lynx.is_archived, ClassProposal.objects.get().by) == ("", False, annotator)
