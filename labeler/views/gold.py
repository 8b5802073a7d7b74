"""Gold images: the list, marking one or several, and taking the mark off."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from labeler.access import manager_access
from labeler.selectors.answers import GOLD_PAGE, gold_rows
from labeler.services.gold import GoldRefused, mark_gold, mark_labels_gold, unmark_gold


@never_cache
@require_safe
@login_required
def gold(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    value = request.GET.get("page", "")
    number = max(1, int(value)) if value.isascii() and value.isdecimal() and len(value) < 7 else 1
    rows, count = gold_rows(access.project, number)
    pages = max(1, -(-count // GOLD_PAGE))
    context = {
        "access": access,
        "tab": "answers",
        "page": "gold",
        "rows": rows,
        "count": count,
        "number": number,
        "pages": pages,
        "earlier": number - 1 if number > 1 else None,
        "later": number + 1 if number < pages else None,
    }
    return render(request, "answers/gold.html", context)


@require_POST
@login_required
def gold_mark(request: HttpRequest, slug: str) -> HttpResponse:
    """`image` and `label_class`: it is of that class. Or positions, as `at=3,1,2` or ticked boxes: as labelled."""
    access = manager_access(request, slug)
    try:
        if "image" in request.POST:
            chosen = _number(request.POST.get("label_class", ""))
            label_class = get_object_or_404(access.project.classes, pk=chosen)
            image_id = _number(request.POST["image"])
            mark_gold(project=access.project, image_id=image_id, label_class=label_class, by=access.user)
            messages.success(
                request, _("The image is gold: %(name)s. People are asked about it unseen.") % {"name": label_class}
            )
        else:
            at = [_number(part) for value in request.POST.getlist("at") for part in value.split(",") if part]
            marked = mark_labels_gold(project=access.project, positions=[p for p in at if p >= 0], by=access.user)
            (messages.success if marked.marked else messages.warning)(request, marked.words)
    except GoldRefused as refused:
        messages.error(request, str(refused))
    return _back(request, slug)


@require_POST
@login_required
def gold_unmark(request: HttpRequest, slug: str, image_id: int) -> HttpResponse:
    access = manager_access(request, slug)
    image = get_object_or_404(access.project.images, pk=image_id)
    if unmark_gold(project=access.project, image_id=image.pk, by=access.user):
        messages.success(request, _("The image is no longer gold. Its label is what people’s answers say."))
    else:
        messages.info(request, _("The image was not gold: nothing changed."))
    return _back(request, slug)


def _number(value: str) -> int:
    """-1 for what is no number of a row."""
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 19 else -1


def _back(request: HttpRequest, slug: str) -> HttpResponse:
    back = request.POST.get("back", "")
    is_ours = back.startswith("/") and url_has_allowed_host_and_scheme(back, allowed_hosts=None)
    return redirect(back if is_ours else reverse("gold", args=[slug]))


urlpatterns = [
    path("p/<slug:slug>/answers/gold/", gold, name="gold"),
    path("p/<slug:slug>/answers/gold/mark/", gold_mark, name="gold-mark"),
    path("p/<slug:slug>/answers/gold/<int:image_id>/unmark/", gold_unmark, name="gold-unmark"),
]
