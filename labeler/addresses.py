"""Where a request comes from, for what is counted by address."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """The peer of the connection, or what the outermost of `settings.PROXIES` own proxies saw.

    Each proxy appends its peer to X-Forwarded-For: what stands further left came from the client and is not believed.
    """
    peer = str(request.META.get("REMOTE_ADDR", ""))
    if not settings.PROXIES:
        return peer
    seen = [part.strip() for part in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if part.strip()]
    return seen[-settings.PROXIES] if len(seen) >= settings.PROXIES else peer
