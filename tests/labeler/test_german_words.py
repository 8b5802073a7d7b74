"""What is told, refused and recorded is said in German, or in one language whoever asks."""

from __future__ import annotations

from datetime import time

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.translation import override

from labeler.learning.reruns import SURROUNDINGS
from labeler.models import (
    Round,
    Standing,
    User,
)
from labeler.selectors.model_card import as_markdown, model_card
from labeler.selectors.verdicts import rerun_words, verdict_of
from labeler.services.schedule import schedule_words, set_schedule
from labeler.told import keep
from tests.labeler.german import ENGLISH, english_left, in_both

pytestmark = pytest.mark.words


def test_an_export_is_recorded_in_one_language_whoever_asks(furnished) -> None:
    client = Client(headers={"accept-language": "de"})
    client.force_login(User.objects.get(username="mia"))
    client.post(reverse("exports", args=[furnished.slug]), {"format": "everything", "images": "all"})
    assert furnished.audit.order_by("-pk")[0].words == "exported all images as Everything"


def test_the_card_that_goes_along_with_a_model_is_in_one_language(furnished) -> None:
    round_ = furnished.rounds.filter(standing=Standing.ACCEPTED).order_by("-number")[0]
    with override("de"):
        shown = model_card(round_)
        with override("en"):
            kept = model_card(round_)
    assert shown.about[0].words == "Was es tut" and kept.about[0].words == "What it does"
    assert "Nicht angegeben" in shown.licence and "Not stated" in as_markdown(kept)


def test_who_is_not_signed_in_reads_of_the_api_in_german(db) -> None:
    left = english_left(*in_both(Client(), reverse("api-docs")), set())
    assert not left


FOUND = {
    "against": 3, "n": 1234, "new_right": 1000, "old_right": 1100, "p": 0.00001, "n_classes": 10, "n_differing": 2,
    "objections": ["lost_class", "fewer_right"], "basis": "compared", "kept_by": "mia", "why": "…",
    "lost": [{"class": 1, "n": 1234, "new_right": 9, "old_right": 12, "p": 0.01}] * 7, "unscored": 1200,
    "new_classes": [1, 2, 3, 4, 5, 6], "of_other_classes": 1200,
}  # fmt: skip
AGAIN = {
    "training": True, "weights": 1, "scores": 1200, "is_equal": False, "digest": "abc", "digest_then": "abc",
    "n_differing": 1200, "differing": ["…"], "missing": ["…"], "images": False, "largest": 0.0012, "device": "cuda",
    "surroundings": [keep(made("AVX2", "AVX512")) for made in SURROUNDINGS.values()],
}  # fmt: skip


@pytest.mark.parametrize("standing", Standing.values)
@pytest.mark.parametrize(
    "found",
    [
        FOUND,
        {"basis": "first", "against": None},
        {"basis": "unreadable", "against": 3, "why": "…"},
        FOUND | {"basis": "too_few", "n": 1},
        FOUND | {"is_off": True, "new_classes": [], "gone_classes": [1]},
        FOUND | {"objections": [], "lost": []},
    ],
)
def test_what_became_of_a_model_is_said_in_german(standing, found) -> None:
    round_ = Round(number=4, standing=standing, verdict=found)
    with override("de"):
        verdict = verdict_of(round_, {1: "Igel", 2: "Uhu"})
    said = " ".join([verdict.tag, verdict.short, *verdict.sentences])
    assert not ENGLISH.search(said), said
    assert "%(" not in said
    if found.get("unscored"):
        assert "1.200 Testbilder kamen hinzu" in said
    assert verdict_of(round_, {}).sentences != verdict.sentences


@pytest.mark.parametrize("result", [AGAIN, AGAIN | {"is_equal": True}, {"training": False}])
def test_what_a_rerun_found_is_said_in_german(result) -> None:
    with override("de"):
        said = " ".join(rerun_words(result))
    assert not ENGLISH.search(said), said
    assert "1.200 Wertedateien" in said or not result["training"]
    assert "Eine andere Version von torch: AVX2 damals, AVX512 jetzt." in said or result.get("is_equal") is not False


def test_what_is_refused_is_refused_in_german(furnished) -> None:
    client = Client(headers={"accept-language": "de"})
    client.force_login(User.objects.get(username="mia"))
    at = {name: reverse(name, args=[furnished.slug]) for name in ("settings", "classes", "people", "learning-settings")}
    empty = client.post(at["settings"], {"name": ""}).content.decode()
    assert "Das wird gebraucht." in empty and "This is needed." not in empty
    twice = client.post(at["classes"], {"names": "owl\nowl"}).content.decode()
    assert "„owl“ steht zweimal da." in twice
    assert "Wählen Sie etwas aus der Liste." in client.post(at["people"], {"role": "king"}).content.decode()
    wrong = client.post(at["learning-settings"], {"budget": "0", "overlap": "x"}).content.decode()
    assert "1 oder mehr." in wrong and "Eine ganze Zahl." in wrong and "Nichts wurde gespeichert" in wrong


def test_a_preview_says_in_german_what_a_change_does(furnished) -> None:
    client = Client(headers={"accept-language": "de"})
    client.force_login(User.objects.get(username="mia"))
    one, two = furnished.classes.filter(is_archived=False)[:2]
    address = reverse("class-merge", args=[furnished.slug, one.pk])
    page = client.get(address, {"into": two.pk}).content.decode()
    assert f"„{one}“ mit „{two}“ zusammenlegen" in page
    assert f"Antworten „{one}“: Sie bleiben, wie sie gegeben wurden, und meinen „{two}“" in page
    assert "Answers named" not in page


def test_the_record_is_in_one_language_whoever_writes_it(furnished) -> None:
    client = Client(headers={"accept-language": "de"})
    client.force_login(User.objects.get(username="mia"))
    set_schedule(project=furnished, at=time(2, 30), days=[1, 3], by=User.objects.get(username="mia"))
    with override("de"):
        assert schedule_words(furnished.learning) == "Montag und Mittwoch um 02:30 UTC"
        set_schedule(project=furnished, at=time(2, 30), days=[1, 2, 3, 4, 5], by=User.objects.get(username="mia"))
        client.post(reverse("classes", args=[furnished.slug]), {"names": "owl"})
    newest = [entry.words for entry in furnished.audit.order_by("-pk")[:3]]
    assert newest[0] == "added “owl”"
    assert "Monday to Friday at 02:30" in newest[1] and "Monday and Wednesday at 02:30" in newest[1]
