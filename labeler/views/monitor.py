"""The manager's page: how good is it, is it getting better, what happens next, does anything need me."""

from __future__ import annotations

import time

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from labeler.access import Access, manager_access, member_access
from labeler.models import NoticeKind, Project
from labeler.selectors.curve import learning_curve
from labeler.selectors.effort import efforts_of
from labeler.selectors.forecast import advice_of, curve_ahead
from labeler.selectors.monitor import Monitor, monitor_of
from labeler.selectors.notices import unread_notices
from labeler.selectors.projects import Steps, first_steps
from labeler.selectors.weak_classes import weak_classes
from labeler.selectors.worth import saved_by_order

PEOPLE_SECONDS = 20


@never_cache
@require_safe
@login_required
def monitor(request: HttpRequest, slug: str) -> HttpResponse:
    access = member_access(request, slug)
    if not access.is_manager:
        return redirect("label", slug)
    state = monitor_of(access.project)
    context = {
        "access": access,
        "tab": "monitor",
        "page": "monitor",
        "monitor": state,
        **_told(access, state),
        "steps": steps_left(access.project),
        **_curve(access.project, state),
        "people": efforts_of(access.project),
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
        **_told(access, state),
        **(_curve(access.project, state) if is_new else {"curve": None}),
        "people": efforts_of(access.project) if are_due else None,
        "people_at": int(time.time()) if are_due else request.GET["people"],
    }
    return render(request, "monitor/_state.html", context)


def _told(access: Access, state: Monitor) -> dict[str, object]:
    """Notices without the failures that the page shows anyway, with a button to try again. What is left to answer is
    not said beside a notice that says just that; a notice of an end that is over is left out before a sweep sees it."""
    rows = unread_notices(access.project, access.user) if access.notices else []
    shown = {failure.pk for failure in state.failures}
    rows = [row for row in rows if row.kind != NoticeKind.ROUND_FAILED or row.round_id not in shown]
    left = state.left
    rows = [row for row in rows if not row.facts or row.key == left.notice_key]
    told = [row for row in rows if row.facts]
    for row in told:
        row.facts, row.words = left.facts, left.words
    return {"notices": rows, "left": None if told or not left.facts else left}


def _curve(project: Project, state: Monitor) -> dict[str, object]:
    """The curve with what it leads to, and where the model is weak."""
    curve = learning_curve(project)
    return {
        "curve": curve_ahead(project, curve, state.counts),
        "advice": advice_of(project, curve.points, state.counts),
        "saved": saved_by_order(project),
        "weak": weak_classes(project, state.charge.model),
    }


def steps_left(project: Project) -> Steps | None:
    """The first steps, until they are done or dismissed, or a model is in charge."""
    if project.steps_dismissed_at is not None or project.model_round_id is not None:
        return None
    steps = first_steps(project)
    return None if steps.is_over else steps


def _is_lately(moment: str) -> bool:
    return moment.isdecimal() and 0 <= time.time() - int(moment) < PEOPLE_SECONDS


urlpatterns = [
    path("p/<slug:slug>/", monitor, name="monitor"),
    path("p/<slug:slug>/state/", monitor_state, name="monitor-state"),
]
