"""Tokens: who a request is from, what it may do, and what becomes of one that is expired, revoked or nobody's."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.test import Client

from labeler import clock
from labeler.models import ApiToken
from labeler.services.tokens import find_token, make_token, revoke_token
from tests.labeler.api.conftest import ApiClient


@pytest.fixture(autouse=True)
def nothing_counted():
    cache.clear()


def test_a_token_is_kept_as_a_hash(manager):
    made = make_token(user=manager, name="a", scopes=["read"], days=3)
    row = ApiToken.objects.get()
    assert made.token.startswith("pm_") and len(made.token) > 40
    assert made.token not in str(ApiToken.objects.values().get())
    assert row.prefix == made.token[:11]
    assert find_token(made.token) == row
    assert find_token(made.token[:-1]) is None


@pytest.mark.parametrize(
    ("scopes", "days", "field"), [([], 1, "scopes"), (["all"], 1, "scopes"), (["read"], 0, "days")]
)
def test_nonsense_is_refused_by_field(manager, scopes, days, field):
    with pytest.raises(ValidationError) as refused:
        make_token(user=manager, name="a", scopes=scopes, days=days)
    assert field in refused.value.message_dict


def test_who_i_am(as_annotator, annotator):
    reply = as_annotator.get("/me")
    assert reply.status_code == 200
    assert reply.json()["person"] == {"id": annotator.pk, "username": "ann"}
    assert reply.json()["scopes"] == ["read", "annotate", "manage"]
    assert ApiToken.objects.get().last_used_at is not None


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer pm_nobody", "Basic bWlhOm1pYQ==", "Bearer \u00e9"])
def test_without_a_token_nobody_comes_in(db, header):
    reply = Client().get("/api/v1/me", headers={"Authorization": header} if header else {})
    assert reply.status_code == 401
    assert reply["Content-Type"] == "application/problem+json"
    assert reply["WWW-Authenticate"].startswith("Bearer")
    assert reply.json()["status"] == 401 and "API tokens" in reply.json()["detail"]


def test_a_session_is_no_token(client_of, manager, project):
    """So that no other site can make a signed-in browser do anything here."""
    assert client_of(manager).get("/api/v1/projects").status_code == 401


def test_expired_revoked_and_inactive(manager, project):
    made = make_token(user=manager, name="a", scopes=["read"], days=1)
    api = ApiClient(made.token)
    assert api.get("/me").status_code == 200
    ApiToken.objects.update(expires_at=clock.now() - timedelta(seconds=1))
    assert api.get("/me").status_code == 401
    ApiToken.objects.update(expires_at=None)
    manager.is_active = False
    manager.save()
    assert api.get("/me").status_code == 401
    manager.is_active = True
    manager.save()
    assert revoke_token(token=made.row) and not revoke_token(token=made.row)
    assert api.get("/me").status_code == 401


def test_who_tries_many_tokens_waits(db, settings):
    settings.API_UNKNOWN_TOKENS = 3
    api = ApiClient("pm_wrong")
    assert [api.get("/me").status_code for _ in range(4)] == [401, 401, 401, 429]
    assert api.get("/me")["Retry-After"] == "600"


def test_other_peoples_wrong_tokens_stop_nobody(api_of, manager, settings):
    """As behind one address with a forgotten script."""
    settings.API_UNKNOWN_TOKENS = 1
    stranger, api = ApiClient("pm_wrong"), api_of(manager)
    assert [stranger.get("/me").status_code for _ in range(2)] == [401, 429]
    assert api.get("/me").status_code == 200


def test_a_token_has_a_rate(api_of, manager, project, settings):
    settings.API_RATE = 2
    api = api_of(manager)
    replies = [api.get("/me") for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert replies[0]["RateLimit-Limit"] == "2" and replies[0]["RateLimit-Remaining"] == "1"
    assert 1 <= int(replies[2]["Retry-After"]) <= 60
    assert replies[2]["Content-Type"] == "application/problem+json"


def test_what_a_token_is_not_for_is_said(api_of, manager, project):
    reply = api_of(manager, "read").patch("/projects/signs", {"name": "Other"})
    assert reply.status_code == 403
    assert "“manage”" in reply.json()["detail"] and "“read”" in reply.json()["detail"]
