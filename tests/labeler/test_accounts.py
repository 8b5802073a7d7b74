"""Signing in, one's password, and whose address counts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.contrib.auth.views import redirect_to_login
from django.core.cache import cache
from django.test import Client, RequestFactory
from redis.exceptions import ConnectionError as RedisIsGone

from labeler.addresses import client_address
from labeler.throttle import Throttle
from tests.conftest import PASSWORD

LOGIN = {"username": "mia", "password": PASSWORD}


def test_signing_in_leads_to_where_one_wanted_to_go(project, manager) -> None:
    wanted = redirect_to_login("/p/signs/people/").headers["Location"]
    assert Client().get("/p/signs/people/").headers["Location"] == wanted
    reply = Client().post(wanted, {**LOGIN, "next": "/p/signs/people/"})
    assert reply.headers["Location"] == "/p/signs/people/"


@pytest.mark.parametrize("target", ["//evil.example", "https:evil.example", "javascript:alert(1)", "/\\evil.example"])
def test_no_spelling_of_next_leads_away(manager, target) -> None:
    assert Client().post("/login/", {**LOGIN, "next": target}).headers["Location"] == "/"


def test_who_is_signed_in_is_led_on(manager, client_of) -> None:
    assert client_of(manager).get("/login/").headers["Location"] == "/"


def test_somebody_else_may_sign_in_over_who_is_signed_in(manager, annotator, client_of) -> None:
    """As a page asks that was open when another person signed in: what it keeps is its own person's to send."""
    client = client_of(manager)
    assert client.get("/login/?switch&next=/p/signs/label/").status_code == 200
    form = {"username": "ann", "password": PASSWORD, "next": "/p/signs/label/"}
    assert client.post("/login/?switch&next=/p/signs/label/", form).headers["Location"] == "/p/signs/label/"
    assert client.session["_auth_user_id"] == str(annotator.pk)


def test_who_was_switched_off_is_told_no_more_than_others(manager) -> None:
    manager.is_active = False
    manager.save()
    html = Client().post("/login/", LOGIN).content.decode()
    assert "correct username and password" in html
    assert "inactive" not in html


def test_one_locked_name_does_not_lock_others(manager, annotator, settings) -> None:
    for _ in range(settings.AXES_FAILURE_LIMIT):
        locked = Client().post("/login/", {**LOGIN, "password": "wrong"})
    assert locked.status_code == 429
    assert "Too many attempts" in locked.content.decode()
    assert Client().post("/login/", {"username": "ann", "password": PASSWORD}).status_code == 302


def test_the_admins_door_has_the_same_lock(make_user, settings) -> None:
    make_user("root", is_staff=True, is_superuser=True)
    for _ in range(settings.AXES_FAILURE_LIMIT):
        reply = Client().post("/admin/login/", {"username": "root", "password": "wrong"})
    assert reply.status_code == 429
    assert Client().post("/login/", {"username": "root", "password": PASSWORD}).status_code == 429


def test_a_changed_password_signs_other_browsers_out(manager) -> None:
    here, there = Client(), Client()
    for client in (here, there):
        client.post("/login/", LOGIN)
    new = "a rather different passphrase"
    form = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    reply = here.post("/password/", form, follow=True)
    assert "Your password is changed" in reply.content.decode()
    assert here.get("/").status_code == 200
    assert there.get("/").status_code == 302
    assert Client().post("/login/", {**LOGIN, "password": new}).status_code == 302


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"old_password": "wrong"}, "entered incorrectly"),
        ({"new_password2": "another one entirely"}, "match"),
        ({"new_password1": "12345678", "new_password2": "12345678"}, "too common"),
        ({"new_password1": "mia", "new_password2": "mia"}, "too short"),
    ],
)
def test_a_bad_new_password_is_refused_beside_the_field(manager, client_of, change, words) -> None:
    new = "a rather different passphrase"
    form = {"old_password": PASSWORD, "new_password1": new, "new_password2": new, **change}
    assert words in client_of(manager).post("/password/", form).content.decode()
    manager.refresh_from_db()
    assert manager.check_password(PASSWORD)


@pytest.mark.parametrize("path", ["/login/", "/password/", "/invite/guess/"])
def test_pages_with_secrets_are_not_kept(manager, client_of, path) -> None:
    client = Client() if path == "/login/" else client_of(manager)
    assert "no-store" in client.get(path).headers["Cache-Control"]


# --- Addresses and counting -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "6.6.6.6", "10.0.0.1"),  # nobody is believed without a proxy
        (1, "6.6.6.6, 7.7.7.7", "7.7.7.7"),  # what the client wrote stands left
        (2, "6.6.6.6, 7.7.7.7, 10.0.0.9", "7.7.7.7"),
        (1, "", "10.0.0.1"),
        (2, "7.7.7.7", "10.0.0.1"),
    ],
)
def test_the_address_is_what_own_proxies_saw(settings, proxies, forwarded, expected) -> None:
    settings.PROXIES = proxies
    request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=forwarded)
    assert client_address(request) == expected


def test_a_forged_header_does_not_escape_the_throttle(manager, settings) -> None:
    for number in range(settings.AXES_FAILURE_LIMIT):
        reply = Client().post("/login/", {**LOGIN, "password": "no"}, HTTP_X_FORWARDED_FOR=f"9.9.9.{number}")
    assert reply.status_code == 429


def test_a_throttle_counts_by_key() -> None:
    throttle = Throttle("test", limit=2, seconds=60)
    cache.clear()
    for _ in range(2):
        assert not throttle.is_over("a")
        throttle.note_failure("a")
    assert throttle.is_over("a")
    assert not throttle.is_over("b")


def test_without_its_redis_a_throttle_locks_nobody_out(monkeypatch) -> None:
    def gone(*args: object, **kwargs: object) -> None:
        raise RedisIsGone("no redis")

    monkeypatch.setattr("labeler.throttle.cache", SimpleNamespace(get=gone, add=gone, incr=gone))
    throttle = Throttle("test", limit=1, seconds=60)
    throttle.note_failure("a")
    assert not throttle.is_over("a")
