"""The images of a project, for members. For managers alone: folders and labels that came with the images (they would
give answers away), what others answered, which images measure the accuracy, and how the queue is made."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from labeler.access import Access, manager_access, member_access
from labeler.models import ClassExample, GoldImage, Image, ImageState
from labeler.selectors.images import (
    FILTERS,
    RARE,
    filter_from,
    image_count,
    image_page,
    image_with_history,
    matching_count,
    metadata_columns,
    neighbours,
    untold_gold,
)
from labeler.selectors.maps import NoMap, current_map, labelled_neighbours
from labeler.selectors.predictions import image_prediction
from labeler.services.consensus import put_back


@require_safe
@login_required
def images(request: HttpRequest, slug: str) -> HttpResponse:
    access = member_access(request, slug)
    wanted = filter_from(request.GET, annotator=None if access.is_manager else access.user.pk)
    start, before = _position(request, "start"), _position(request, "before")
    page = image_page(access.project, wanted, start=start or 0, before=before)
    untold = set() if access.is_manager else untold_gold(access.project, access.user, [row.pk for row in page.images])
    query = request.GET.copy()
    for key in set(query) - set(FILTERS):
        del query[key]
    context = {
        "access": access,
        "tab": "images",
        "page": page,
        "untold": untold,
        "wanted": wanted,
        "query": query.urlencode(),
        "kept": [(key, query[key]) for key in FILTERS if query.get(key)],
        "can_return": access.is_manager and wanted.state in RARE and bool(page.images),
        "states": ImageState.choices,
        "classes": list(access.project.classes.all()),
        "columns": metadata_columns(access.project) if access.is_manager else [],
        "count": image_count(access.project),
        "matching": matching_count(access.project, wanted) if wanted.is_active else None,
    }
    return render(request, "images/images.html", context)


@require_safe
@login_required
def image(request: HttpRequest, slug: str, image_id: int) -> HttpResponse:
    access = member_access(request, slug)
    found = image_with_history(access.project, image_id, answers_of=None if access.is_manager else access.user)
    if found is None:
        raise Http404("No such image")
    before, behind = neighbours(found)
    name = found.name if access.is_manager else found.base_name
    context = {"access": access, "tab": "images", "image": found, "name": name, "before": before, "behind": behind}
    context["is_untold"] = not access.is_manager and found.pk in untold_gold(access.project, access.user, [found.pk])
    if access.is_manager:  # what the model thinks would sway who answers
        prediction = image_prediction(access.project, found, request.GET.get("round", ""))
        gold = GoldImage.objects.filter(image=found).select_related("label_class").first()
        context["example"] = ClassExample.objects.filter(image=found).select_related("label_class").first()
        context |= {"gold": gold, "classes": list(access.project.classes.filter(is_archived=False))}
        context |= {"prediction": prediction, **_neighbours(access, found)}
    return render(request, "images/image.html", context)


@require_POST
@login_required
def image_return(request: HttpRequest, slug: str, image_id: int) -> HttpResponse:
    access = manager_access(request, slug)
    found = access.project.images.filter(pk=image_id).first()
    if found is None:
        raise Http404("No such image")
    if put_back(found.pk, by=access.user):
        messages.success(request, _("The image is back in the pool. The answers it has still count."))
    else:
        messages.info(request, _("The image was not set aside, disputed or bad: nothing changed."))
    return redirect("image", slug, found.pk)


def _neighbours(access: Access, image: Image) -> dict[str, object]:
    shown = current_map(access.project)
    if shown is None:
        return {"no_neighbours": _("They are found on the map of the pool, which has not been drawn yet.")}
    try:
        return {"neighbours": labelled_neighbours(access.project, shown, image)}
    except NoMap as error:
        return {"no_neighbours": str(error)}


def _position(request: HttpRequest, name: str) -> int | None:
    value = request.GET.get(name, "")
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 10 else None


urlpatterns = [
    path("p/<slug:slug>/images/", images, name="images"),
    path("p/<slug:slug>/images/<int:image_id>/", image, name="image"),
    path("p/<slug:slug>/images/<int:image_id>/return/", image_return, name="image-return"),
]
