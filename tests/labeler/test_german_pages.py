"""No English is left on a German page of a project, and what is told and refused is German."""

from __future__ import annotations

import re
from datetime import time, timedelta
from html import unescape
from types import SimpleNamespace

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.translation import override

from labeler import clock
from labeler.beat import DOING
from labeler.learning import serving
from labeler.learning.reruns import SURROUNDINGS
from labeler.learning.spoken import compared_by, note, sentence
from labeler.models import (
    ExportJob,
    ImportedPerson,
    ImportFile,
    ImportJob,
    JobState,
    ModelExport,
    OfferedAnswer,
    OfferedLabel,
    PoolFeatures,
    PoolGraph,
    PoolMap,
    PoolNetwork,
    Project,
    RejectedFile,
    Replay,
    Round,
    RoundState,
    Standing,
    Trigger,
    User,
    Webhook,
    WebhookDelivery,
    Worker,
)
from labeler.selectors.features import wanted_representation
from labeler.selectors.model_card import as_markdown, model_card
from labeler.selectors.verdicts import rerun_words, verdict_of
from labeler.services.class_changes import archive_class
from labeler.services.pausing import pause_project
from labeler.services.schedule import schedule_words, set_schedule
from labeler.storage import round_folder
from labeler.told import keep, said, told
from tests.e2e.furnished import addresses, furnish

pytestmark = pytest.mark.words

ENGLISH = re.compile(r"\b(the|of|and|is|are|has|have|with|by|to|it|its|from|that|for|this|no|which|their|you)\b", re.I)
# What says itself that it is in English, or data.
KEPT = re.compile(r"""(?s)<(?!html)(\w+)\b[^>]*(?:\slang="en"|\stranslate="no")[^>]*>.*?</\1>""")
TOLD = re.compile(r'\s(?:title|aria-label|aria-roledescription|placeholder|alt)="([^"]*)"|>([^<>]*)<')


def pieces(page: str) -> set[str]:
    """All that a person can read of a page: between tags, in titles and labels; without what holds no word, and what
    says itself that it is English or data."""
    page = re.sub(r"(?s)<(script|style)\b.*?</\1>|<code\b.*?</code>|<textarea\b.*?</textarea>|<!--.*?-->", "", page)
    page = KEPT.sub("", page)
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
    "JSON Lines", "Bootstrap", "Laplace", "SWAG", "Lasso", "EPIG", "https://", "Format", "Manifest", "SHA-256",
    "Parquet", "COCO", "Label Studio", "ImageFolder", "Bucket", "Region", "API", "Tokens.", "Status", "openapi.json",
    "GET", "POST", "PUT", "PATCH", "DELETE",
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
    """What is data, or what somebody typed."""
    written = set(project.images.values_list("name", flat=True)) | set(project.classes.values_list("name", flat=True))
    written |= {project.guidelines, *project.comments.values_list("text", flat=True)}
    written |= set(Worker.objects.values_list("name", flat=True)) | {wanted_representation(project).backbone}
    written |= {name.rpartition("/")[2] for name in project.images.values_list("name", flat=True)}
    written |= set(project.webhooks.values_list("address", flat=True))
    written |= set(project.predictions.values_list("name", flat=True))
    written |= set(RejectedFile.objects.filter(job__project=project).values_list("name", flat=True))
    written |= set(project.invitations.values_list("note", flat=True)) | set(
        User.objects.values_list("username", flat=True)
    )
    return written | {project.name, "for a test", "PlusMinus", "Monitor", "Gold", "Label"}


GERMAN_PAGES = (
    "monitor", "monitor-state", "worth", "rounds", "round", "explore", "explore-map", "explore-tiles", "gallery",
    "compare", "replay", "replay-state", "annotator", "answers", "audit", "class-archive", "class-change-undo",
    "class-changes", "class-edit", "class-merge", "class-split", "classes", "comments", "features", "gold", "grid",
    "guide", "home", "image", "images", "label", "learning-settings", "network", "notices", "password-change", "people",
    "project-copy", "project-new", "project-start", "proposals", "review", "settings", "tokens", "try",
    "webhooks", "predictions", "imports", "import", "import-new", "import-folder", "import-bucket", "exports",
    "model-card", "api-docs",
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


def test_what_workers_kept_is_said_in_german(furnished) -> None:
    """A network, features and groups with their reasons and failures, a failed round, refused files, what beat does."""
    client, mia = Client(), User.objects.get(username="mia")
    client.force_login(mia)
    given = {"project": furnished, "created_by": mia, "finished_at": clock.now()}
    unwritten = told("The network could not be written: %(why)s", why="28")
    why = sentence(
        "the weights of resnet50 could not be downloaded (28). Is there a network, and room on the disk? A file of "
        "them that is here already can be named instead"
    )
    compared = compared_by("vectors of 2048 features, compared by direction", "efficientnet_lite0")
    PoolNetwork.objects.create(
        **given, state=JobState.FAILED, seed=1, labels={}, answers=40, checkpoint="x", error=unwritten
    )
    furnished.learning.representation, furnished.learning.backbone = "other", "resnet50"
    furnished.learning.save()
    PoolFeatures.objects.create(**given, state=JobState.FAILED, backbone="resnet50", error=why)
    PoolGraph.objects.create(**given, state=JobState.DONE, file="x", groups=12, reason=compared)
    beat, now = "beat@there", clock.now()
    Worker.objects.update_or_create(
        name=beat, defaults={"queues": "beat", "doing": DOING, "started_at": now, "seen_at": now}
    )
    archive_class(label_class=furnished.classes.filter(is_archived=False)[0], by=mia)
    hook = Webhook.objects.create(project=furnished, address="https://there.example/x", events=["test"], created_by=mia)
    (placed,) = serving._notes(SimpleNamespace(n_pool=2000, vectors_N_D=range(1000)))
    fitted = note("8 of 10 classes have no label yet: the model cannot predict them")
    round_ = furnished.rounds.filter(standing=Standing.ACCEPTED).order_by("-number")[0]
    round_.metrics["fit"]["notes"] = [keep(fitted)]
    round_.save()
    (round_folder(round_) / "served.onnx").write_bytes(b"x")
    ModelExport.objects.create(
        **given, state=JobState.DONE, round=round_, file="served.onnx", about={"notes": [keep(placed)]}
    )
    answered = told("It answered %(status)s.", status="500")
    WebhookDelivery.objects.create(webhook=hook, event="test", key="1", body="{}", state="failed", error=answered)
    known, texts = kept_in_words(furnished) | {"resnet50", "efficientnet_lite0", "there.example"}, ""
    of_project = ("monitor", "learning-settings", "rounds", "audit", "class-changes", "classes", "notices", "webhooks")
    pages_of = [reverse(name, args=[furnished.slug]) for name in of_project]
    pages_of += [reverse(name, args=[furnished.slug, round_.number]) for name in ("round", "model-card")]
    for name in pages_of:
        pages = in_both(client, name)
        left = english_left(*pages, known)
        assert not left, (name, left)
        texts += unescape(pages[1])
    for words in (compared, unwritten, why, answered, fitted, placed, told(DOING)):
        with override("de"):
            assert said(words) in texts, words
        assert str.__str__(words) not in texts


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
