"""The grid: a page of tiles that is accepted at once, and the undo of the last one. Plain forms; a script adds keys."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from labeler.access import Access, member_access
from labeler.forms.base import quoted
from labeler.numerals import numeral
from labeler.selectors.grid import grid_of
from labeler.services.classes import MAX_NAME
from labeler.services.grid import CHECK_SHARE, GridRefused, accept_page, remember_shown, undo_page
from labeler.told import said

FEW = 30  # with more classes than this the class of a tile is typed
OUT = "out"


def grid_access(request: HttpRequest, slug: str) -> Access:
    """A manager opens the page to learn that it is off; nobody else does."""
    access = member_access(request, slug)
    if not access.is_manager and not access.may_use_grid:
        raise PermissionDenied(_("The grid is not open to annotators in this project. Ask a manager if you need it."))
    return access


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def grid(request: HttpRequest, slug: str) -> HttpResponse:
    access = grid_access(request, slug)
    is_on = access.may_use_grid
    if request.method == "POST" and is_on:
        return _accept(request, access)
    if request.method == "POST":
        messages.error(request, _("The grid is off: nothing was saved."))
        return redirect("grid", slug)
    context = {"access": access, "tab": "grid", "is_on": is_on, "key": uuid.uuid4()}
    if is_on:
        found = grid_of(access.project, access.user, _number(request.GET.get("class", "")))
        remember_shown(project=access.project, person=access.user, image_ids=[tile.image.pk for tile in found.tiles])
        context |= {
            "grid": found,
            "waiting": next((row.waiting for row in found.classes if row.label_class == found.chosen), 0),
            "others": [row.label_class for row in found.classes if row.label_class != found.chosen],
            "is_few": len(found.classes) <= FEW,
            "check_percent": round(CHECK_SHARE * 100),
        }
    return render(request, "grid/grid.html", context)


@require_POST
@login_required
def grid_undo(request: HttpRequest, slug: str) -> HttpResponse:
    access = grid_access(request, slug)
    try:
        number = undo_page(project=access.project, by=access.user, page_id=_number(request.POST.get("page", "")) or 0)
    except GridRefused as refused:
        messages.error(request, str(refused))
    else:
        words = ngettext("Undone: %(count)s answer taken back.", "Undone: %(count)s answers taken back.", number)
        words = words % {"count": numeral(number)} if number else _("Nothing was left to undo.")
        messages.info(request, words)
    return _back(access, request.POST)


def _accept(request: HttpRequest, access: Access) -> HttpResponse:
    form = request.POST
    try:
        tiles = [_needed(value) for value in form.getlist("tile")]
        sent = {pk: form.get(f"is-{pk}", "") for pk in tiles}
        out = {_needed(value) for value in form.getlist(OUT)}
        corrected = {pk: _needed(value) for pk, value in sent.items() if value}
        named, unknown = _named(access, form, tiles)
        corrected |= named
        out |= set(unknown)
        accepted = accept_page(
            project=access.project,
            by=access.user,
            class_id=_needed(form.get("class", "")),
            round_id=_needed(form.get("round", "")),
            accepted=[pk for pk in tiles if pk not in corrected and pk not in out],
            corrected=corrected,
            left_out=[pk for pk in tiles if pk in out and pk not in corrected],
            key=uuid.UUID(form.get("key", "")),
        )
    except GridRefused as refused:
        messages.error(request, str(refused))
    except ValidationError as error:
        messages.error(request, error.messages[0])
    except ValueError:
        messages.error(request, _("This page was not complete: nothing was saved. Try again."))
    else:
        messages.success(request, said(accepted.words))
        if unknown:
            words = _("No class is called %(names)s. Those tiles were taken out: they are asked about one by one.")
            names = dict.fromkeys(quoted(name) for name in unknown.values())
            messages.warning(request, words % {"names": ", ".join(names)})
    return _back(access, form)


def _named(access: Access, form: QueryDict, tiles: list[int]) -> tuple[dict[int, int], dict[int, str]]:
    """What was typed of tiles: those whose class there is, and the others. The page's own class is no correction."""
    typed = {pk: " ".join(form.get(f"named-{pk}", "").split())[:MAX_NAME] for pk in tiles}
    typed = {pk: name for pk, name in typed.items() if name}
    if not typed:
        return {}, {}
    offered = access.project.classes.filter(is_archived=False)
    known = {name.casefold(): pk for pk, name in offered.values_list("pk", "name")}
    named = {pk: known[name.casefold()] for pk, name in typed.items() if name.casefold() in known}
    unknown = {pk: name for pk, name in typed.items() if pk not in named}
    return {pk: found for pk, found in named.items() if str(found) != form.get("class", "")}, unknown


def _back(access: Access, form: QueryDict) -> HttpResponseRedirect:
    chosen = _number(form.get("class", ""))
    address = reverse("grid", args=[access.project.slug])
    return HttpResponseRedirect(f"{address}?class={chosen}" if chosen else address)


def _needed(value: str) -> int:
    number = _number(value)
    if number is None:
        raise ValueError(value)
    return number


def _number(value: str) -> int | None:
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 19 else None


urlpatterns = [
    path("p/<slug:slug>/grid/", grid, name="grid"),
    path("p/<slug:slug>/grid/undo/", grid_undo, name="grid-undo"),
]
