"""Keys to the API: made, found, revoked. The token is known to its person alone; the database keeps its hash."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from labeler import clock
from labeler.models import ApiReply, ApiToken, Scope, User
from labeler.models.tokens import MARK, SHOWN
from labeler.numerals import numeral

MOST_LIVE = 50  # of a person
MOST_DAYS = 3650
USE_NOTED = timedelta(minutes=1)  # a token's last use is written no more often
REPLIES_KEPT = timedelta(days=1)
SWEEP_AT_ONCE = 1000


@dataclass(frozen=True)
class NewToken:
    row: ApiToken
    token: str


@transaction.atomic
def make_token(*, user: User, name: str, scopes: Collection[str], days: int | None) -> NewToken:
    """`days`: how long it is good for; None: until it is revoked. Raises ValidationError, naming the field."""
    wanted = [scope for scope in Scope.values if scope in scopes]
    if not wanted or set(scopes) - set(wanted):
        raise ValidationError({"scopes": _("Choose at least one thing that the token may do.")})
    if days is not None and not 1 <= days <= MOST_DAYS:
        raise ValidationError({"days": _("From 1 to %(most)s days.") % {"most": numeral(MOST_DAYS)}})
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    now = clock.now()
    live = ApiToken.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), user=user, revoked_at=None)
    if live.count() >= MOST_LIVE:
        raise ValidationError({"name": _("You have %(number)s tokens. Revoke some first.") % {"number": MOST_LIVE}})
    token = ApiToken.new_token()
    row = ApiToken(
        user=user,
        name=name,
        prefix=token[: len(MARK) + SHOWN],
        token_hash=ApiToken.hash_token(token),
        scopes=wanted,
        expires_at=now + timedelta(days=days) if days is not None else None,
    )
    row.full_clean(exclude=["user", "expires_at", "last_used_at", "revoked_at"])
    row.save()
    return NewToken(row, token)


def find_token(token: str) -> ApiToken | None:
    """The live token of an active person, whose last use is noted. One statement, and a write once a minute."""
    if not token.startswith(MARK) or len(token) > 200:
        return None
    row = ApiToken.objects.select_related("user").filter(token_hash=ApiToken.hash_token(token)).first()
    if row is None or not row.is_live or not row.user.is_active:
        return None
    now = clock.now()
    if row.last_used_at is None or row.last_used_at < now - USE_NOTED:
        ApiToken.objects.filter(pk=row.pk).update(last_used_at=now)
    return row


def revoke_token(*, token: ApiToken) -> bool:
    """False: it was revoked before."""
    return ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=clock.now()) == 1


def forget_replies() -> int:
    """The sweep's part: replies that nobody will ask for again."""
    old = ApiReply.objects.filter(created_at__lt=clock.now() - REPLIES_KEPT).order_by("created_at")
    ids = list(old.values_list("pk", flat=True)[:SWEEP_AT_ONCE])
    return ApiReply.objects.filter(pk__in=ids).delete()[0] if ids else 0
