"""The page of one's own tokens: shown once, one's own alone, gone when revoked."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from labeler.models import ApiToken
from labeler.services.tokens import find_token, make_token

FORM = {"name": "night script", "scopes": ["read", "annotate"], "days": "30"}


def test_it_is_shown_once(client_of, annotator):
    client = client_of(annotator)
    reply = client.post("/tokens/", FORM)
    token = reply.context["token"]
    assert find_token(token).scopes == ["read", "annotate"]
    assert token in reply.content.decode()
    again = client.get("/tokens/").content.decode()
    assert token not in again and ApiToken.objects.get().prefix in again and "night script" in again


def test_it_may_be_good_until_it_is_revoked(client_of, annotator):
    client_of(annotator).post("/tokens/", FORM | {"days": ""})
    assert ApiToken.objects.get().expires_at is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scopes": []}, "Choose at least one thing"),
        ({"scopes": ["all"]}, "Choose"),
        ({"days": "0"}, "1 or more"),
        ({"name": " "}, "This is needed"),
        ({"days": "99999"}, "or less"),
    ],
)
def test_mistakes_are_said(client_of, annotator, change, words):
    page = client_of(annotator).post("/tokens/", FORM | change)
    assert words in page.content.decode() and not ApiToken.objects.exists()


def test_without_any_the_page_says_what_to_do(client_of, annotator):
    assert "You have no token" in client_of(annotator).get("/tokens/").content.decode()


def test_revoking_twice(client_of, annotator):
    made = make_token(user=annotator, name="a", scopes=["read"], days=None)
    client, url = client_of(annotator), reverse("token-revoke", args=[made.row.pk])
    assert "is revoked" in client.post(url, follow=True).content.decode()
    assert find_token(made.token) is None
    assert "was revoked before" in client.post(url, follow=True).content.decode()
    assert client.get(url).status_code == 405


def test_nobody_revokes_anothers(client_of, annotator, manager):
    made = make_token(user=annotator, name="a", scopes=["read"], days=None)
    url = reverse("token-revoke", args=[made.row.pk])
    assert client_of(manager).post(url).status_code == 404
    assert Client().post(url).headers["Location"].startswith("/login/")
    assert find_token(made.token) is not None


def test_the_page_reads_as_much_whatever_there_is(client_of, annotator, django_assert_num_queries):
    for _ in range(3):
        make_token(user=annotator, name="a", scopes=["read"], days=None)
    client = client_of(annotator)
    client.get("/tokens/")
    with django_assert_num_queries(3):  # session, person, tokens
        client.get("/tokens/")


def test_what_the_api_can_do_is_a_page_for_everybody(db):
    page = Client().get("/api/v1/docs/")
    words = page.content.decode()
    assert page.status_code == 200 and words.count('class="api-operation"') > 75
    assert "/api/v1/projects/{slug}/images" in words and 'id="too-many-requests"' in words
    assert Client().post("/api/v1/docs/").status_code == 405
    document = Client().get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
