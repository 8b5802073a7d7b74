"""Every address x every kind of person. An address that is not in the table fails the test: nothing is added unseen."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import pytest
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse

from labeler.models import (
    AuditEntry,
    ClassChange,
    Comment,
    ExportJob,
    Image,
    ImportJob,
    Invitation,
    JobState,
    LearningConfig,
    Membership,
    ModelExport,
    Notice,
    PoolNetwork,
    Prediction,
    Project,
    Role,
    Round,
    RoundState,
    Trigger,
    Webhook,
)
from tests.labeler.queues import fill_queue

EVERYBODY = {"health", "login", "logout", "invitation", "language", "script-words", "api-docs", "metrics"}
SIGNED_IN = {"home", "project-new", "password-change", "tokens"}
OWN_OBJECTS = {"token-revoke"}  # of the person alone: tests/labeler/test_tokens_page.py
SCRIPTS = {"label-next", "label-answer", "label-undo", "label-leases", "label-comment"}  # 401 instead of a redirect
MEMBERS = {
    "label", "label-read", "proposal-take-back", "comment-send", "reply-read", "guide", *SCRIPTS, "media", "images",
    "image",
}  # fmt: skip
MANAGERS = {
    "settings", "learning-settings", "classes", "class-keys", "class-edit", "class-archive", "class-restore",
    "class-move", "class-merge", "class-split", "class-changes", "class-change-undo", "class-proposing", "proposals",
    "proposal-decide", "people", "audit", "audit-file", "member-deactivate", "member-return", "member-release",
    "invitation-revoke", "member-role", "member-remove", "project-start", "image-return", "images-return",
    "images-return-undo",
    "imports", "import-new", "import", "import-part", "import-finish", "import-cancel", "import-retry",
    "import-rejected", "import-labels", "import-start", "import-columns", "import-folder", "import-bucket",
    "exports", "export-file", "export-manifest", "export-cancel", "export-delete",
    "monitor-state", "rounds", "round-start", "round",
    "round-cancel", "round-retry", "explore", "explore-points", "explore-states", "explore-map-points", "explore-map",
    "explore-draw", "explore-tiles", "explore-send", "explore-at", "explore-thumb", "gallery", "compare",
    "compare-start", "features", "features-start", "features-stop", "replay", "replay-state", "replay-start",
    "replay-cancel", "answers", "annotator", "review", "review-undo", "gold", "gold-mark", "gold-unmark",
    "network", "network-start", "network-stop", "network-leave", "network-take",
    "worth", "notices", "notice-dismiss", "notices-dismiss", "project-pause", "project-resume", "project-copy",
    "round-charge", "charge-release", "round-rerun", "round-rerun-stop", "round-model", "round-confusion",
    "comments", "comment-close", "example", "webhooks", "webhook-test", "webhook-start", "webhook-delete",
    "model-prepare", "model-prepare-stop", "model-card",
    "predictions", "prediction-file", "prediction-stop",
}  # fmt: skip
IF_ALLOWED = {"grid", "grid-undo", "try", "predict"}  # to annotators where the settings say so
SENDS_ANNOTATORS_ON = {"monitor"}  # to the Label page
OF_A_PROJECT = MEMBERS | MANAGERS | IF_ALLOWED | SENDS_ANNOTATORS_ON


def names() -> set[str]:
    found = set()
    for group in get_resolver().url_patterns:
        if str(group.pattern) in ("admin/", "api/v1/"):  # the API has a matrix of its own: tests/labeler/api
            continue
        found |= {each.name for each in getattr(group, "url_patterns", [group]) if isinstance(each, URLPattern)}
    return found


@dataclass
class World:
    project: Project
    ids: dict[str, int | str]

    def url(self, name: str, slug: str | None = None) -> str:
        pattern = {
            "class-edit": "class", "class-archive": "class", "class-restore": "class", "class-move": "class",
            "class-merge": "class", "class-split": "class", "proposal-decide": "class", "proposal-take-back": "class",
            "class-change-undo": "change",
            "audit-file": "format", "member-deactivate": "member", "member-return": "member",
            "member-release": "member",
            "invitation-revoke": "invitation", "member-role": "member", "member-remove": "member",
            "media": "image", "image": "image", "image-return": "image", "gold-unmark": "image",
            "images-return-undo": "returned",
            "annotator": "person", "example": "image", "comment-close": "comment",
            "import": "import", "import-part": "import", "import-finish": "import", "import-cancel": "import",
            "import-retry": "import", "import-start": "import", "import-columns": "import",
            "import-rejected": "import", "import-labels": "import", "export-file": "export",
            "export-manifest": "export", "export-cancel": "export", "export-delete": "export",
            "round": "round", "round-cancel": "round", "round-retry": "round",
            "round-charge": "round", "round-rerun": "round", "round-rerun-stop": "round", "round-model": "round",
            "round-confusion": "round", "model-prepare": "round", "model-prepare-stop": "round", "model-card": "round",
            "prediction-file": "prediction", "prediction-stop": "prediction",
            "network-take": "network", "notice-dismiss": "notice",
            "explore-points": "scored", "explore-states": "scored", "explore-map-points": "scored",
            "webhook-test": "webhook", "webhook-start": "webhook", "webhook-delete": "webhook",
            "explore-at": "position", "explore-thumb": "position", "gallery": "gallery",
        }  # fmt: skip
        arguments: list[object] = [slug or self.project.slug]
        if name in pattern:
            arguments.append(self.ids[pattern[name]])
        return reverse(name, args=arguments)


def build(project: Project, manager, make_images) -> World:
    images = make_images(project, 3)
    fill_queue(project, images)
    failed = Round.objects.create(
        project=project, number=7, trigger=Trigger.BUTTON, reason="", seed=0, state=RoundState.FAILED
    )
    scored = Round.objects.create(
        project=project, number=8, trigger=Trigger.BUTTON, reason="", seed=0, state=RoundState.DONE, folder="rounds/8"
    )
    return World(
        project,
        {
            "class": project.classes.first().pk if project.classes.exists() else 0,
            "image": images[0].pk,
            "format": "csv",
            "change": ClassChange.objects.create(
                project=project,
                kind="archive",
                words="archived “owl”",
                state=JobState.DONE,
                did={
                    "class": project.classes.last().pk,
                    "classes": [],
                    "group": [],
                    "step": "",
                    "before": {"fate": "", "is_archived": False, "shortcut": ""},
                },
            ).pk
            if project.classes.exists()
            else 0,
            "member": project.memberships.get(user=manager).pk,
            "invitation": Invitation.objects.create(
                project=project, role=Role.ANNOTATOR, token_hash=f"hash of {project.slug}", created_by=manager
            ).pk,
            "import": ImportJob.objects.create(project=project, created_by=manager, state=JobState.DONE).pk,
            "export": ExportJob.objects.create(
                project=project, created_by=manager, state=JobState.DONE, format="csv"
            ).pk,
            "comment": Comment.objects.create(
                project=project, image=images[0], by=manager, text="?", key=uuid.uuid4()
            ).pk,
            "network": PoolNetwork.objects.create(project=project, seed=0, labels={}, answers=0, checkpoint="").pk,
            "webhook": Webhook.objects.create(project=project, address="https://example.org/", events=["test"]).pk,
            "prediction": Prediction.objects.create(
                project=project,
                state=JobState.DONE,
                format="csv",
                name="a.zip",
                model=ModelExport.objects.create(project=project, round=scored),
            ).pk,
            "round": failed.number,
            "scored": scored.number,
            "position": images[0].position,
            "gallery": "sure",
            "person": manager.pk,
            "returned": AuditEntry.objects.create(
                project=project, by=manager, kind="review", words="", details={"images": {"bad": [images[0].pk]}}
            ).pk,
            "notice": Notice.objects.create(project=project, kind="queue_dry", key="3", words="Nothing is left.").pk,
        },
    )


@pytest.fixture
def world(project, manager, make_images) -> World:
    return build(project, manager, make_images)


def statuses(client: Client, url: str) -> set[int]:
    return {client.get(url).status_code, client.post(url).status_code}


def test_every_address_is_in_the_table() -> None:
    assert names() == EVERYBODY | SIGNED_IN | OWN_OBJECTS | OF_A_PROJECT


@pytest.mark.parametrize("name", sorted(OF_A_PROJECT))
def test_strangers_get_404(world, client_of, stranger, name) -> None:
    assert statuses(client_of(stranger), world.url(name)) <= {404, 405}
    assert statuses(client_of(stranger), world.url(name)) & {404}


@pytest.mark.parametrize("name", sorted(OF_A_PROJECT))
def test_who_is_signed_out_is_asked_to_sign_in(world, name) -> None:
    url = world.url(name)
    seen = statuses(Client(), url)
    assert seen <= ({401, 405} if name in SCRIPTS else {302, 401, 404, 405})
    if 302 in seen:
        reply = Client().get(url)
        target = reply.headers.get("Location", "") or Client().post(url).headers["Location"]
        assert target.startswith("/login/")


@pytest.mark.parametrize("name", sorted(MANAGERS | IF_ALLOWED))
def test_annotators_get_403_where_managers_work(world, client_of, annotator, name) -> None:
    seen = statuses(client_of(annotator), world.url(name))
    assert seen <= {403, 405}
    assert 403 in seen


@pytest.mark.parametrize("name", sorted(MEMBERS - {"media"}))
def test_annotators_open_what_is_theirs(world, client_of, annotator, name) -> None:
    assert statuses(client_of(annotator), world.url(name)) <= {200, 302, 400, 405}


def test_an_annotator_who_opens_the_monitor_is_sent_on(world, client_of, annotator) -> None:
    assert client_of(annotator).get(world.url("monitor")).headers["Location"] == world.url("label")


@pytest.mark.parametrize("name", sorted(OF_A_PROJECT - {"media", "export-file", "round-model", "prediction-file"}))
def test_managers_are_never_refused(world, client_of, manager, name) -> None:
    assert not statuses(client_of(manager), world.url(name)) & {403, 404, 500}


@pytest.mark.parametrize("name", sorted(OF_A_PROJECT))
def test_objects_of_another_project_are_not_there(world, client_of, make_user, make_images, name) -> None:
    """A manager of one project puts ids of another into the addresses of their own."""
    other_manager = make_user("olga")
    other = Project.objects.create(name="Other", slug="other")
    LearningConfig.objects.create(project=other)
    Membership.objects.create(project=other, user=other_manager, role=Role.MANAGER)
    foreign = world.url(name, slug="other")
    client = client_of(other_manager)
    if any(character.isdigit() for character in foreign):
        assert statuses(client, foreign) <= {404, 405}
        assert 404 in statuses(client, foreign)
    assert Image.objects.filter(project=world.project).count() == 3
    assert not Invitation.objects.exclude(revoked_at=None).exists()


def test_a_site_admin_manages_every_project(world, client_of, make_user) -> None:
    admin = make_user("root", is_superuser=True, is_staff=True)
    assert client_of(admin).get(world.url("monitor")).status_code == 200


@pytest.mark.parametrize("name", sorted(SIGNED_IN))
def test_own_pages_need_a_sign_in(name, db) -> None:
    assert Client().get(reverse(name)).headers["Location"].startswith("/login/")
