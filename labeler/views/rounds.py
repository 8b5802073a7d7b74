"""Rounds: the list, one of them, and the buttons. Managers only."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from labeler.access import manager_access
from labeler.models import Round, Trigger
from labeler.selectors.monitor import began_again, progress_of
from labeler.selectors.pool import LEAST_HOLDOUT, says_something
from labeler.selectors.rounds import class_rows, list_rounds, phases_of, queue_reasons, settings_of
from labeler.services.comparisons import repeat_comparison
from labeler.services.rounds import RoundRefused, cancel_round, request_round, retry_round

RUNNING_WORDS = "A round is running already. Its answers will be in the next one."


@never_cache
@require_safe
@login_required
def rounds(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    page = Paginator(list_rounds(access.project), 50).get_page(request.GET.get("page"))
    context = {
        "access": access,
        "tab": "rounds",
        "page": page,
        "is_moving": any(round_.is_unfinished for round_ in page),
        "least_holdout": LEAST_HOLDOUT,
    }
    return render(request, "rounds/rounds.html", context)


@never_cache
@require_safe
@login_required
def round_page(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    access = manager_access(request, slug)
    round_ = get_object_or_404(Round.objects.select_related("requested_by"), project=access.project, number=number)
    context = {
        "access": access,
        "tab": "rounds",
        "round": round_,
        "progress": progress_of(round_) if round_.is_unfinished else None,
        "is_again": began_again(round_),
        "phases": phases_of(round_),
        "settings": settings_of(round_),
        "classes": class_rows(round_) if says_something(round_.metrics) else [],
        "is_measured": says_something(round_.metrics),
        "least_holdout": LEAST_HOLDOUT,
        "reasons": queue_reasons(round_),
    }
    return render(request, "rounds/round.html", context)


@require_POST
@login_required
def round_start(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    reason = f"{access.user.get_username()} asked for it"
    try:
        round_ = request_round(project=access.project, trigger=Trigger.BUTTON, reason=reason, requested_by=access.user)
    except RoundRefused as refused:
        messages.error(request, str(refused))
    else:
        if round_ is None:
            messages.info(request, RUNNING_WORDS)
    return redirect("monitor", slug)


@require_POST
@login_required
def round_cancel(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    access = manager_access(request, slug)
    round_ = get_object_or_404(Round, project=access.project, number=number)
    if cancel_round(round_=round_, by=access.user):
        messages.success(request, f"Round {number} is cancelled. The queue and the last model stay as they were.")
    else:
        messages.info(request, f"Round {number} was over already.")
    return redirect("monitor", slug)


@require_POST
@login_required
def round_retry(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    access = manager_access(request, slug)
    round_ = get_object_or_404(Round, project=access.project, number=number)
    try:
        again = repeat_comparison if round_.trigger == Trigger.COMPARISON else retry_round
        if again(round_=round_, by=access.user) is None:
            messages.info(request, RUNNING_WORDS)
    except RoundRefused as refused:
        messages.error(request, str(refused))
    return redirect("monitor", slug)


urlpatterns = [
    path("p/<slug:slug>/rounds/", rounds, name="rounds"),
    path("p/<slug:slug>/rounds/start/", round_start, name="round-start"),
    path("p/<slug:slug>/rounds/<int:number>/", round_page, name="round"),
    path("p/<slug:slug>/rounds/<int:number>/cancel/", round_cancel, name="round-cancel"),
    path("p/<slug:slug>/rounds/<int:number>/retry/", round_retry, name="round-retry"),
]
