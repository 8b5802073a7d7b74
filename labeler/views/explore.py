"""The Explore pages: the pool between sure and unsure, its map, galleries, and picking from them. Managers only."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils.cache import patch_vary_headers
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from labeler.access import Access, manager_access
from labeler.models import Image, LabelClass, Round
from labeler.selectors.columns import dots, map_points, round_points, states
from labeler.selectors.explore import (
    DUPLICATES,
    GALLERIES,
    PAGE,
    REGIONS,
    gallery_pages,
    gallery_positions,
    gallery_words,
    known_of,
    none_torn,
    position_image,
    region_counts,
    tiles_of,
)
from labeler.selectors.maps import NoMap, current_map, map_state, near_duplicates
from labeler.selectors.pool import total_images
from labeler.selectors.scores import NoScores, scored_round, scored_rounds, summary_of
from labeler.services.maps import request_map
from labeler.services.picks import MOST, PickRefused, send_to_queue
from labeler.storage import round_folder

PAIRS = 30


@never_cache
@require_safe
@login_required
def explore(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    round_, images = _round(request, access), total_images(access.project)
    context: dict[str, object] = {
        "access": access,
        "tab": "explore",
        "page": "explore",
        "round": round_,
        "rounds": scored_rounds(access.project),
        "map": map_state(access.project),
        "galleries": gallery_pages(),
        "images": images,
    }
    if round_ is None:
        return render(request, "explore/nothing.html", context)
    try:
        scores = summary_of(round_)
    except NoScores as error:
        return render(request, "explore/nothing.html", {**context, "problem": str(error)})
    known = known_of(access.project, len(scores))
    classes = LabelClass.objects.in_bulk(round_.classes)
    shown = [classes.get(pk) for pk in round_.classes]
    context |= {
        "regions": region_counts(round_, scores, known),
        "scored": len(scores),
        "drawn": len(dots(len(scores))),
        "later": max(0, images - len(scores)),
        "setup": {
            "classes": [
                {"name": row.name, "colour": row.colour} if row else {"name": _("a deleted class"), "colour": "#7f7f7f"}
                for row in shown
            ],
            "regions": [{"key": row.key, "name": str(row.name), "corner": row.corner} for row in REGIONS],
            "most": MOST,
            "page": PAGE,
        },
    }
    return render(request, "explore/explore.html", context)


@require_safe
@login_required
def points(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """Where each dot lies and which class it is taken for: never changes for a round, so browsers ask only whether."""
    round_ = _round_of(manager_access(request, slug), number)
    try:
        return _columns(request, f"{round_.pk} {round_.folder}", lambda: round_points(round_folder(round_), round_))
    except NoScores as error:
        return HttpResponse(str(error), status=410, content_type="text/plain; charset=utf-8")


@never_cache
@require_safe
@login_required
def point_states(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """What people have made of each dot's image so far."""
    access = manager_access(request, slug)
    round_ = _round_of(access, number)
    try:
        scores = summary_of(round_)
    except NoScores as error:
        return HttpResponse(str(error), status=410, content_type="text/plain; charset=utf-8")
    return _gzipped(states(round_, scores, known_of(access.project, len(scores))))


@require_safe
@login_required
def map_dots(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """Where each dot of the round lies on the map of the pool."""
    access = manager_access(request, slug)
    round_, shown = _round_of(access, number), current_map(access.project)
    if shown is None:
        return HttpResponse(_("No map has been drawn yet."), status=410, content_type="text/plain; charset=utf-8")
    try:
        n = len(summary_of(round_))
        return _columns(request, f"{shown.file} {n}", lambda: map_points(shown.file, n))
    except (NoScores, NoMap) as error:
        return HttpResponse(str(error), status=410, content_type="text/plain; charset=utf-8")


@never_cache
@require_safe
@login_required
def explore_map(request: HttpRequest, slug: str) -> HttpResponse:
    """How far the map is: polled while it is being drawn."""
    access = manager_access(request, slug)
    state = map_state(access.project)
    response = render(request, "explore/_map_state.html", {"access": access, "map": state})
    if state.drawn is None and request.GET.get("was") == "drawn":
        response.headers["HX-Refresh"] = "true"
    return response


@require_POST
@login_required
def explore_draw(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    if request_map(project=access.project, by=access.user) is None:
        messages.info(request, _("The map is being drawn already, or there are no images yet."))
    return redirect(f"{reverse('explore', args=[slug])}#map")


@never_cache
@require_safe
@login_required
def tiles(request: HttpRequest, slug: str) -> HttpResponse:
    """Thumbnails of some positions, in their order: `?round=7&at=3,1,2`."""
    access = manager_access(request, slug)
    round_ = _round(request, access)
    if round_ is None:
        raise Http404("No such round")
    try:
        found = tiles_of(round_, summary_of(round_), _positions(request.GET.get("at", ""))[:PAGE])
    except NoScores as error:
        return HttpResponse(str(error), status=410, content_type="text/plain; charset=utf-8")
    return render(request, "explore/_tiles.html", {"access": access, "tiles": found, "round": round_})


@require_safe
@login_required
def at_position(request: HttpRequest, slug: str, position: int, what: str) -> HttpResponse:
    """From a dot to its picture or its page: dots know positions, addresses of images have ids."""
    access = manager_access(request, slug)
    pk = position_image(access.project, position)
    if pk is None:
        raise Http404("No image is there")
    response = redirect("media" if what == "thumb" else "image", slug, pk)
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response


@never_cache
@require_safe
@login_required
def gallery(request: HttpRequest, slug: str, name: str) -> HttpResponse:
    access = manager_access(request, slug)
    if name == "duplicates":
        return _duplicates(request, access)
    if name not in GALLERIES:
        raise Http404("No such gallery")
    round_ = _round(request, access)
    title, words = gallery_words(name)
    only_waiting = request.GET.get("waiting") == "yes"
    context = {
        **_gallery_page(access, name, title, words),
        "round": round_,
        "rounds": scored_rounds(access.project),
        "only_waiting": only_waiting,
    }
    if round_ is None:
        return render(request, "explore/nothing.html", {**context, "images": total_images(access.project)})
    try:
        scores = summary_of(round_)
    except NoScores as error:
        return render(request, "explore/nothing.html", {**context, "problem": str(error)})
    known = known_of(access.project, len(scores))
    positions = gallery_positions(name, round_, scores, known, only_waiting=only_waiting)
    page, pages = _page(request, len(positions), PAGE)
    context |= _paged(page, pages, len(positions))
    context["query"] = _query(request)
    shown = tiles_of(round_, scores, positions[(page - 1) * PAGE : page * PAGE].tolist())
    context |= {"tiles": shown, "can_send": any(tile.can_be_sent for tile in shown), "none_torn": none_torn()}
    context["can_be_gold"] = any(tile.image.label_id is not None for tile in shown)
    return render(request, "explore/gallery.html", context)


@require_POST
@login_required
def explore_send(request: HttpRequest, slug: str) -> HttpResponse:
    """Positions as `at=3,1,2` (the page's script) or as ticked boxes of the same name."""
    access = manager_access(request, slug)
    wanted = [position for part in request.POST.getlist("at") for position in _positions(part)]
    try:
        picked = send_to_queue(project=access.project, positions=wanted, by=access.user)
    except PickRefused as refused:
        messages.error(request, str(refused))
    else:
        (messages.success if picked.sent else messages.warning)(request, picked.words)
    back = request.POST.get("back", "")
    is_ours = back.startswith("/") and url_has_allowed_host_and_scheme(back, allowed_hosts=None)
    return redirect(back if is_ours else reverse("explore", args=[slug]))


def _duplicates(request: HttpRequest, access: Access) -> HttpResponse:
    state = map_state(access.project)
    context, shown = {**_gallery_page(access, "duplicates", *map(str, DUPLICATES)), "map": state}, state.shown
    if shown is None:
        return render(request, "explore/duplicates.html", context)
    try:
        pairs = near_duplicates(shown)
    except NoMap as error:
        return render(request, "explore/duplicates.html", {**context, "problem": str(error)})
    page, pages = _page(request, len(pairs), PAIRS)
    on_page = pairs[(page - 1) * PAIRS : page * PAIRS]
    wanted = {position for one, other, _ in on_page for position in (one, other)}
    rows = access.project.images.filter(position__in=wanted).select_related("label").order_by()
    found = {row.position: row for row in rows}
    context["pairs"] = [
        ((found[one], found[other]), far, _is_contrary(found[one], found[other]))
        for one, other, far in on_page
        if one in found and other in found
    ]
    return render(request, "explore/duplicates.html", context | _paged(page, pages, len(pairs)))


def _is_contrary(one: Image, other: Image) -> bool:
    """Both have a label, and not the same."""
    return None not in (one.label_id, other.label_id) and one.label_id != other.label_id


def _gallery_page(access: Access, name: str, title: str, words: str) -> dict[str, object]:
    return {
        "access": access,
        "tab": "explore",
        "page": name,
        "title": title,
        "words": words,
        "galleries": gallery_pages(),
    }


def _page(request: HttpRequest, count: int, size: int) -> tuple[int, int]:
    pages = max(1, -(-count // size))
    value = request.GET.get("page", "")
    wanted = int(value) if value.isascii() and value.isdecimal() and len(value) < 10 else 1
    return min(max(1, wanted), pages), pages


def _query(request: HttpRequest) -> str:
    """The address's own words without the page."""
    query = request.GET.copy()
    for key in set(query) - {"round", "waiting", "a", "b"}:
        del query[key]
    return query.urlencode()


def _paged(page: int, pages: int, count: int) -> dict[str, object]:
    return {
        "number": page,
        "pages": pages,
        "count": count,
        "earlier": page - 1 if page > 1 else None,
        "later": page + 1 if page < pages else None,
    }


def _positions(text: str) -> list[int]:
    """`3,1,2`; what is no position is left out."""
    return [int(part) for part in text.split(",") if part.isascii() and part.isdecimal() and len(part) < 10]


def _round(request: HttpRequest, access: Access) -> Round | None:
    number = request.GET.get("round", "")
    round_ = scored_round(access.project, number)
    if number and round_ is None:
        raise Http404("No such round with scores")
    return round_


def _round_of(access: Access, number: int) -> Round:
    round_ = scored_round(access.project, str(number))
    if round_ is None:
        raise Http404("No such round with scores")
    return round_


def _columns(request: HttpRequest, made_of: str, pack: Callable[[], bytes]) -> HttpResponse:
    """Browsers keep them and ask only whether they are still the same."""
    etag = f'"{hashlib.sha256(made_of.encode()).hexdigest()[:32]}"'
    is_known = etag in request.headers.get("If-None-Match", "")
    response = HttpResponse(status=304) if is_known else _gzipped(pack())
    response.headers["ETag"] = etag
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _gzipped(body: bytes) -> HttpResponse:
    """All browsers take gzip; the columns are kept packed, so nothing else is offered."""
    response = HttpResponse(body, content_type="application/octet-stream")
    response.headers["Content-Encoding"] = "gzip"
    patch_vary_headers(response, ["Accept-Encoding"])
    return response


urlpatterns = [
    path("p/<slug:slug>/explore/", explore, name="explore"),
    path("p/<slug:slug>/explore/round/<int:number>/points/", points, name="explore-points"),
    path("p/<slug:slug>/explore/round/<int:number>/states/", point_states, name="explore-states"),
    path("p/<slug:slug>/explore/round/<int:number>/map/", map_dots, name="explore-map-points"),
    path("p/<slug:slug>/explore/map/", explore_map, name="explore-map"),
    path("p/<slug:slug>/explore/map/draw/", explore_draw, name="explore-draw"),
    path("p/<slug:slug>/explore/tiles/", tiles, name="explore-tiles"),
    path("p/<slug:slug>/explore/send/", explore_send, name="explore-send"),
    path("p/<slug:slug>/explore/at/<int:position>/", at_position, {"what": "page"}, name="explore-at"),
    path("p/<slug:slug>/explore/at/<int:position>/thumb/", at_position, {"what": "thumb"}, name="explore-thumb"),
    path("p/<slug:slug>/explore/gallery/<slug:name>/", gallery, name="gallery"),
]
