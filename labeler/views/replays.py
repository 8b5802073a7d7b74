"""What ordering saved: the project's answers replayed in its order and at random. Managers only."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from labeler.access import Access, manager_access
from labeler.numerals import numeral
from labeler.selectors.explore import gallery_pages
from labeler.selectors.replays import LEAST_HOLDOUT, LEAST_LABELS, replay_drawing, replay_state
from labeler.services.asked_work import stop_work
from labeler.services.replays import request_replay
from labeler.services.rounds import RoundRefused


@never_cache
@require_safe
@login_required
def replay_page(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    context = _context(access)
    shown = context["replay"].shown  # type: ignore[attr-defined]
    context |= {
        "tab": "explore",
        "page": "replay",
        "galleries": gallery_pages(),
        "drawing": replay_drawing(shown) if shown is not None else None,
        "result": shown.result if shown is not None else None,
        "target": numeral(100 * shown.result["target"], 1) if shown is not None else "",
    }
    return render(request, "explore/replay.html", context)


@never_cache
@require_safe
@login_required
def replay_progress(request: HttpRequest, slug: str) -> HttpResponse:
    """How far it is: polled while it is being played."""
    context = _context(manager_access(request, slug))
    response = render(request, "explore/_replay_state.html", context)
    if context["replay"].played is None:  # type: ignore[attr-defined]
        response.headers["HX-Refresh"] = "true"
    return response


@require_POST
@login_required
def replay_start(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    try:
        if request_replay(project=access.project, by=access.user) is None:
            messages.info(request, _("The answers are being replayed already."))
    except RoundRefused as refused:
        messages.error(request, str(refused))
    return redirect("replay", slug)


@require_POST
@login_required
def replay_cancel(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    played = replay_state(access.project).played
    if played is not None:
        stop_work(job=played, by=access.user)
    return redirect("replay", slug)


def _context(access: Access) -> dict[str, object]:
    least = {"least_labels": LEAST_LABELS, "least_holdout": LEAST_HOLDOUT}
    return {"access": access, "replay": replay_state(access.project), **least}


urlpatterns = [
    path("p/<slug:slug>/explore/replay/", replay_page, name="replay"),
    path("p/<slug:slug>/explore/replay/state/", replay_progress, name="replay-state"),
    path("p/<slug:slug>/explore/replay/start/", replay_start, name="replay-start"),
    path("p/<slug:slug>/explore/replay/cancel/", replay_cancel, name="replay-cancel"),
]
