"""Which language a page is in, and that every word of the catalogues is there."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from datetime import time, timedelta
from html import unescape
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils.translation import override

from labeler import clock
from labeler.models import JobState, PoolMap, Project, Replay, Round, RoundState, Standing, Trigger, User, Worker
from labeler.numerals import numeral
from labeler.selectors.features import wanted_representation
from labeler.selectors.verdicts import rerun_words, verdict_of
from labeler.services.pausing import pause_project
from labeler.services.schedule import schedule_words, set_schedule
from labeler.templatetags.numbers import interval
from tests.conftest import PASSWORD
from tests.e2e.furnished import addresses, furnish

ROOT = Path(__file__).resolve().parent.parent.parent
LOCALE = ROOT / "labeler" / "locale"
OTHERS = [code for code, _ in settings.LANGUAGES if code != "en"]
COOKIE = settings.LANGUAGE_COOKIE_NAME


def signed_in() -> Client:
    client = Client()
    client.post("/login/", {"username": "mia", "password": PASSWORD})
    return client


# --- Whose language -------------------------------------------------------------------------------------------------


def test_a_page_is_in_the_language_that_the_browser_asks_for(db) -> None:
    german = Client(headers={"accept-language": "de-AT,de;q=0.9"}).get("/login/")
    assert b'<html lang="de">' in german.content and b"Anmelden" in german.content
    assert b">English</button>" in german.content  # each language by its own name
    assert "Accept-Language" in german.headers["Vary"]
    assert b'<html lang="en">' in Client(headers={"accept-language": "fr"}).get("/login/").content


def test_who_chooses_a_language_keeps_it_wherever_they_sign_in(manager) -> None:
    client = signed_in()
    reply = client.post("/language/", {"language": "de", "next": "/password/"})
    assert reply.headers["Location"] == "/password/"
    assert "Ihr Passwort" in client.get("/password/").content.decode()
    manager.refresh_from_db()
    assert manager.language == "de"
    elsewhere = signed_in()
    assert elsewhere.cookies[COOKIE].value == "de"
    assert "Projekte" in elsewhere.get("/").content.decode()
    elsewhere.post("/language/", {"language": "en"})
    assert "Projects" in elsewhere.get("/").content.decode()


def test_who_never_chose_gets_no_cookie(manager) -> None:
    assert COOKIE not in signed_in().cookies


def test_nobody_needs_an_account_to_choose(db) -> None:
    client = Client()
    client.post("/language/", {"language": "de", "next": "/login/"})
    assert "Anmelden" in client.get("/login/").content.decode()


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example/", "javascript:alert(1)"])
def test_no_spelling_of_next_leads_away(db, target) -> None:
    reply = Client().post("/language/", {"language": "de", "next": target})
    assert reply.headers["Location"] == "/"


@pytest.mark.parametrize("code", ["", "xx", "de-tlh", "../de"])
def test_a_language_that_there_is_not_changes_nothing(manager, code) -> None:
    client = signed_in()
    client.post("/language/", {"language": code})
    manager.refresh_from_db()
    assert manager.language == "" and COOKIE not in client.cookies


def test_it_is_chosen_by_a_form_only(db) -> None:
    assert Client().get("/language/").status_code == 405
    assert Client(enforce_csrf_checks=True).post("/language/", {"language": "de"}).status_code == 403


def test_scripts_get_their_words_by_an_address_of_their_own(db) -> None:
    reply = Client().get("/words/de.js")
    assert reply.headers["Content-Type"].startswith("text/javascript")
    assert "gespeichert" in reply.content.decode()
    assert Client().get("/words/xx.js").status_code == 404
    assert Client().post("/words/de.js").status_code == 405


# --- Numbers --------------------------------------------------------------------------------------------------------


def test_numbers_are_written_as_the_language_writes_them() -> None:
    assert numeral(1234.56, 1) == "1,234.6"
    assert "96.2 %" in interval(0.962, 0.948, 0.976, unit="%")
    with override("de"):
        assert numeral(1234.56, 1) == "1.234,6"
        assert numeral(-0.5, 2) == "-0,50"
        assert "96,2 %" in interval(0.962, 0.948, 0.976, unit="%")


DRAWN = re.compile(
    r"""\s(x|y|x1|x2|y1|y2|cx|cy|r|rx|ry|width|height|d|points|viewBox|transform|value|min|max|step)="([^"]*\d[^"]*)\""""
)


def test_what_machines_read_is_the_same_in_every_language(db, make_user) -> None:
    """Places of a drawing, values of fields: a comma in them would break the page."""
    for name in ("mia", "ann", "bob"):
        make_user(name)
    project, _ = furnish("Digits")
    client = Client()
    client.force_login(User.objects.get(username="mia"))
    compared = 0
    for name, address in addresses(project).items():
        if name == "logout":
            continue
        english = client.get(address)
        if english.status_code != 200 or not english.headers["Content-Type"].startswith("text/html"):
            continue
        german = client.get(address, headers={"accept-language": "de"})
        found = [told(reply.content.decode()) for reply in (english, german)]
        differing = [pair for pair in zip(*found, strict=True) if pair[0] != pair[1]]
        assert not differing, (name, differing[:5])
        compared += len(found[0])
    assert compared > 500


def told(page: str) -> list[tuple[str, str]]:
    return [
        found for found in DRAWN.findall(page) if not re.fullmatch(r"[0-9a-f-]{36}|[A-Za-z0-9]{64}|en|de", found[1])
    ]


# --- Catalogues -----------------------------------------------------------------------------------------------------


def entries(text: str) -> list[dict[str, object]]:
    """Of a .po file: what it says of each message. `words` and `said` are lists, with plural forms."""
    found = []
    for block in text.split("\n\n"):
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if match := re.match(r'(msgctxt|msgid|msgid_plural|msgstr(?:\[\d\])?) (".*")$', line):
                name = match[1]
                fields[name] = ast.literal_eval(match[2])
            elif line.startswith('"') and name:
                fields[name] += ast.literal_eval(line)
        if not fields.get("msgid"):
            continue
        said = [value for key, value in fields.items() if key.startswith("msgstr")]
        words = [fields["msgid"], *([fields["msgid_plural"]] if "msgid_plural" in fields else [])]
        found.append({"words": words, "said": said, "is_fuzzy": "fuzzy" in block, "is_old": block.startswith("#~")})
    return found


def catalogues() -> list[Path]:
    return [LOCALE / code / "LC_MESSAGES" / f"{domain}.po" for code in OTHERS for domain in ("django", "djangojs")]


@pytest.mark.parametrize("path", catalogues(), ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_every_word_is_translated_and_none_is_guessed(path) -> None:
    told = entries(path.read_text())
    assert len(told) > 20
    assert "#~" not in path.read_text()  # what nothing asks for any more
    for entry in told:
        assert not entry["is_fuzzy"], entry["words"]
        assert all(entry["said"]), entry["words"]


@pytest.mark.parametrize("path", catalogues(), ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_what_is_filled_in_is_the_same_in_both_languages(path) -> None:
    holes = re.compile(r"%\(\w+\)s|</?\w+|\{\}")
    for entry in entries(path.read_text()):
        wanted = sorted(holes.findall(entry["words"][-1]))
        for said in entry["said"]:
            assert sorted(holes.findall(said)) == wanted or len(entry["said"]) > 1, entry["words"]


def made_anew(tmp_path: Path) -> Path:
    """The sources of the app, its words gathered again. Returns the locale folder."""
    if shutil.which("xgettext") is None:
        if os.environ.get("CI"):
            pytest.fail("xgettext is not installed: apt-get install gettext")
        pytest.skip("xgettext is not installed")
    copy = tmp_path / "copy"
    for name in ("labeler", "templates", "static"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "manage.py", copy)
    (copy / "learner").symlink_to(ROOT / "learner")
    for domain, extension in (("django", "html,py"), ("djangojs", "js")):
        command = [
            sys.executable, "manage.py", "makemessages", "--all", "--no-location", "--no-wrap", "--no-obsolete",
            "-d", domain, "-e", extension,
        ]  # fmt: skip
        environment = {**os.environ, "DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": ""}
        subprocess.run(command, cwd=copy, env=environment, check=True, capture_output=True)
    return copy / "labeler" / "locale"


def test_the_catalogues_hold_what_the_sources_say(tmp_path) -> None:
    """`manage.py words` was run after the last change of a word."""
    made = made_anew(tmp_path)
    for path in catalogues():
        new = {tuple(entry["words"]) for entry in entries((made / path.relative_to(LOCALE)).read_text())}
        old = {tuple(entry["words"]) for entry in entries(path.read_text())}
        assert new == old, (sorted(new - old), sorted(old - new))


@pytest.mark.parametrize("path", catalogues(), ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_what_runs_was_compiled_of_what_is_read(path, tmp_path) -> None:
    if shutil.which("msgfmt") is None:
        pytest.skip("msgfmt is not installed")
    made = tmp_path / "made.mo"
    subprocess.run(["msgfmt", "--check-format", "-o", made, path], check=True, capture_output=True)
    assert made.read_bytes() == path.with_suffix(".mo").read_bytes()


# --- German pages ---------------------------------------------------------------------------------------------------

ENGLISH = re.compile(r"\b(the|of|and|is|are|has|have|with|by|to|it|its|from|that|for|this|no|which|their|you)\b", re.I)
TOLD = re.compile(r'\s(?:title|aria-label|aria-roledescription|placeholder|alt)="([^"]*)"|>([^<>]*)<')


def pieces(page: str) -> set[str]:
    """All that a person can read of a page: between tags, in titles and labels; without what holds no word."""
    page = re.sub(r"(?s)<(script|style)\b.*?</\1>|<code\b.*?</code>|<textarea\b.*?</textarea>|<!--.*?-->", "", page)
    told = (" ".join(unescape(one or other).split()) for one, other in TOLD.findall(page))
    said = {part for piece in told for part in piece.split(" · ")}
    moment = re.compile(r"\d{4}-\d\d-\d\d [\d:]+ \w+|\d+ (s|min)")
    return {piece for piece in said if re.search(r"[A-Za-z]{3}", piece) and not moment.fullmatch(piece)}


def english_left(english: str, german: str, known: set[str]) -> set[str]:
    """Pieces that are the same in both languages or hold an English word, but for what is known to be data or to be
    kept in words, and for words that are names or are spelled alike."""
    said = pieces(german)
    same = (said & pieces(english)) - ALIKE
    left = same | {piece for piece in said if ENGLISH.search(without(piece, known))}
    return {piece for piece in left if re.search(r"[A-Za-z]{3}", without(piece, known))}


# Words that are the same in both languages, and names.
ALIKE = {
    "Minus", "Plus", "PlusMinus", "Monitor", "Export", "Import", "English", "Deutsch", "Label", "Labels",
    "Gold", "Name", "Person", "Worker", "Webhooks", "Token", "Posterior", "Annotator", "Enter", "Esc", "CSV",
    "JSON Lines", "Bootstrap", "Laplace", "SWAG", "Lasso", "EPIG", "https://",
}  # fmt: skip


def without(piece: str, known: set[str]) -> str:
    for words in sorted(known, key=len, reverse=True):
        piece = piece.replace(words, "")
    return piece


@pytest.fixture
def furnished(db, make_user) -> Project:
    for name in ("mia", "ann", "bob"):
        make_user(name)
    return furnish("Digits")[0]


def kept_in_words(project: Project) -> set[str]:
    """What is data, or was written when it happened and stays as it was written."""
    rounds = list(project.rounds.all())
    written = {words for round_ in rounds for words in (round_.reason, round_.error) if words}
    written |= set(project.notices.values_list("words", flat=True))
    written |= set(project.images.values_list("name", flat=True)) | set(project.classes.values_list("name", flat=True))
    seen = wanted_representation(project)
    written |= {seen.words, seen.reason, project.guidelines, *project.comments.values_list("text", flat=True)}
    written |= set(project.audit.values_list("words", flat=True)) | set(Worker.objects.values_list("name", flat=True))
    written |= {name.rpartition("/")[2] for name in project.images.values_list("name", flat=True)}
    written |= set(project.webhooks.values_list("address", flat=True))
    written |= {job.error for job in project.model_exports.all() if job.error}
    written |= set(project.predictions.values_list("name", flat=True))
    changes = [change.words for change in project.class_changes.all()]
    written |= {*changes, *(words[:1].upper() + words[1:] for words in changes)}
    written |= set(project.invitations.values_list("note", flat=True)) | set(
        User.objects.values_list("username", flat=True)
    )
    return written | {project.name, "PlusMinus", "Monitor", "Gold", "Label"}


GERMAN_PAGES = (
    "monitor", "monitor-state", "worth", "rounds", "round", "explore", "explore-map", "explore-tiles", "gallery",
    "compare", "replay", "replay-state", "annotator", "answers", "audit", "class-archive", "class-change-undo",
    "class-changes", "class-edit", "class-merge", "class-split", "classes", "comments", "features", "gold", "grid",
    "guide", "home", "image", "images", "label", "learning-settings", "network", "notices", "password-change", "people",
    "project-copy", "project-new", "project-start", "proposals", "review", "settings", "tokens", "try",
    "webhooks", "predictions",
)  # fmt: skip


def in_both(client: Client, address: str) -> tuple[str, str]:
    english, german = client.get(address), client.get(address, headers={"accept-language": "de"})
    assert english.status_code == german.status_code == 200, address
    return english.content.decode(), german.content.decode()


def test_no_english_is_left_on_german_pages(furnished) -> None:
    client = Client()
    client.force_login(User.objects.get(username="mia"))
    pages, walked = addresses(furnished), 0
    english: dict[str, set[str]] = {}
    known = kept_in_words(furnished)
    for name, address in pages.items():
        if name.split()[0] not in GERMAN_PAGES:
            continue
        if left := english_left(*in_both(client, address), known):
            english[name] = left
        walked += 1
    assert not english, "\n".join(f"{name}: {left}" for name, left in english.items())
    assert walked > 50
    _make_busy(furnished)
    for name in ("monitor", "replay", "explore", "compare"):
        left = english_left(*in_both(client, reverse(name, args=[furnished.slug])), known)
        assert not left, (name, left)


def _make_busy(project: Project) -> None:
    """Paused, with a round at work, a replay that has been played and one that is, and a map that is being drawn."""
    mia = User.objects.get(username="mia")
    pause_project(project=project, by=mia, reason="")
    now, curve = clock.now(), [[0.5, 0.6], [0.6, 0.7], [0.7, 0.8]]
    Round.objects.create(
        project=project, number=99, trigger=Trigger.BUTTON, reason="", seed=0, state=RoundState.FITTING, attempts=2,
        claim="a", heartbeat_at=now - timedelta(seconds=60), progress_done=50, progress_total=100, training_count=1200,
        started_at=now - timedelta(seconds=90), phase_started_at=now - timedelta(seconds=30),
    )  # fmt: skip
    result = {
        "answers": [20, 1000], "curves": {"own": curve, "random": curve}, "target": 0.9, "measured": 60,
        "own": [500, 400, 600], "random": [700, 600, 800], "saved": [200, 100, 300], "final": [0.9, 0.8, 0.95],
    }  # fmt: skip
    replay = {"project": project, "created_by": mia, "seed": 0, "config": {}, "labels": {}, "images": 2000}
    Replay.objects.create(**replay, state=JobState.DONE, result=result, finished_at=now)
    Replay.objects.create(**replay, state=JobState.RUNNING, done=1000, total=1200)
    PoolMap.objects.create(project=project, created_by=mia, state=JobState.RUNNING, done=1, total=4)


FOUND = {
    "against": 3, "n": 1234, "new_right": 1000, "old_right": 1100, "p": 0.00001, "n_classes": 10, "n_differing": 2,
    "objections": ["lost_class", "fewer_right"], "basis": "compared", "kept_by": "mia", "why": "…",
    "lost": [{"class": 1, "n": 1234, "new_right": 9, "old_right": 12, "p": 0.01}] * 7, "unscored": 1200,
    "new_classes": [1, 2, 3, 4, 5, 6], "of_other_classes": 1200,
}  # fmt: skip
AGAIN = {
    "training": True, "weights": 1, "scores": 1200, "is_equal": False, "digest": "abc", "digest_then": "abc",
    "n_differing": 1200, "differing": ["…"], "missing": ["…"], "images": False, "largest": 0.0012, "device": "cuda",
    "surroundings": [],
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
        assert schedule_words(furnished.learning) == "Montag und Mittwoch um 02:30"
        set_schedule(project=furnished, at=time(2, 30), days=[1, 2, 3, 4, 5], by=User.objects.get(username="mia"))
        client.post(reverse("classes", args=[furnished.slug]), {"names": "owl"})
    newest = [entry.words for entry in furnished.audit.order_by("-pk")[:3]]
    assert newest[0] == "added “owl”"
    assert "Monday to Friday at 02:30" in newest[1] and "Monday and Wednesday at 02:30" in newest[1]


def test_nothing_is_counted_by_a_name_that_the_same_tag_has_given_away() -> None:
    """`blocktranslate count n=a.n with a=…` looks for `n` in the new `a`, and the page fails."""
    for path in sorted((ROOT / "templates").rglob("*.html")):
        for tag in re.findall(r"{% blocktranslate (.*?)%}", path.read_text()):
            counted = re.search(r"count (\w+)=(\w+)", tag)
            given = set(re.findall(r"(?<![\w.|:])(\w+)=", tag)) - {counted[1] if counted else ""}
            assert counted is None or counted[2] not in given, f"{path.name}: {tag}"
