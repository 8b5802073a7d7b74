"""What every page promises: policy, cookies, throttles, escaped names, safe redirects."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.crypto import get_random_string

from labeler.models import Invitation, Project, User
from labeler.services.invitations import invite
from tests.conftest import PASSWORD
from tests.labeler.queues import fill_queue

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>"
PAGES = ["home", "project-new", "password-change"]
PROJECT_PAGES = [
    "project-start", "label", "monitor", "rounds", "images", "imports", "import-new", "exports", "people", "settings",
    "learning-settings", "classes",
]  # fmt: skip


@pytest.fixture
def pages(project, manager, make_images, client_of) -> list[tuple[str, str]]:
    """Every page of the manager, with names that are attacks."""
    fill_queue(project, make_images(project, 3))
    Project.objects.filter(pk=project.pk).update(name=EVIL, guidelines=EVIL)
    project.classes.filter(name="cat").update(name=EVIL[:100])
    project.images.update(name=EVIL)
    User.objects.filter(username="ann").update(username=EVIL[:150])
    invite(project=project, role="annotator", note=EVIL, by=manager)
    client = client_of(manager)
    urls = [reverse(name) for name in PAGES] + [reverse(name, args=[project.slug]) for name in PROJECT_PAGES]
    urls.append(reverse("image", args=[project.slug, project.images.first().pk]))
    urls.append(reverse("round", args=[project.slug, 1]))
    urls.append(reverse("class-edit", args=[project.slug, project.classes.first().pk]))
    replies = [(url, client.get(url)) for url in urls]
    replies += of_others(project, manager, client_of)
    assert [url for url, reply in replies if reply.status_code not in (200, 404, 410)] == []
    assert [url for url, reply in replies if "unsafe" in reply.headers["Content-Security-Policy"]] == []
    return [(url, reply.content.decode()) for url, reply in replies]


def of_others(project: Project, manager: User, client_of):
    """The pages of annotators, of strangers with a link, of errors; and forms that give back what was typed."""
    annotator = client_of(project.memberships.get(role="annotator").user)
    link = reverse("invitation", args=[invite(project=project, role="annotator", note="", by=manager).token])
    replies = [(f"annotator {url}", annotator.get(url)) for url in ["/", reverse("label", args=[project.slug])]]
    replies.append(("invitation", Client().get(link)))
    typed = {
        "username": EVIL,
        "name": EVIL * 9,
        "classes": f"{EVIL}\n{EVIL}",
        "note": EVIL * 9,
        "role": EVIL,
        "names": "\x00",
    }
    replies.append(("invitation typed", Client().post(link, typed)))
    replies.append(("login typed", Client().post("/login/", {**typed, "password": "x", "next": EVIL})))
    Invitation.objects.exclude(note=EVIL).update(revoked_at="2020-01-01T00:00Z")
    replies.append(("invitation revoked", Client().get(link)))
    client = client_of(manager)
    for name in ("people", "settings", "classes", "learning-settings"):
        url = reverse(name, args=[project.slug])
        replies.append((f"{url} typed", client.post(url, typed)))
    replies.append(("new typed", client.post("/projects/new/", typed)))
    replies.append(("error", client.get("/<script>alert(1)</script>")))
    return replies


def test_names_are_text_on_every_page(pages) -> None:
    assert [url for url, html in pages if "<script>alert" in html or "<img src=x" in html] == []


def test_no_page_has_inline_scripts_or_styles(pages) -> None:
    for url, html in pages:
        assert " style=" not in html, url
        assert " onclick=" not in html, url
        for part in html.split("<script")[1:]:
            assert "src=" in part.split(">")[0] or "application/json" in part.split(">")[0], url


def test_the_policy_allows_nothing_inline(client_of, manager, project) -> None:
    policy = client_of(manager).get("/").headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy


def test_forms_carry_a_token_and_posts_need_it(manager, project) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(manager)
    reply = client.post("/projects/new/", {"name": "Sneaked in"})
    assert reply.status_code == 403
    assert not Project.objects.filter(name="Sneaked in").exists()


def sign_in(client: Client, username: str, password: str, **extra: str):
    return client.post("/login/", {"username": username, "password": password}, **extra)


def test_signing_in_changes_the_session(manager) -> None:
    client = Client()
    client.get("/login/")
    session = client.session
    session["before"] = 1
    session.save()
    before = session.session_key
    client.cookies["sessionid"] = before
    assert sign_in(client, "mia", PASSWORD).status_code == 302
    assert client.session.session_key != before
    cookie = client.cookies["sessionid"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


def test_next_does_not_lead_away(manager) -> None:
    reply = Client().post("/login/?next=https://evil.example/", {
        "username": "mia", "password": PASSWORD, "next": "https://evil.example/",
    })  # fmt: skip
    assert reply.headers["Location"] == "/"


def test_guessing_passwords_is_throttled(manager, settings) -> None:
    client = Client()
    for _ in range(settings.AXES_FAILURE_LIMIT):
        last = sign_in(client, "mia", "wrong")
    assert last.status_code == 429
    assert "15 min" in last.content.decode()
    assert sign_in(client, "mia", PASSWORD).status_code == 429


def test_the_login_page_does_not_tell_who_exists(manager) -> None:
    known, unknown = sign_in(Client(), "mia", "wrong"), sign_in(Client(), "nobody", "wrong")
    strip = lambda html: html.replace("mia", "").replace("nobody", "")  # noqa: E731
    words = [strip(reply.content.decode()).split("errorlist")[-1][:200] for reply in (known, unknown)]
    assert known.status_code == unknown.status_code == 200
    assert words[0].split("csrf")[0] == words[1].split("csrf")[0]


def test_a_strange_host_is_refused(manager) -> None:
    assert Client().get("/login/", headers={"host": "evil.example"}).status_code == 400


def test_signing_out_needs_a_post(client_of, manager) -> None:
    client = client_of(manager)
    assert client.get("/logout/").status_code == 405
    reply = client.post("/logout/")
    assert (reply.status_code, reply.headers["Clear-Site-Data"]) == (302, '"cache"')
    assert client.get("/").status_code == 302


# --- Invitations ----------------------------------------------------------------------------------------------------


@pytest.fixture
def link(project, manager) -> str:
    return reverse("invitation", args=[invite(project=project, role="annotator", note="", by=manager).token])


NEW = {"username": "newcomer", "password1": "a very long passphrase", "password2": "a very long passphrase"}


def test_an_invitation_makes_an_account_once(link, project) -> None:
    client = Client()
    assert client.get(link).status_code == 200
    assert client.post(link, NEW).headers["Location"] == f"/p/{project.slug}/label/"
    assert project.memberships.get(user__username="newcomer").role == "annotator"
    assert Client().get(link).status_code == 410
    assert Client().post(link, {**NEW, "username": "second"}).status_code == 410
    assert not User.objects.filter(username="second").exists()


def test_somebody_with_an_account_joins_with_one_button(link, project, client_of, stranger) -> None:
    client = client_of(stranger)
    assert client.get(link).status_code == 200
    client.post(link)
    assert project.memberships.filter(user=stranger).exists()


def test_weak_passwords_are_refused_beside_the_field(link) -> None:
    reply = Client().post(link, {**NEW, "password1": "12345678", "password2": "12345678"})
    assert reply.status_code == 200
    assert "too common" in reply.content.decode()


def test_revoked_and_unknown_links_open_nothing(link, project, client_of, manager) -> None:
    pk = Invitation.objects.get().pk
    client_of(manager).post(reverse("invitation-revoke", args=[project.slug, pk]))
    assert Client().get(link).status_code == 410
    assert Client().get(reverse("invitation", args=["guess"])).status_code == 404


def test_guessing_links_is_throttled(db) -> None:
    from django.core.cache import cache

    cache.clear()
    client = Client()
    seen = [client.get(reverse("invitation", args=[f"guess{number}"])).status_code for number in range(25)]
    assert seen[0] == 404
    assert seen[-1] == 429
    cache.clear()


def test_the_database_does_not_hold_the_token(link) -> None:
    token = link.rstrip("/").split("/")[-1]
    assert token not in str(Invitation.objects.values_list().get())


def test_signing_out_on_a_page_of_before_the_last_sign_in_says_what_to_do(manager, annotator) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(annotator)
    stale = token_in(client.get("/").content.decode())
    rotate(client, manager)
    reply = client.post("/logout/", {"csrfmiddlewaretoken": stale})
    page = reply.content.decode()
    assert reply.status_code == 403
    assert f"Sign out {manager.username}?" in page
    assert client.post("/logout/", {"csrfmiddlewaretoken": token_in(page)}).status_code == 302
    assert client.get("/").status_code == 302
    assert client.post("/logout/", {"csrfmiddlewaretoken": stale}).headers["Location"] == "/login/"  # they are out


def token_in(page: str) -> str:
    found = re.search('name="csrfmiddlewaretoken" value="(.+?)"', page)
    assert found is not None
    return found[1]


def rotate(client: Client, person) -> None:
    """Sign in as somebody else in another tab."""
    client.force_login(person)
    client.cookies["csrftoken"] = get_random_string(32)
