"""Notices of a project, each person's choice about mail, and pausing. Managers only."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from labeler.access import manager_access
from labeler.forms.notices import MailForm, PauseForm
from labeler.selectors.notices import notice_rows, own_choice
from labeler.services.notices import choose_mail, dismiss_notices
from labeler.services.pausing import pause_project, resume_project


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def notices(request: HttpRequest, slug: str) -> HttpResponse:
    """All of them, and whether the person gets them by mail."""
    access = manager_access(request, slug)
    choice = own_choice(access.project, access.user)
    form = MailForm(request.POST or None, initial={"gets_mail": bool(choice), "address": access.user.email})
    if request.method == "POST" and form.is_valid():
        choose_mail(project=access.project, user=access.user, **form.cleaned_data)
        messages.success(request, _("Saved."))
        return redirect("notices", slug)
    context = {
        "access": access,
        "tab": "monitor",
        "page": "notices",
        "rows": notice_rows(access.project, access.user),
        "form": form if settings.MAIL_IS_ON and choice is not None else None,
        "has_mail": settings.MAIL_IS_ON,
    }
    return render(request, "monitor/notices.html", context)


@login_required
@require_POST
def notice_dismiss(request: HttpRequest, slug: str, notice_id: int) -> HttpResponse:
    access = manager_access(request, slug)
    notice = get_object_or_404(access.project.notices, pk=notice_id)
    dismiss_notices(user=access.user, notices=[notice])
    return _back(request, slug)


@login_required
@require_POST
def notices_dismiss(request: HttpRequest, slug: str) -> HttpResponse:
    """All that there are."""
    access = manager_access(request, slug)
    dismiss_notices(user=access.user, notices=list(access.project.notices.all()))
    return _back(request, slug)


@login_required
@require_POST
def project_pause(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    form = PauseForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Not paused. Reason: %(error)s") % {"error": form.errors["reason"][0]})
    elif pause_project(project=access.project, by=access.user, reason=form.cleaned_data["reason"]):
        messages.success(request, _("Paused. Nobody is asked and no round starts until somebody goes on."))
    else:
        messages.info(request, _("It was paused already."))
    return _back(request, slug)


@login_required
@require_POST
def project_resume(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    if resume_project(project=access.project, by=access.user):
        messages.success(request, _("Going on: people are asked again, and what is due starts within seconds."))
    return _back(request, slug)


def _back(request: HttpRequest, slug: str) -> HttpResponse:
    """To the page that the button stood on."""
    to = request.POST.get("next", "")
    return redirect(to if url_has_allowed_host_and_scheme(to, allowed_hosts=None) else f"/p/{slug}/")


urlpatterns = [
    path("p/<slug:slug>/notices/", notices, name="notices"),
    path("p/<slug:slug>/notices/dismiss/", notices_dismiss, name="notices-dismiss"),
    path("p/<slug:slug>/notices/<int:notice_id>/dismiss/", notice_dismiss, name="notice-dismiss"),
    path("p/<slug:slug>/pause/", project_pause, name="project-pause"),
    path("p/<slug:slug>/resume/", project_resume, name="project-resume"),
]
