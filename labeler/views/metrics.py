"""The site in numbers, for Prometheus. Off, which is 404, unless an operator has set a token or networks.

To whoever has not the one, or is not in the others, it is off, too.
"""

from __future__ import annotations

import ipaddress
from functools import cache
from hmac import compare_digest

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from labeler.addresses import client_address
from labeler.selectors.metrics import registry


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    if not _may(request):
        raise Http404
    return HttpResponse(generate_latest(registry()), content_type=CONTENT_TYPE_LATEST)


def _may(request: HttpRequest) -> bool:
    """All that is set has to hold."""
    token, networks = settings.METRICS_TOKEN, tuple(settings.METRICS_NETWORKS)
    if not token and not networks:
        return False
    if token and not compare_digest(request.headers.get("Authorization", "").encode(), f"Bearer {token}".encode()):
        return False
    return not networks or _is_in(client_address(request), networks)


def _is_in(address: str, networks: tuple[str, ...]) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in network for network in _networks(networks))


@cache
def _networks(texts: tuple[str, ...]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(text.strip()) for text in texts]


urlpatterns = [path("metrics", metrics, name="metrics")]
