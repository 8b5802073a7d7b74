"""No English is left on a German page of a project, nor in what workers kept."""

from __future__ import annotations

from datetime import timedelta
from html import unescape
from types import SimpleNamespace

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.translation import override

from labeler import clock
from labeler.beat import DOING
from labeler.learning import serving
from labeler.learning.spoken import compared_by, note, sentence
from labeler.models import (
    JobState,
    ModelExport,
    PoolFeatures,
    PoolGraph,
    PoolMap,
    PoolNetwork,
    Project,
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
from labeler.services.class_changes import archive_class
from labeler.services.pausing import pause_project
from labeler.storage import round_folder
from labeler.told import keep, said, told
from tests.e2e.furnished import addresses
from tests.labeler.german import english_left, in_both, kept_in_words

pytestmark = pytest.mark.words


GERMAN_PAGES = (
    "monitor", "monitor-state", "worth", "rounds", "round", "explore", "explore-map", "explore-tiles", "gallery",
    "compare", "replay", "replay-state", "annotator", "answers", "audit", "class-archive", "class-change-undo",
    "class-changes", "class-edit", "class-merge", "class-split", "classes", "comments", "features", "gold", "grid",
    "guide", "home", "image", "images", "label", "learning-settings", "network", "notices", "password-change", "people",
    "project-copy", "project-new", "project-start", "proposals", "review", "settings", "tokens", "try",
    "webhooks", "predictions", "imports", "import", "import-new", "import-folder", "import-bucket", "exports",
    "model-card", "api-docs",
)  # fmt: skip


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
