"""Signing in and out, one's password, and invitations. There is no open registration."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import login as start_session
from django.contrib.auth import views as auth
from django.contrib.auth.decorators import login_required
from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from labeler.forms.accounts import AccountForm
from labeler.models import Invitation, Role, User
from labeler.services.invitations import InvitationGoneError, find_invitation, join, join_as_new
from labeler.throttle import Throttle

BACKEND = "django.contrib.auth.backends.ModelBackend"
wrong_links = Throttle("invitation", limit=20, seconds=600)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    """A stranger makes an account and joins; who is signed in joins with one button."""
    address = request.META.get("REMOTE_ADDR", "")
    if wrong_links.is_over(address):
        return render(request, "accounts/invitation_gone.html", {"is_throttled": True}, status=429)
    found = find_invitation(token)
    if found is None or not found.is_open:
        wrong_links.note_failure(address)
        return render(
            request, "accounts/invitation_gone.html", {"invitation": found}, status=404 if found is None else 410
        )
    if isinstance(request.user, User):
        return _join_as(request, found, request.user)
    return _join_as_new(request, found)


def _join_as(request: HttpRequest, found: Invitation, user: User) -> HttpResponse:
    if request.method != "POST":
        return render(request, "accounts/invitation.html", {"invitation": found})
    try:
        join(invitation=found, user=user)
    except InvitationGoneError:
        return render(request, "accounts/invitation_gone.html", {"invitation": found}, status=410)
    return _welcome(found)


def _join_as_new(request: HttpRequest, found: Invitation) -> HttpResponse:
    form = AccountForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            user = join_as_new(invitation=found, save_user=form.save)
        except InvitationGoneError:
            return render(request, "accounts/invitation_gone.html", {"invitation": found}, status=410)
        except IntegrityError:
            form.add_error("username", "Somebody took this name a moment ago.")
        else:
            start_session(request, user, backend=BACKEND)
            return _welcome(found)
    return render(request, "accounts/invitation.html", {"invitation": found, "form": form})


def _welcome(found: Invitation) -> HttpResponse:
    return redirect("monitor" if found.role == Role.MANAGER else "label", found.project.slug)


class PasswordChange(auth.PasswordChangeView):
    template_name = "accounts/password_change.html"
    success_url = reverse_lazy("home")

    def form_valid(self, form):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        messages.success(self.request, "Your password is changed. Other sessions of yours are signed out.")
        return super().form_valid(form)


urlpatterns = [
    path(
        "login/",
        auth.LoginView.as_view(template_name="accounts/login.html", redirect_authenticated_user=True),
        name="login",
    ),
    path("logout/", require_POST(auth.LogoutView.as_view()), name="logout"),
    path("password/", login_required(PasswordChange.as_view()), name="password-change"),
    path("invite/<str:token>/", invitation, name="invitation"),
]
