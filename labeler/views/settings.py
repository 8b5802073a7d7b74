"""A project's settings: its name and guidelines, and how it learns. Classes have views of their own."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from labeler.access import Access, manager_access
from labeler.forms.learning import LearningForm
from labeler.forms.projects import GeneralForm
from labeler.models import JobState, Project
from labeler.selectors.features import features_state
from labeler.selectors.networks import network_state
from labeler.selectors.workers import doings, missing_workers
from labeler.services.features import follow_choice, request_features, stop_features
from labeler.services.networks import leave_network, request_network, stop_network, take_network
from labeler.services.projects import change_learning, change_project, lock_learning, lock_project
from labeler.services.rounds import RoundRefused
from labeler.services.schedule import schedule_words, set_schedule

PAGE = ["GET", "HEAD", "POST"]
_FOLLOWS_BEFORE = gettext_lazy(
    "Images will be seen as before it, as soon as a worker has found again which of them look alike."
)
_FOLLOWS_AGAIN = gettext_lazy(
    "Images will be seen by network %(pk)s again, as soon as a worker has found again which of them look alike."
)


@login_required
@require_http_methods(PAGE)
def general(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    if request.method != "POST":
        return _page(request, access, "general", form=_general_form(access.project))
    with transaction.atomic():  # nobody saves between the form's look at what is saved and its own save
        form = _general_form(lock_project(project=access.project), request.POST)
        if form.is_valid():
            change_project(project=access.project, by=access.user, **form.cleaned_data)
    if not form.is_valid():
        return _page(request, access, "general", form=form)
    messages.success(request, _("Saved."))
    return redirect("settings", slug)


def _general_form(project: Project, data: QueryDict | None = None) -> GeneralForm:
    return GeneralForm(data, initial={"name": project.name, "guidelines": project.guidelines})


@login_required
@require_http_methods(PAGE)
def learning(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    config = access.project.learning
    if request.method != "POST":
        form = LearningForm(initial=LearningForm.initial_of(config))
        return _page(request, access, "learning", form=form, **_learning_context(access))
    with transaction.atomic():  # as above; and both are saved or neither
        config = lock_learning(project=access.project)
        form = LearningForm(request.POST, initial=LearningForm.initial_of(config))
        if form.is_valid():
            change_learning(project=access.project, values=form.learning_values, by=access.user)
            set_schedule(
                project=access.project,
                at=form.cleaned_data["schedule_at"],
                days=form.cleaned_data["schedule_days"],
                by=access.user,
            )
            access.project.learning.refresh_from_db()
            follow_choice(project=access.project, by=access.user)
    if not form.is_valid():
        return _page(request, access, "learning", form=form, **_learning_context(access))
    messages.success(request, _("Saved. The model and what it asks change with the next round, all else at once."))
    has_holdout = access.project.images.filter(is_holdout=True).exists()
    for words in form.advice(
        people=access.project.memberships.filter(deactivated_at__isnull=True).count(), has_holdout=has_holdout
    ):
        messages.warning(request, words)
    return redirect("learning-settings", slug)


def _learning_context(access: Access) -> dict[str, object]:
    schedule = schedule_words(access.project.learning)
    return {"schedule": schedule, **_features_context(access), **_network_context(access)}


def _features_context(access: Access) -> dict[str, object]:
    state = features_state(access.project)
    return {
        "features": state,
        "missing_workers": missing_workers(["background"]) if state.made or state.is_coming else [],
        "busy_workers": doings("background") if state.made and state.made.state == JobState.QUEUED else [],
    }


@never_cache
@require_safe
@login_required
def features(request: HttpRequest, slug: str) -> HttpResponse:
    """The part of the page that says how far the features are."""
    access = manager_access(request, slug)
    return render(request, "settings/_features.html", {"access": access, **_features_context(access)})


@login_required
@require_POST
def features_start(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    request_features(project=access.project, by=access.user)
    return redirect("learning-settings", slug)


@login_required
@require_POST
def features_stop(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    stop_features(project=access.project, by=access.user)
    return redirect("learning-settings", slug)


def _network_context(access: Access) -> dict[str, object]:
    state = network_state(access.project)
    return {"network": state, "network_workers": missing_workers(["background"]) if state.made else []}


@never_cache
@require_safe
@login_required
def network(request: HttpRequest, slug: str) -> HttpResponse:
    """The part of the page that says how far the network is, and what came of the last."""
    access = manager_access(request, slug)
    return render(request, "settings/_network.html", {"access": access, **_network_context(access)})


@login_required
@require_POST
def network_start(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    try:
        request_network(project=access.project, by=access.user)
    except RoundRefused as refused:
        messages.error(request, str(refused))
    return redirect("learning-settings", slug)


@login_required
@require_POST
def network_stop(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    stop_network(project=access.project, by=access.user)
    return redirect("learning-settings", slug)


@login_required
@require_POST
def network_leave(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    if leave_network(project=access.project, by=access.user):
        messages.success(request, f"{_FOLLOWS_BEFORE} {_('No network is trained by itself now.')}")
    return redirect("learning-settings", slug)


@login_required
@require_POST
def network_take(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    access = manager_access(request, slug)
    if take_network(network=get_object_or_404(access.project.networks, pk=pk), by=access.user):
        messages.success(request, _FOLLOWS_AGAIN % {"pk": pk})
    return redirect("learning-settings", slug)


def _page(request: HttpRequest, access: Access, page: str, **context: object) -> HttpResponse:
    return render(request, f"settings/{page}.html", {"access": access, "tab": "settings", "page": page, **context})


urlpatterns = [
    path("p/<slug:slug>/settings/", general, name="settings"),
    path("p/<slug:slug>/settings/learning/", learning, name="learning-settings"),
    path("p/<slug:slug>/settings/learning/features/", features, name="features"),
    path("p/<slug:slug>/settings/learning/features/start/", features_start, name="features-start"),
    path("p/<slug:slug>/settings/learning/features/stop/", features_stop, name="features-stop"),
    path("p/<slug:slug>/settings/learning/network/", network, name="network"),
    path("p/<slug:slug>/settings/learning/network/start/", network_start, name="network-start"),
    path("p/<slug:slug>/settings/learning/network/stop/", network_stop, name="network-stop"),
    path("p/<slug:slug>/settings/learning/network/leave/", network_leave, name="network-leave"),
    path("p/<slug:slug>/settings/learning/network/<int:pk>/take/", network_take, name="network-take"),
]
