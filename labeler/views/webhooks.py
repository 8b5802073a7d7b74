"""Webhooks in a project's settings: made, tried, started again, deleted, and their deliveries. Managers only."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from labeler.access import Access, manager_access
from labeler.forms.webhooks import WebhookForm
from labeler.models import Webhook
from labeler.selectors.webhooks import is_any_on_its_way, last_deliveries, webhook_rows
from labeler.selectors.workers import missing_workers
from labeler.services.webhooks import TooManyTests, delete_webhook, make_webhook, send_test, start_webhook


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def webhooks(request: HttpRequest, slug: str) -> HttpResponse:
    """The list; a POST makes one, and shows its secret this one time."""
    access = manager_access(request, slug)
    form = WebhookForm(request.POST or None)
    secret = ""
    if request.method == "POST" and form.is_valid():
        try:
            secret = make_webhook(project=access.project, by=access.user, **form.cleaned_data).secret
            form = WebhookForm()
        except ValidationError as error:
            form.add_error(None, error)
    deliveries = last_deliveries(access.project)
    is_moving = is_any_on_its_way(deliveries)
    context = {
        "access": access,
        "tab": "settings",
        "page": "webhooks",
        "form": form,
        "secret": secret,
        "rows": webhook_rows(access.project),
        "deliveries": deliveries,
        "is_moving": is_moving,
        "missing_workers": missing_workers(["messages"]) if is_moving else [],
    }
    return render(request, "settings/webhooks.html", context)


@login_required
@require_POST
def webhook_test(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    try:
        send_test(webhook=_webhook(manager_access(request, slug), pk))
        messages.success(request, _("A test is on its way. What became of it stands below in a moment."))
    except TooManyTests as refused:
        messages.error(request, str(refused))
    return redirect("webhooks", slug)


@login_required
@require_POST
def webhook_start(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    access = manager_access(request, slug)
    if start_webhook(webhook=_webhook(access, pk), by=access.user):
        messages.success(request, _("It is told of events again, from now on."))
    else:
        messages.info(request, _("It was not stopped: nothing changed."))
    return redirect("webhooks", slug)


@login_required
@require_POST
def webhook_delete(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    access = manager_access(request, slug)
    delete_webhook(webhook=_webhook(access, pk), by=access.user)
    messages.success(request, _("Deleted. It is told of nothing any more."))
    return redirect("webhooks", slug)


def _webhook(access: Access, pk: int) -> Webhook:
    return get_object_or_404(access.project.webhooks.select_related("project"), pk=pk)


urlpatterns = [
    path("p/<slug:slug>/settings/webhooks/", webhooks, name="webhooks"),
    path("p/<slug:slug>/settings/webhooks/<int:pk>/test/", webhook_test, name="webhook-test"),
    path("p/<slug:slug>/settings/webhooks/<int:pk>/start/", webhook_start, name="webhook-start"),
    path("p/<slug:slug>/settings/webhooks/<int:pk>/delete/", webhook_delete, name="webhook-delete"),
]
