"""Who is in a project: roles, leaving, invitations by one-time links."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from labeler.access import manager_access
from labeler.forms.people import InvitationForm
from labeler.models import Role
from labeler.numerals import numeral
from labeler.selectors.people import open_invitations, people_rows
from labeler.services.invitations import invite, revoke_invitation
from labeler.services.people import (
    bring_back_member,
    change_role,
    deactivate_member,
    hand_back_leases,
    remove_member,
)


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
        "page": "people",
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
    if revoke_invitation(invitation=get_object_or_404(access.project.invitations, pk=pk), by=access.user):
        messages.success(request, _("The invitation is revoked: its link opens nothing any more."))
    else:
        messages.warning(request, _("That invitation was used or revoked before. See who is in the list."))
    return redirect("people", slug)


@login_required
@require_POST
def member_role(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    access = manager_access(request, slug)
    membership = get_object_or_404(access.project.memberships.select_related("user"), pk=pk)
    role = request.POST.get("role", "")
    try:
        change_role(membership=membership, role=role, by=access.user)
    except ValidationError as error:
        messages.error(request, error.messages[0])
        return redirect("people", slug)
    is_manager = role == Role.MANAGER
    words = _("%(person)s is a manager now.") if is_manager else _("%(person)s is an annotator now.")
    messages.success(request, words % {"person": membership.user})
    gave_up = membership.user_id == access.user.pk and role != Role.MANAGER
    return redirect("home") if gave_up else redirect("people", slug)


@login_required
@require_POST
def member_remove(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    access = manager_access(request, slug)
    membership = get_object_or_404(access.project.memberships.select_related("user", "project"), pk=pk)
    try:
        remove_member(membership=membership, by=access.user)
        messages.success(
            request, _("%(person)s has left the project. Their answers stay.") % {"person": membership.user}
        )
    except ValidationError as error:
        messages.error(request, error.messages[0])
        return redirect("people", slug)
    return redirect("people", slug) if membership.user_id != access.user.pk else redirect("home")


@login_required
@require_POST
def member_deactivate(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    access = manager_access(request, slug)
    membership = get_object_or_404(access.project.memberships.select_related("user", "project"), pk=pk)
    try:
        given_back = deactivate_member(membership=membership, by=access.user)
    except ValidationError as error:
        messages.error(request, error.messages[0])
        return redirect("people", slug)
    words = _("%(person)s sees this project no more, until you bring them back. Their answers stay.")
    if given_back:
        words += " " + ngettext(
            "What was on their screen (%(count)s image) goes to others.",
            "What was on their screen (%(count)s images) goes to others.",
            given_back,
        )
    messages.success(request, words % {"person": membership.user, "count": numeral(given_back)})
    return redirect("people", slug)


@login_required
@require_POST
def member_return(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    access = manager_access(request, slug)
    membership = get_object_or_404(access.project.memberships.select_related("user", "project"), pk=pk)
    bring_back_member(membership=membership, by=access.user)
    messages.success(
        request,
        _("%(person)s is back. Answers that waited in their browser are sent by themselves.")
        % {"person": membership.user},
    )
    return redirect("people", slug)


@login_required
@require_POST
def member_release(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """Reassign: the images that one person has on the screen go to whoever is next."""
    access = manager_access(request, slug)
    membership = get_object_or_404(access.project.memberships.select_related("user", "project"), pk=pk)
    given_back = hand_back_leases(membership=membership, by=access.user)
    words = ngettext(
        "%(count)s image of %(person)s can be asked of others again.",
        "%(count)s images of %(person)s can be asked of others again.",
        given_back,
    )
    words = words if given_back else _("%(person)s had no image any more.")
    messages.success(request, words % {"person": membership.user, "count": numeral(given_back)})
    return redirect("people", slug)


urlpatterns = [
    path("p/<slug:slug>/people/", people, name="people"),
    path("p/<slug:slug>/people/invitations/<int:pk>/revoke/", invitation_revoke, name="invitation-revoke"),
    path("p/<slug:slug>/people/<int:pk>/role/", member_role, name="member-role"),
    path("p/<slug:slug>/people/<int:pk>/remove/", member_remove, name="member-remove"),
    path("p/<slug:slug>/people/<int:pk>/deactivate/", member_deactivate, name="member-deactivate"),
    path("p/<slug:slug>/people/<int:pk>/return/", member_return, name="member-return"),
    path("p/<slug:slug>/people/<int:pk>/release/", member_release, name="member-release"),
]
