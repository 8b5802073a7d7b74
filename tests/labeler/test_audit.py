"""The record of who did what when: written with the act, never changed, narrowed and taken out as a file."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, transaction
from django.urls import reverse

from labeler import clock
from labeler.models import AuditEntry, Round, RoundState, Trigger
from labeler.services import audit
from labeler.services.classes import add_classes, change_class, move_class, renew_keys
from labeler.services.exporting import create_export
from labeler.services.invitations import invite, join, revoke_invitation
from labeler.services.people import change_role
from labeler.services.picks import send_to_queue
from labeler.services.projects import change_learning, change_project, create_project
from labeler.services.rounds import cancel_round
from tests.labeler.queues import fill_queue, fresh


def said(project) -> list[str]:
    return list(project.audit.order_by("pk").values_list("words", flat=True))


def record(project, words: str, by=None, kind: str = "classes", days_ago: float = 0) -> None:
    entry = AuditEntry(project=project, by=by, kind=kind, words=words, at=clock.now() - timedelta(days=days_ago))
    entry.save()


def test_acts_are_recorded_in_words_with_who_did_them(project, manager, annotator, stranger, make_images) -> None:
    cat = project.classes.get(name="cat")
    change_project(project=project, name="Zeichen", guidelines="Look.", by=manager)
    change_learning(project=fresh(project), values={"budget": 50, "overlap": 1, "propagation": False}, by=manager)
    add_classes(project=project, names=["elk", "Cat"], by=manager)
    change_class(label_class=cat, name="tom", shortcut="1", colour=cat.colour, by=manager)
    move_class(label_class=cat, steps=1, by=manager)
    renew_keys(project=project, by=manager)
    change_role(membership=project.memberships.get(user=annotator), role="manager", by=manager)
    new = invite(project=project, role="annotator", note="for Nora", by=manager)
    join(invitation=new.invitation, user=stranger)
    revoke_invitation(invitation=invite(project=project, role="manager", note="", by=manager).invitation, by=manager)
    create_export(project=project, by=manager, file_format="csv", includes_unlabelled=False)
    fill_queue(project, make_images(project, 3))
    send_to_queue(project=fresh(project), positions=[1, 2], by=manager)
    round_ = Round.objects.create(
        project=project, number=9, trigger=Trigger.BUTTON, reason="", seed=0, state=RoundState.QUEUED
    )
    assert cancel_round(round_=round_, by=manager)
    assert not cancel_round(round_=round_, by=manager)
    assert said(project) == [
        "changed the project: name from “Signs” to “Zeichen”; guidelines from nothing to “Look.”",
        "changed how the project learns: budget from 100 to 50; propagation from on to off",
        "added “elk”",
        "changed the class “cat”: name from “cat” to “tom”",
        "moved “tom” from place 1 to 2",
        "gave keys in the order of the list",
        "made ann a manager (annotator before)",
        "made an invitation as annotator (for Nora)",
        "joined as annotator, invited by mia",
        "made an invitation as manager",
        "revoked an invitation as manager",
        "exported all labels as CSV",
        "sent 2 images to the front of the queue",
        "cancelled round 9",
    ]
    assert set(project.audit.exclude(by=stranger).values_list("by", flat=True)) == {manager.pk}
    learning = project.audit.get(words__startswith="changed how the project learns")
    assert learning.details == {
        "before": {"budget": 100, "propagation": True}, "after": {"budget": 50, "propagation": False},
    }  # fmt: skip


def test_what_did_not_happen_is_not_recorded(project, manager) -> None:
    change_project(project=project, name=project.name, guidelines=project.guidelines, by=manager)
    add_classes(project=project, names=["cat"], by=manager)
    with pytest.raises(ValidationError):
        change_class(
            label_class=project.classes.get(name="cat"), name="dog", shortcut="1", colour="#0072b2", by=manager
        )
    with pytest.raises(RuntimeError), transaction.atomic():
        audit.record(project=project, by=manager, kind="classes", words="did what was rolled back")
        raise RuntimeError
    assert said(project) == []


def test_a_new_project_begins_with_its_making(manager) -> None:
    project = create_project(name="Owls", guidelines="", class_names=["a", "b"], by=manager)
    assert said(project) == ["made the project “Owls”", "added “a”, “b”"]


def test_the_database_refuses_to_change_an_entry(project, manager) -> None:
    audit.record(project=project, by=manager, kind="classes", words="merged “a” into “b”", at=clock.now(), n=1)
    entry = AuditEntry.objects.get()
    entry.words = "did nothing"
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        entry.save()
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        AuditEntry.objects.update(by=None)
    assert said(project) == ["merged “a” into “b”"]


def test_a_long_text_is_cut_and_not_refused(project, manager) -> None:
    audit.record(project=project, by=manager, kind="classes", words="x" * 5000)
    assert len(said(project)[0]) == 1000


def test_work_that_people_start_and_stop_is_recorded_once(
    project, manager, client_of, make_images, monkeypatch
) -> None:
    from labeler.models import PoolFeatures, PoolMap, Replay, Rerun
    from labeler.services import features, replays, reruns

    make_images(project, 3)
    client = client_of(manager)
    monkeypatch.setattr(replays, "why_no_replay", lambda _: "")
    monkeypatch.setattr(reruns, "why_no_rerun", lambda _: "")
    round_ = Round.objects.create(
        project=project, number=4, trigger=Trigger.BUTTON, reason="", seed=0, state=RoundState.DONE
    )
    change_learning(project=fresh(project), values={"representation": "default"})

    def press(name: str, *more: object) -> None:
        assert client.post(reverse(name, args=["signs", *more])).status_code == 302

    for name, more in (
        ("explore-draw", ()), ("replay-start", ()), ("replay-cancel", ()), ("replay-cancel", ()),
        ("features-start", ()), ("features-start", ()), ("features-stop", ()), ("features-stop", ()),
        ("round-rerun", (4,)), ("round-rerun-stop", (4,)), ("round-rerun-stop", (round_.number,)),
    ):  # fmt: skip
        press(name, *more)
    backbone = PoolFeatures.objects.get().backbone
    assert [words for words in said(project) if not words.startswith("changed")] == [
        "started the drawing of the map",
        f"started replay {Replay.objects.get().pk} of the answers",
        f"stopped replay {Replay.objects.get().pk} of the answers",
        f"started the computing of features by {backbone}",
        f"stopped the computing of features by {backbone}",
        "started a rerun of round 4",
        "stopped a rerun of round 4",
    ]
    assert set(project.audit.exclude(words__startswith="changed").values_list("by", "kind")) == {(manager.pk, "rounds")}
    assert (PoolMap.objects.count(), Rerun.objects.get().state) == (1, "cancelled")
    PoolFeatures.objects.all().delete()
    features.request_features(project=fresh(project))  # by the sweep: nobody's act
    assert project.audit.filter(words__startswith="started the computing").count() == 1


# --- The page ---------------------------------------------------------------------------------------------------------


def page_of(client, **query) -> tuple[list[str], str]:
    reply = client.get(reverse("audit", args=["signs"]), query)
    assert reply.status_code == 200
    return [words for _, words in reply.context["entries"]], reply.content.decode()


def test_the_page_narrows_by_person_kind_and_days(client_of, project, manager, annotator) -> None:
    record(project, "old", manager, "people", days_ago=10)
    record(project, "mid", annotator, "classes", days_ago=5)
    record(project, "new", None, "rounds")
    client, day = client_of(manager), lambda ago: f"{clock.now() - timedelta(days=ago):%Y-%m-%d}"
    assert page_of(client)[0] == ["new", "mid", "old"]
    assert page_of(client, person=manager.pk)[0] == ["old"]
    assert page_of(client, person="0")[0] == ["new"]
    assert page_of(client, kind="classes")[0] == ["mid"]
    assert page_of(client, since=day(6))[0] == ["new", "mid"]
    assert page_of(client, until=day(5))[0] == ["mid", "old"]
    assert page_of(client, since=day(6), until=day(4), person=annotator.pk, kind="classes")[0] == ["mid"]
    words, html = page_of(client, kind="gold")
    assert words == []
    assert "Nothing was done that fits" in html
    for nonsense in ({"person": "x"}, {"kind": "'"}, {"since": "2026-13-40"}, {"until": "9999-12-31"}, {"before": "²"}):
        assert page_of(client, **nonsense)[0] == ["new", "mid", "old"]


def test_an_empty_record_says_what_comes(client_of, project, manager) -> None:
    assert "Nothing has been recorded yet" in page_of(client_of(manager))[1]


def test_it_goes_on_page_by_page_with_a_fixed_number_of_queries(
    client_of, project, manager, make_user, django_assert_max_num_queries
) -> None:
    for number in range(120):
        record(project, f"act {number}", make_user(f"p{number}") if number < 30 else manager)
    client, seen, query = client_of(manager), [], {}
    for _ in range(3):
        with django_assert_max_num_queries(6):
            reply = client.get(reverse("audit", args=["signs"]), query)
        seen += [words for _, words in reply.context["entries"]]
        query = {"before": reply.context["older"]}
    assert seen == [f"act {number}" for number in reversed(range(120))]
    assert reply.context["older"] is None


def test_words_of_people_are_no_html(client_of, project, manager) -> None:
    add_classes(project=project, names=["<b>x</b>"], by=manager)
    assert "<b>x" not in page_of(client_of(manager))[1]


def test_settings_are_called_what_their_forms_call_them(client_of, project, manager) -> None:
    from datetime import time

    from labeler.services.projects import set_target
    from labeler.services.schedule import set_schedule

    values = {"budget": 50, "random_share": 0.125, "propagation": False, "estimator": "laplace", "backbone": "resnet50"}
    change_learning(project=fresh(project), values=values, by=manager)
    change_project(project=fresh(project), name="Zeichen", guidelines="", by=manager)
    set_target(project=fresh(project), target=0.975, by=manager)
    set_schedule(project=fresh(project), at=time(2, 30), days=[1, 2, 3, 4, 5], by=manager)
    cat = project.classes.get(name="cat")
    change_class(label_class=cat, name="tom", shortcut="", colour=cat.colour, by=manager)
    client = client_of(manager)
    assert page_of(client)[0] == [
        "changed the class “cat”: Name from “cat” to “tom”; Key from “1” to nothing",
        "changed when a round starts: from nothing to Monday to Friday at 02:30 UTC",
        "changed the project: Target, % right from nothing to 97.5",
        "changed the project: Name from “Signs” to “Zeichen”",
        "changed how the project learns: Queue (budget) from 100 to 50; Drawn at random, in % from 10 to 12.5; "
        "Name of the other backbone from nothing to “resnet50”; Begin with images that look alike from on to off; "
        "Posterior from MC dropout to Laplace",
    ]
    client.cookies["django_language"] = "de"
    german = page_of(client)[0]
    assert german[0] == "die Klasse „cat“ geändert: Name von „cat“ zu „tom“; Taste von „1“ zu nichts"
    assert german[1] == "geändert, wann eine Runde beginnt: von nichts zu Montag bis Freitag um 02:30 UTC"
    assert "von 10 zu 12,5" in german[4]
    assert not any("budget from" in words or "propagation" in words for words in german)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_the_file_has_the_words_of_the_form_too_and_in_english(client_of, project, manager, ending) -> None:
    change_learning(project=project, values={"gold_share": 0.1}, by=manager)
    client = client_of(manager)
    client.cookies["django_language"] = "de"
    file = b"".join(client.get(reverse("audit-file", args=["signs", ending])).streaming_content).decode()
    assert "Gold among the questions, in % from 0 to 10" in file
    assert "gold share from" not in file
    assert "gold_share" in file  # in the details, as programs know it


def test_a_setting_or_choice_that_is_no_more_is_named_as_it_was_kept(client_of, project, manager) -> None:
    for before, after in (({"old_one": 1}, {"old_one": 2}), ({"estimator": "magic"}, {"estimator": "laplace"})):
        audit.record_changes(
            project=project, by=manager, kind="settings", what="how the project learns", before=before, after=after
        )
    assert page_of(client_of(manager))[0] == [
        "changed how the project learns: Posterior from magic to Laplace",
        "changed how the project learns: old one from 1 to 2",
    ]


def test_it_comes_as_csv_without_formulas_and_as_json_lines(client_of, project, manager, annotator) -> None:
    audit.record(project=project, by=manager, kind="classes", words="=SUM(A1)", names=["+1", "ä"])
    record(project, "other", annotator, "people")
    client = client_of(manager)

    def file(ending: str, **query) -> str:
        reply = client.get(reverse("audit-file", args=["signs", ending]), query)
        assert f"signs-record.{ending}" in reply.headers["Content-Disposition"]
        return b"".join(reply.streaming_content).decode()

    rows = list(csv.DictReader(io.StringIO(file("csv"))))
    assert [(row["by"], row["kind"], row["what"]) for row in rows] == [
        ("mia", "classes", "'=SUM(A1)"), ("ann", "people", "other"),
    ]  # fmt: skip
    assert json.loads(rows[0]["details"]) == {"names": ["+1", "ä"]}
    lines = [json.loads(line) for line in file("jsonl", kind="classes").splitlines()]
    assert [line["what"] for line in lines] == ["=SUM(A1)"]
    assert client.get(reverse("audit-file", args=["signs", "exe"])).status_code == 404
