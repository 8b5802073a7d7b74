"""Which language a page is in, and that every word of the catalogues is there."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.utils.translation import override

from labeler.models import User
from labeler.numerals import numeral
from labeler.templatetags.numbers import interval
from tests.conftest import PASSWORD
from tests.e2e.furnished import addresses, furnish

pytestmark = pytest.mark.words

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
        assert numeral(-0.5, 2) == "−0,50"
        assert "96,2 %" in interval(0.962, 0.948, 0.976, unit="%")
        assert "−10,0 Prozentpunkte" in interval(-0.1, -0.15, -0.05, unit="points")


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


def test_differences_of_shares_have_one_german_name() -> None:
    """Dots of a picture are no points in English, and a path that points somewhere is none either."""
    told = entries((LOCALE / "de" / "LC_MESSAGES" / "django.po").read_text())
    of_points = [entry for entry in told if re.search(r"\bpoints\b(?! out)", entry["words"][0])]
    assert len(of_points) > 4
    for entry in of_points:
        for said in entry["said"]:
            assert "Prozentpunkt" in said and not re.search(r"\bPunkten?\b", said), entry["words"]


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


def test_nothing_is_counted_by_a_name_that_the_same_tag_has_given_away() -> None:
    """`blocktranslate count n=a.n with a=…` looks for `n` in the new `a`, and the page fails."""
    for path in sorted((ROOT / "templates").rglob("*.html")):
        for tag in re.findall(r"{% blocktranslate (.*?)%}", path.read_text()):
            counted = re.search(r"count (\w+)=(\w+)", tag)
            given = set(re.findall(r"(?<![\w.|:])(\w+)=", tag)) - {counted[1] if counted else ""}
            assert counted is None or counted[2] not in given, f"{path.name}: {tag}"
