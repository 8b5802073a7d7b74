"""A person's own tokens, for their page."""

from __future__ import annotations

from django.db.models import Q

from labeler import clock
from labeler.models import ApiToken, User

SHOWN = 100


def own_tokens(user: User) -> list[ApiToken]:
    """Those that still open something, newest first. One statement."""
    now = clock.now()
    live = ApiToken.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), user=user, revoked_at=None)
    return list(live[:SHOWN])
