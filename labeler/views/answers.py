"""How good the answers are: of all together, and of each person, who may see their own page."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from labeler.access import manager_access, member_access
from labeler.selectors.answers import answers_of, person_of
from labeler.selectors.charge import charge_of
from labeler.selectors.classes import own_proposals
from labeler.selectors.weak_classes import weak_classes


@never_cache
@require_safe
@login_required
def answers(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    context = {
        "access": access,
        "tab": "answers",
        "page": "quality",
        "answers": answers_of(access.project),
        "weak": weak_classes(access.project, charge_of(access.project).model),
    }
    return render(request, "answers/answers.html", context)


@never_cache
@require_safe
@login_required
def annotator(request: HttpRequest, slug: str, user_id: int) -> HttpResponse:
    access = member_access(request, slug)
    is_own = user_id == access.user.pk
    if not (access.is_manager or is_own):
        raise PermissionDenied(_("This page is for managers and the person whom it is about."))
    person = person_of(access.project, user_id)
    if person is None:
        raise Http404("Nobody of that number has answered here")
    context = {
        "access": access,
        "tab": "answers" if access.is_manager else "label",
        "page": "person",
        "person": person,
        "is_own": is_own,
        "overlap": access.project.learning.overlap,
        "proposals": own_proposals(access.project, access.user) if is_own else [],
    }
    return render(request, "answers/annotator.html", context)


urlpatterns = [
    path("p/<slug:slug>/answers/", answers, name="answers"),
    path("p/<slug:slug>/answers/people/<int:user_id>/", annotator, name="annotator"),
]
