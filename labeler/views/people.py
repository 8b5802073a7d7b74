"""Who is in a project: roles, leaving, invitations by one-time links."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from labeler.access import manager_access
from labeler.forms.people import InvitationForm
from labeler.models import Role
from labeler.selectors.people import open_invitations, people_rows
from labeler.services.invitations import invite, revoke_invitation
from labeler.services.people import change_role, remove_member


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def people(request: HttpRequest, slug: str) -> HttpResponse:
    """The list; a POST invites, and shows the link this one time."""
    access = manager_access(request, slug)
    form = InvitationForm(request.POST or None)
    link = ""
    if request.method == "POST" and form.is_valid():
        try:
            new = invite(project=access.project, by=access.user, **form.cleaned_data)
            link = request.build_absolute_uri(reverse("invitation", args=[new.token]))
            form = InvitationForm()
        except ValidationError as error:
            form.add_error(None, error)
    context = {
        "access": access,
        "tab": "people",
        "rows": people_rows(access.project),
        "invitations": open_invitations(access.project),
        "roles": Role.choices,
        "form": form,
        "link": link,
    }
    return render(request, "people/people.html", context)


@login_required
@require_POST
def invitation_revoke(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    access = manager_access(request, slug)
    if revoke_invitation(invitation=get_object_or_404(access.project.invitations, pk=pk)):
        messages.success(request, "The invitation is revoked: its link opens nothing any more.")
    else:
        messages.warning(request, "That invitation was used or revoked before. See who is in the list.")
    return redirect("people", slug)


@login_required
@require_POST
def member_role(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    access = manager_access(request, slug)
    membership = get_object_or_404(access.project.memberships.select_related("user"), pk=pk)
    role = request.POST.get("role", "")
    try:
        change_role(membership=membership, role=role)
    except ValidationError as error:
        messages.error(request, error.messages[0])
        return redirect("people", slug)
    messages.success(request, f"{membership.user} is {role} now.")
    gave_up = membership.user_id == access.user.pk and role != Role.MANAGER
    return redirect("home") if gave_up else redirect("people", slug)


@login_required
@require_POST
def member_remove(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    access = manager_access(request, slug)
    membership = get_object_or_404(access.project.memberships.select_related("user", "project"), pk=pk)
    try:
        remove_member(membership=membership)
        messages.success(request, f"{membership.user} has left the project. Their answers stay.")
    except ValidationError as error:
        messages.error(request, error.messages[0])
        return redirect("people", slug)
    return redirect("people", slug) if membership.user_id != access.user.pk else redirect("home")


urlpatterns = [
    path("p/<slug:slug>/people/", people, name="people"),
    path("p/<slug:slug>/people/invitations/<int:pk>/revoke/", invitation_revoke, name="invitation-revoke"),
    path("p/<slug:slug>/people/<int:pk>/role/", member_role, name="member-role"),
    path("p/<slug:slug>/people/<int:pk>/remove/", member_remove, name="member-remove"),
]
