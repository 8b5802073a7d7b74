"""Images of a list asked about again, all that fit or some of them, or a selection of the Explore page: first what that
means, in numbers."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import path, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST

from labeler.access import manager_access
from labeler.models import AuditEntry, AuditKind, Project
from labeler.numerals import numeral
from labeler.selectors.images import FILTERS, filter_from
from labeler.selectors.returnable import returnable
from labeler.services.returning import newest_return, return_images, take_back_return

MOST_CHOSEN = 1000


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def images_return(request: HttpRequest, slug: str) -> HttpResponse:
    """A POST that does not say whether they come first only asks what it would mean: it may name too many for an
    address."""
    access = manager_access(request, slug)
    asked = request.POST if request.method == "POST" else request.GET
    chosen = _chosen(access.project, asked)
    if asked.get("of") == "chosen" and not chosen:
        messages.info(request, _("No image is selected."))
        return redirect(_back(slug, asked))
    found = returnable(access.project, wanted=filter_from(asked.dict(), annotator=None), chosen=chosen)
    if request.method == "POST" and "first" in asked:
        asks_first = asked["first"] == "yes"
        count = return_images(project=access.project, image_ids=found.image_ids, by=access.user, asks_first=asks_first)
        entry = newest_return(project=access.project, by=access.user) if count else None
        told = {
            "access": access,
            "words": _words(count, asks_first=asks_first),
            "entry": entry,
            "back": _back(slug, asked),
        }
        messages.success(request, render_to_string("images/_returned.html", told, request))
        return redirect(_back(slug, asked))
    context = {
        "access": access,
        "tab": "images",
        "found": found,
        "count": len(found.image_ids),
        "back": _back(slug, asked),
        "kept": [(key, asked[key]) for key in (*FILTERS, "back") if asked.get(key)],
        "chosen": chosen,
    }
    return render(request, "images/return.html", context)


@require_POST
@login_required
def images_return_undo(request: HttpRequest, slug: str, entry_id: int) -> HttpResponse:
    access = manager_access(request, slug)
    kept = {"project": access.project, "kind": AuditKind.REVIEW, "details__images__isnull": False}
    entry = get_object_or_404(AuditEntry, pk=entry_id, **kept)
    if not isinstance(entry.details["images"], dict):
        raise Http404
    count = take_back_return(project=access.project, entry=entry, by=access.user)
    words = ngettext(
        "%(images)s image is again what its answers say.", "%(images)s images are again what their answers say.", count
    )
    none = _("Nothing was taken back: none of them waits any more with the answers that it had.")
    messages.success(request, words % {"images": numeral(count)} if count else none)
    return redirect(_back(slug, request.POST))


def _chosen(project: Project, asked: QueryDict) -> list[int]:
    """As ticked boxes, `image=3&image=5`, or positions, `at=3,1,2` (the script of the Explore page)."""
    if asked.get("of") != "chosen":
        return []
    if ids := _numbers(asked.getlist("image")):
        return ids
    positions = _numbers(asked.get("at", "").split(","))
    return list(project.images.filter(position__in=positions).order_by("pk").values_list("pk", flat=True))


def _numbers(values: list[str]) -> list[int]:
    said = [value for value in values[:MOST_CHOSEN] if value.isascii() and value.isdecimal()]
    return [int(value) for value in said if len(value) < 16]


def _back(slug: str, asked: QueryDict) -> str:
    """To where one came from, or to the list as it was narrowed."""
    back = asked.get("back", "")
    if back.startswith("/") and url_has_allowed_host_and_scheme(back, allowed_hosts=None):
        return back
    query = QueryDict(mutable=True)
    query.update({key: str(asked[key]) for key in FILTERS if asked.get(key)})
    return reverse("images", args=[slug]) + (f"?{query.urlencode()}" if query else "")


def _words(count: int, *, asks_first: bool) -> str:
    if not count:
        return _("Nothing was changed: none of them was disputed, set aside or bad any more.")
    if asks_first:
        words = ngettext(
            "%(images)s image is asked about before all others. Its answers stay.",
            "%(images)s images are asked about before all others. Their answers stay.",
            count,
        )
    else:
        words = ngettext(
            "%(images)s image is back in the pool. Its answers stay.",
            "%(images)s images are back in the pool. Their answers stay.",
            count,
        )
    return words % {"images": numeral(count)}


urlpatterns = [
    path("p/<slug:slug>/images/return/", images_return, name="images-return"),
    path("p/<slug:slug>/images/return/<int:entry_id>/undo/", images_return_undo, name="images-return-undo"),
]
