"""Signing in and out, one's password, and invitations. There is no open registration."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import login as start_session
from django.contrib.auth import views as auth
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse_lazy
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from labeler.addresses import client_address
from labeler.forms.accounts import AccountForm
from labeler.models import Invitation, Membership, Project, Role, User
from labeler.services.invitations import InvitationGoneError, find_invitation, join, join_as_new, raises_role
from labeler.throttle import Throttle
from labeler.views.language import keep_language

BACKEND = "labeler.authentication.PersonBackend"
unknown_links = Throttle("invitation", limit=20, seconds=600)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """A stranger makes an account and joins; who is signed in joins with one button."""
    address = client_address(request)
    if unknown_links.is_over(address):
        return render(request, "accounts/invitation_gone.html", {"is_throttled": True}, status=429)
    found = find_invitation(token)
    if found is None:
        unknown_links.note_failure(address)
        return render(request, "accounts/invitation_gone.html", status=404)
    if isinstance(request.user, User):
        return _join_as(request, found, request.user)
    return _join_as_new(request, found) if found.is_open else _gone(request, found)


def _join_as(request: HttpRequest, found: Invitation, user: User) -> HttpResponse:
    """Who is in already (also by this very link, sent twice) is led on, and an open link stays open for others."""
    membership = Membership.objects.filter(project=found.project, user=user).first()
    if membership is not None and not (found.is_open and raises_role(membership, found)):
        if membership.deactivated_at is None:
            messages.info(request, _("You are in “%(project)s” already.") % {"project": found.project})
        return _lead_on(found.project, membership.role)
    if not found.is_open:
        return _gone(request, found)
    if request.method != "POST":
        return render(request, "accounts/invitation.html", {"invitation": found})
    try:
        membership = join(invitation=found, user=user)
    except InvitationGoneError:
        membership = Membership.objects.filter(project=found.project, user=user).first()  # one's own double click
    return _gone(request, found) if membership is None else _lead_on(found.project, membership.role)


def _join_as_new(request: HttpRequest, found: Invitation) -> HttpResponse:
    form = AccountForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            user = join_as_new(invitation=found, save_user=form.save)
        except InvitationGoneError:
            return _gone(request, found)
        except IntegrityError:
            form.add_error("username", _("Somebody took this name a moment ago."))
        else:
            start_session(request, user, backend=BACKEND)
            return _lead_on(found.project, found.role)
    return render(request, "accounts/invitation.html", {"invitation": found, "form": form})


def _lead_on(project: Project, role: str) -> HttpResponse:
    return redirect("monitor" if role == Role.MANAGER else "label", project.slug)


def _gone(request: HttpRequest, found: Invitation) -> HttpResponse:
    found.refresh_from_db(fields=["used_at", "revoked_at"])  # perhaps it was spent a moment ago
    return render(request, "accounts/invitation_gone.html", {"invitation": found}, status=410)


class SignIn(auth.LoginView):
    template_name = "accounts/login.html"

    @property
    def redirect_authenticated_user(self) -> bool:  # type: ignore[override]
        """Who is signed in is led on, unless somebody else wants to be: an open page of theirs keeps answers."""
        return "switch" not in self.request.GET

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        """In the language that the person has chosen, if they ever did."""
        response = super().form_valid(form)
        person = form.get_user()
        if isinstance(person, User) and person.language:
            keep_language(response, person.language)
        return response


class PasswordChange(auth.PasswordChangeView):
    template_name = "accounts/password_change.html"
    success_url = reverse_lazy("home")

    def form_valid(self, form):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        messages.success(self.request, _("Your password is changed. Other sessions of yours are signed out."))
        return super().form_valid(form)


class SignOut(auth.LogoutView):
    """The browser forgets what it has kept of pages and images: the next person at it is not to see them.

    Browsers do so on https and on their own machine. Answers that were not sent yet are no cache, and stay.
    """

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = super().post(request, *args, **kwargs)
        response.headers["Clear-Site-Data"] = '"cache"'
        return response


urlpatterns = [
    path("login/", SignIn.as_view(), name="login"),
    path("logout/", require_POST(SignOut.as_view()), name="logout"),
    path("password/", never_cache(login_required(PasswordChange.as_view())), name="password-change"),
    path("invite/<str:token>/", invitation, name="invitation"),
]
