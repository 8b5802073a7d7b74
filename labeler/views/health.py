"""Is everything there? For supervisors, containers and load balancers; no sign-in, no secrets.

503 when this process cannot serve people, which is when the database is away or nothing can be written. A missing
broker or worker only delays rounds: answers still land, so it is told and is no reason to take the web process out of
service.
"""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from labeler.selectors.health import parts


@never_cache
@require_safe
def health(_request: HttpRequest) -> HttpResponse:
    found = parts()
    return JsonResponse(found, status=200 if found["database"] == found["disk"] == "ok" else 503)


urlpatterns = [path("health", health, name="health")]
