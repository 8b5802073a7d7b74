"""Rounds: the list, one of them, and the buttons. Managers only."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from labeler.access import manager_access
from labeler.models import Round, RoundState, Trigger
from labeler.selectors.charge import charge_of_round
from labeler.selectors.confusion import cell_page
from labeler.selectors.disputes import has_disputes
from labeler.selectors.left_out import left_out_of
from labeler.selectors.model_files import NoModel, model_archive
from labeler.selectors.monitor import began_again, progress_of
from labeler.selectors.pool import LEAST_HOLDOUT, says_something, shown_offered
from labeler.selectors.reliability import reliability_of
from labeler.selectors.reruns import rerun_state
from labeler.selectors.rounds import can_try_again, class_rows, list_rounds, phases_of, queue_reasons, settings_of
from labeler.selectors.scores import NoScores
from labeler.selectors.served import export_of
from labeler.selectors.verdicts import class_names, rerun_words, verdict_of
from labeler.services.asked_work import stop_work
from labeler.services.comparisons import repeat_comparison
from labeler.services.reruns import request_rerun
from labeler.services.rollback import put_in_charge, release_model, remake_queue
from labeler.services.rounds import RoundRefused, cancel_round, request_round, retry_round
from labeler.told import told

RUNNING_WORDS = gettext_lazy("A round is running already. Its answers will be in the next one.")


@never_cache
@require_safe
@login_required
def rounds(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    page = Paginator(list_rounds(access.project), 50).get_page(request.GET.get("page"))
    names = class_names(access.project, *page)
    context = {
        "access": access,
        "tab": "rounds",
        "page": page,
        "rows": [(round_, verdict_of(round_, names), shown_offered(round_)) for round_ in page],
        "is_moving": any(round_.is_unfinished for round_ in page),
        "least_holdout": LEAST_HOLDOUT,
    }
    return render(request, "rounds/rounds.html", context)


@never_cache
@require_safe
@login_required
def round_page(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    access = manager_access(request, slug)
    round_ = get_object_or_404(
        Round.objects.select_related("requested_by", "asked_by"), project=access.project, number=number
    )
    rerun = rerun_state(round_) if round_.folder and round_.state == RoundState.DONE else None
    context = {
        "access": access,
        "tab": "rounds",
        "round": round_,
        "charge": charge_of_round(access.project, round_),
        "verdict": verdict_of(round_, class_names(access.project, round_)),
        "reliability": reliability_of(round_),
        "rerun": rerun,
        "export": export_of(round_) if round_.folder and round_.state == RoundState.DONE else None,
        "rerun_words": rerun_words(rerun.result) if rerun is not None and rerun.shown is not None else [],
        "progress": progress_of(round_) if round_.is_unfinished else None,
        "is_again": began_again(round_),
        "can_try_again": can_try_again(round_),
        "phases": phases_of(round_),
        "settings": settings_of(round_),
        "classes": class_rows(round_) if says_something(round_.metrics) else [],
        "is_measured": says_something(round_.metrics),
        "least_holdout": LEAST_HOLDOUT,
        "reasons": queue_reasons(round_),
        **_left_out(round_),
    }
    return render(request, "rounds/round.html", context)


def _left_out(round_: Round) -> dict[str, object]:
    """What its numbers leave out, and what of that can be settled now."""
    then = left_out_of(round_.metrics)
    is_open = bool(then.disputed) and has_disputes(round_.project)
    return {"left_out": then, "can_settle": is_open}


@require_POST
@login_required
def round_start(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    reason = told("%(person)s asked for it", person=access.user.get_username())
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
        messages.success(
            request,
            _("Round %(number)s is cancelled. The queue and the last model stay as they were.") % {"number": number},
        )
    else:
        messages.info(request, _("Round %(number)s was over already.") % {"number": number})
    return redirect("monitor", slug)


@require_POST
@login_required
def round_retry(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    access = manager_access(request, slug)
    round_ = get_object_or_404(Round, project=access.project, number=number)
    try:
        others: dict[str, Callable[..., Round | None]]
        others = {Trigger.COMPARISON: repeat_comparison, Trigger.CHARGE: remake_queue}
        again = others.get(round_.trigger, retry_round)
        if again(round_=round_, by=access.user) is None:
            messages.info(request, RUNNING_WORDS)
    except RoundRefused as refused:
        messages.error(request, str(refused))
    return redirect("monitor", slug)


@require_POST
@login_required
def round_charge(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    access = manager_access(request, slug)
    round_ = get_object_or_404(Round, project=access.project, number=number)
    try:
        if put_in_charge(round_=round_, by=access.user):
            words = _(
                "The model of round %(number)s is in charge, until somebody releases it. The queue is being made again."
            )
            messages.success(request, words % {"number": number})
        else:
            words = _("The model of round %(number)s was kept in charge already.")
            messages.info(request, words % {"number": number})
    except RoundRefused as refused:
        messages.error(request, str(refused))
    return redirect("round", slug, number)


@require_POST
@login_required
def charge_release(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    if release_model(project=access.project, by=access.user):
        messages.success(request, _("Released: the next round whose model is accepted takes charge."))
    else:
        messages.info(request, _("No model was kept in charge: nothing changed."))
    back = request.POST.get("back", "")
    if back.startswith("/") and url_has_allowed_host_and_scheme(back, allowed_hosts=None):
        return redirect(back)
    model = access.project.model_round
    return redirect("round", slug, model.number) if model is not None else redirect("rounds", slug)


@require_POST
@login_required
def round_rerun(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    access = manager_access(request, slug)
    round_ = get_object_or_404(Round.objects.select_related("project"), project=access.project, number=number)
    try:
        if request_rerun(round_=round_, by=access.user) is None:
            words = _("A round of this project is being run again already. Ask again when that has ended.")
            messages.info(request, words)
    except RoundRefused as refused:
        messages.error(request, str(refused))
    return redirect(f"{reverse('round', args=[slug, number])}#rerun")


@require_POST
@login_required
def round_rerun_stop(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    access = manager_access(request, slug)
    round_ = get_object_or_404(Round, project=access.project, number=number)
    made = rerun_state(round_).made
    if made is not None:
        stop_work(job=made, by=access.user)
    return redirect(f"{reverse('round', args=[slug, number])}#rerun")


@require_safe
@login_required
def round_model(request: HttpRequest, slug: str, number: int) -> FileResponse:
    access = manager_access(request, slug)
    round_ = get_object_or_404(Round, project=access.project, number=number, state=RoundState.DONE)
    try:
        archive = model_archive(round_)
    except NoModel as error:
        raise Http404(str(error)) from error
    return FileResponse(archive, as_attachment=True, filename=f"{slug}-round-{number}-model.zip")


@never_cache
@require_safe
@login_required
def round_confusion(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """The images of a cell: `?said=12&predicted=15`, ids of classes."""
    access = manager_access(request, slug)
    round_ = get_object_or_404(Round, project=access.project, number=number)
    said, predicted, page = (_number(request.GET.get(name, "")) for name in ("said", "predicted", "page"))
    if said is None or predicted is None:
        return redirect("round", slug, number)
    context: dict[str, object] = {"access": access, "tab": "rounds", "round": round_}
    try:
        cell = cell_page(access.project, round_, said, predicted, page or 1)
    except NoScores as error:
        return render(request, "rounds/confusion.html", {**context, "problem": str(error)})
    if cell is None:
        raise Http404("The round knows no such class")
    context |= {
        "cell": cell,
        "tiles": cell.tiles,
        "query": f"said={said}&predicted={predicted}",
        "number": cell.number,
        "pages": cell.pages,
        "earlier": cell.number - 1 if cell.number > 1 else None,
        "later": cell.number + 1 if cell.number < cell.pages else None,
    }
    return render(request, "rounds/confusion.html", context)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None


urlpatterns = [
    path("p/<slug:slug>/rounds/", rounds, name="rounds"),
    path("p/<slug:slug>/rounds/start/", round_start, name="round-start"),
    path("p/<slug:slug>/rounds/<int:number>/", round_page, name="round"),
    path("p/<slug:slug>/rounds/<int:number>/cancel/", round_cancel, name="round-cancel"),
    path("p/<slug:slug>/rounds/<int:number>/retry/", round_retry, name="round-retry"),
    path("p/<slug:slug>/rounds/<int:number>/charge/", round_charge, name="round-charge"),
    path("p/<slug:slug>/rounds/release/", charge_release, name="charge-release"),
    path("p/<slug:slug>/rounds/<int:number>/rerun/", round_rerun, name="round-rerun"),
    path("p/<slug:slug>/rounds/<int:number>/rerun/stop/", round_rerun_stop, name="round-rerun-stop"),
    path("p/<slug:slug>/rounds/<int:number>/model/", round_model, name="round-model"),
    path("p/<slug:slug>/rounds/<int:number>/confusion/", round_confusion, name="round-confusion"),
]
