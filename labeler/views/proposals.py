"""Classes that annotators propose: what waits for a manager, the decision, and what became of one's own."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from labeler.access import manager_access, member_access
from labeler.numerals import numeral
from labeler.selectors.classes import proposed_classes, targets_of
from labeler.services.classes import MAX_NAME
from labeler.services.proposals import accept_proposal, merge_proposal, note_read, refuse_proposal, take_back_proposal


@never_cache
@login_required
@require_safe
def proposals(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    live = access.project.classes.filter(is_archived=False)
    context = {
        "access": access,
        "tab": "settings",
        "page": "proposals",
        "proposals": proposed_classes(access.project),
        "targets": list(live),
    }
    return render(request, "settings/proposals.html", context)


@login_required
@require_POST
def proposal_decide(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    access = manager_access(request, slug)
    source = get_object_or_404(access.project.classes.select_related("merged_into", "project"), pk=pk)
    decision = request.POST.get("decision", "")
    try:
        if decision == "accept":
            name = request.POST.get("name", "")[:MAX_NAME]
            accept_proposal(label_class=source, name=name, by=access.user)
            words = _("It is a class now, and its answers are labels.")
        elif decision == "merge":
            into = request.POST.get("into", "")
            target = targets_of(source).filter(pk=int(into)).first() if into.isdecimal() and len(into) < 16 else None
            if target is None:
                raise ValidationError(_("Choose the class that it is another name of."))
            merge_proposal(label_class=source, into=target, by=access.user)
            words = _("Its answers mean “%(target)s” now.") % {"target": target}
        elif decision == "refuse":
            refuse_proposal(label_class=source, why=request.POST.get("why", "").strip()[:200], by=access.user)
            words = _("Its images are asked again. Who proposed it is told.")
        else:
            raise ValidationError(_("Accept, merge or refuse it."))
    except ValidationError as error:
        messages.error(request, error.messages[0])
    else:
        messages.success(request, f"“{source}”: {words}")
    return redirect("proposals", slug)


@require_POST
@login_required
def label_read(request: HttpRequest, slug: str) -> HttpResponse:
    """What became of one's proposals has been read."""
    access = member_access(request, slug)
    ids = [
        int(text) for text in request.POST.getlist("decision") if text.isascii() and text.isdecimal() and len(text) < 16
    ]
    note_read(project=access.project, person=access.user, ids=ids)
    return redirect("label", slug)


@require_POST
@login_required
def proposal_take_back(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    """One's own, as long as nobody has decided on it."""
    access = member_access(request, slug)
    source = get_object_or_404(access.project.classes.select_related("merged_into", "project"), pk=pk)
    try:
        asked_again = take_back_proposal(label_class=source, by=access.user)
    except ValidationError as error:
        messages.error(request, error.messages[0])
    else:
        words = ngettext(
            "You have taken “%(name)s” back. Its %(count)s image is asked again.",
            "You have taken “%(name)s” back. Its %(count)s images are asked again.",
            asked_again,
        )
        words = words if asked_again else _("You have taken “%(name)s” back.")
        messages.success(request, words % {"name": source, "count": numeral(asked_again)})
    return redirect("annotator", slug, access.user.pk)


urlpatterns = [
    path("p/<slug:slug>/settings/classes/proposals/", proposals, name="proposals"),
    path("p/<slug:slug>/settings/classes/proposals/<int:pk>/", proposal_decide, name="proposal-decide"),
    path("p/<slug:slug>/label/read/", label_read, name="label-read"),
    path("p/<slug:slug>/label/proposals/<int:pk>/take-back/", proposal_take_back, name="proposal-take-back"),
]
