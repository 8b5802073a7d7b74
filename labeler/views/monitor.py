"""The manager's page: how good is it, is it getting better, what happens next, does anything need me."""

from __future__ import annotations

import time

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from labeler.access import manager_access, member_access
from labeler.selectors.curve import learning_curve
from labeler.selectors.monitor import monitor_of, people_rows

PEOPLE_SECONDS = 20


@never_cache
@require_safe
@login_required
def monitor(request: HttpRequest, slug: str) -> HttpResponse:
    access = member_access(request, slug)
    if not access.is_manager:
        return redirect("label", slug)
    context = {
        "access": access,
        "tab": "monitor",
        "monitor": monitor_of(access.project),
        "curve": learning_curve(access.project),
        "people": people_rows(access.project),
        "people_at": int(time.time()),
    }
    return render(request, "monitor/monitor.html", context)


@never_cache
@require_safe
@login_required
def monitor_state(request: HttpRequest, slug: str) -> HttpResponse:
    """The part that moves. The curve comes along only when it is another than the page has, and people
    (all answers are counted for them) then and every PEOPLE_SECONDS."""
    access = manager_access(request, slug)
    state = monitor_of(access.project)
    is_new = state.seen != request.GET.get("seen", "")
    are_due = is_new or not _is_lately(request.GET.get("people", ""))
    context = {
        "access": access,
        "monitor": state,
        "curve": learning_curve(access.project) if is_new else None,
        "people": people_rows(access.project) if are_due else None,
        "people_at": int(time.time()) if are_due else request.GET["people"],
    }
    return render(request, "monitor/_state.html", context)


def _is_lately(moment: str) -> bool:
    return moment.isdecimal() and 0 <= time.time() - int(moment) < PEOPLE_SECONDS


urlpatterns = [
    path("p/<slug:slug>/", monitor, name="monitor"),
    path("p/<slug:slug>/state/", monitor_state, name="monitor-state"),
]
