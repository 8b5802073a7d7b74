"""A project's settings: its name and guidelines, its classes, how it learns."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from labeler.access import Access, manager_access
from labeler.forms.classes import AddClassesForm, ClassForm
from labeler.forms.learning import LearningForm
from labeler.forms.projects import GeneralForm
from labeler.models import JobState, LabelClass, Project
from labeler.selectors.features import features_state
from labeler.selectors.networks import network_state
from labeler.selectors.workers import doings, missing_workers
from labeler.services import classes as service
from labeler.services.features import follow_choice, request_features, stop_features
from labeler.services.networks import leave_network, request_network, stop_network, take_network
from labeler.services.projects import change_learning, change_project, lock_learning, lock_project
from labeler.services.rounds import RoundRefused
from labeler.services.schedule import schedule_words, set_schedule

PAGE = ["GET", "HEAD", "POST"]
_FOLLOWS = "Images will be seen {}, as soon as a worker has found again which of them look alike."


@login_required
@require_http_methods(PAGE)
def general(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    if request.method != "POST":
        return _page(request, access, "general", form=_general_form(access.project))
    with transaction.atomic():  # nobody saves between the form's look at what is saved and its own save
        form = _general_form(lock_project(project=access.project), request.POST)
        if form.is_valid():
            change_project(project=access.project, **form.cleaned_data)
    if not form.is_valid():
        return _page(request, access, "general", form=form)
    messages.success(request, "Saved.")
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
            change_learning(project=access.project, values=form.learning_values)
            set_schedule(
                project=access.project, at=form.cleaned_data["schedule_at"], days=form.cleaned_data["schedule_days"]
            )
            access.project.learning.refresh_from_db()
            follow_choice(project=access.project, by=access.user)
    if not form.is_valid():
        return _page(request, access, "learning", form=form, **_learning_context(access))
    messages.success(request, "Saved. The model and what it asks change with the next round, all else at once.")
    has_holdout = access.project.images.filter(is_holdout=True).exists()
    for words in form.advice(people=access.project.memberships.count(), has_holdout=has_holdout):
        messages.warning(request, words)
    return redirect("learning-settings", slug)


def _learning_context(access: Access) -> dict[str, object]:
    schedule = schedule_words(access.project.learning)
    return {"schedule": schedule, **_features_context(access), **_network_context(access)}


def _features_context(access: Access) -> dict[str, object]:
    state = features_state(access.project)
    return {
        "features": state,
        "missing_workers": missing_workers(["background"]) if state.made else [],
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
    stop_features(project=manager_access(request, slug).project)
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
    stop_network(project=manager_access(request, slug).project)
    return redirect("learning-settings", slug)


@login_required
@require_POST
def network_leave(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    if leave_network(project=access.project):
        messages.success(request, f"{_FOLLOWS.format('as before it')} No network is trained by itself now.")
    return redirect("learning-settings", slug)


@login_required
@require_POST
def network_take(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    access = manager_access(request, slug)
    if take_network(network=get_object_or_404(access.project.networks, pk=pk)):
        messages.success(request, _FOLLOWS.format(f"by network {pk} again"))
    return redirect("learning-settings", slug)


@login_required
@require_http_methods(PAGE)
def classes(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    form = AddClassesForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            added = service.add_classes(project=access.project, names=form.cleaned_data["names"])
            messages.success(request, f"{len(added)} added." if added else "They were all there already.")
            return redirect("classes", slug)
        except ValidationError as error:
            form.add_error("names", error)
    # The order is said again: Django leaves out that of the model where it groups.
    rows = list(access.project.classes.annotate(labelled=Count("images")).order_by("order", "id"))
    return _page(
        request,
        access,
        "classes",
        form=form,
        classes=[row for row in rows if not row.is_archived],
        archived=[row for row in rows if row.is_archived],
    )


@login_required
@require_http_methods(PAGE)
def class_edit(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    access = manager_access(request, slug)
    label_class = get_object_or_404(access.project.classes, pk=pk)
    form = ClassForm(request.POST or None, label_class=label_class)
    if request.method == "POST" and form.is_valid():
        try:
            service.change_class(label_class=label_class, **form.cleaned_data)
            messages.success(request, "Saved.")
            return redirect("classes", slug)
        except ValidationError as error:
            form.add_error(None, error)
    return _page(request, access, "class_edit", form=form, label_class=LabelClass.objects.get(pk=pk))


def class_action(act: Callable[[LabelClass, HttpRequest], None]) -> Callable[..., HttpResponse]:
    """A button on a row of the list of classes."""

    @login_required
    @require_POST
    @wraps(act)
    def run(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
        access = manager_access(request, slug)
        act(get_object_or_404(access.project.classes, pk=pk), request)
        return redirect("classes", slug)

    return run


@class_action
def class_archive(label_class: LabelClass, request: HttpRequest) -> None:
    service.archive_class(label_class=label_class)
    messages.success(
        request,
        f"“{label_class}” is offered no more. Its answers stay, and so do its labels. "
        "If that was a slip: “Offer again” at the end of this page.",
    )


@class_action
def class_restore(label_class: LabelClass, request: HttpRequest) -> None:
    service.restore_class(label_class=label_class)
    messages.success(request, f"“{label_class}” is offered again, at the end of the list.")


@class_action
def class_move(label_class: LabelClass, request: HttpRequest) -> None:
    service.move_class(label_class=label_class, steps=-1 if request.POST.get("to") == "up" else 1)


@login_required
@require_POST
def class_keys(request: HttpRequest, slug: str) -> HttpResponse:
    service.renew_keys(project=manager_access(request, slug).project)
    messages.success(request, "Keys follow the order of the list now.")
    return redirect("classes", slug)


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
    path("p/<slug:slug>/settings/classes/", classes, name="classes"),
    path("p/<slug:slug>/settings/classes/keys/", class_keys, name="class-keys"),
    path("p/<slug:slug>/settings/classes/<int:pk>/", class_edit, name="class-edit"),
    path("p/<slug:slug>/settings/classes/<int:pk>/archive/", class_archive, name="class-archive"),
    path("p/<slug:slug>/settings/classes/<int:pk>/restore/", class_restore, name="class-restore"),
    path("p/<slug:slug>/settings/classes/<int:pk>/move/", class_move, name="class-move"),
]
