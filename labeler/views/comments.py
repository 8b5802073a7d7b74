"""Comments: sent from the Label page, read and answered on a manager's page. And the guide with its examples."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from labeler.access import Access, manager_access, member_access
from labeler.models import Comment
from labeler.selectors.comments import comment_page, guide_classes
from labeler.services.comments import (
    ExampleRefused,
    close_comment,
    comment_image,
    hide_example,
    note_reply_read,
    show_example,
)
from labeler.views.answer_bodies import BadRequest, read_body
from labeler.views.label import first_error, for_script


@for_script
def label_comment(request: HttpRequest, access: Access) -> JsonResponse:
    """As an outbox sends it."""
    body = read_body(request)
    comment = comment_image(
        project=access.project,
        by=access.user,
        image_id=_id(body.get("image"), "image"),
        text=_text(body.get("text")),
        key=_uuid(body.get("key")),
    )
    return JsonResponse({"saved": str(comment.key), "items": [], "empty": None})


@require_POST
@login_required
def comment_send(request: HttpRequest, slug: str) -> HttpResponse:
    """The same by a form."""
    access = member_access(request, slug)
    try:
        comment_image(
            project=access.project,
            by=access.user,
            image_id=_id(request.POST.get("image"), "image"),
            text=request.POST.get("text", ""),
            key=_uuid(request.POST.get("comment_key")),
        )
    except BadRequest as error:
        messages.error(request, error.words)
    except ValidationError as error:
        messages.error(request, first_error(error)[1])
    else:
        messages.success(request, _("Sent to the managers. Their reply is shown here."))
    return redirect("label", slug)


@require_POST
@login_required
def reply_read(request: HttpRequest, slug: str) -> HttpResponse:
    access = member_access(request, slug)
    value = request.POST.get("comment", "")
    if value.isascii() and value.isdecimal() and len(value) < 19:
        note_reply_read(project=access.project, person=access.user, comment_id=int(value))
    return redirect("label", slug)


@never_cache
@require_safe
@login_required
def comments(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    is_open = request.GET.get("show") != "closed"
    value = request.GET.get("page", "")
    number = int(value) if value.isascii() and value.isdecimal() and len(value) < 7 else 1
    found = comment_page(access.project, is_open=is_open, number=number)
    context = {"access": access, "tab": "answers", "page": "comments", "found": found, "is_open": is_open}
    return render(request, "comments/comments.html", context)


@require_POST
@login_required
def comment_close(request: HttpRequest, slug: str, pk: int) -> HttpResponse:
    access = manager_access(request, slug)
    get_object_or_404(Comment, pk=pk, project=access.project)
    try:
        reply = request.POST.get("reply", "")  # whichever button was pressed: what was typed is not lost
        if "with_reply" in request.POST and not reply.strip():
            raise ValidationError({"reply": _("The reply is empty. Write it, or close the comment without one.")})
        is_closed = close_comment(project=access.project, by=access.user, comment_id=pk, reply=reply)
    except ValidationError as error:
        messages.error(request, first_error(error)[1])
    else:
        if is_closed:
            messages.success(request, _("Sent; the person sees it on the Label page.") if reply else _("Closed."))
        else:
            messages.info(request, _("Somebody else has closed it already. Nothing was changed."))
    return redirect("comments", slug)


@never_cache
@require_safe
@login_required
def guide(request: HttpRequest, slug: str) -> HttpResponse:
    """Guidelines and examples: a page, and what the drawer of the Label page shows."""
    access = member_access(request, slug)
    context = {"access": access, "tab": "label", "classes": guide_classes(access.project)}
    name = "comments/_guide.html" if request.htmx else "comments/guide.html"  # type: ignore[attr-defined]
    return render(request, name, context)


@require_POST
@login_required
def example(request: HttpRequest, slug: str, image_id: int) -> HttpResponse:
    """`show`: on or off."""
    access = manager_access(request, slug)
    image = get_object_or_404(access.project.images, pk=image_id)
    try:
        if request.POST.get("show") == "on":
            shown = show_example(project=access.project, image_id=image.pk, by=access.user)
            messages.success(
                request, _("The guide shows it as an example of “%(name)s”.") % {"name": shown.label_class}
            )
        elif hide_example(project=access.project, image_id=image.pk, by=access.user):
            messages.success(request, _("The guide shows it no more."))
        else:
            messages.info(request, _("It was no example: nothing changed."))
    except ExampleRefused as refused:
        messages.error(request, str(refused))
    back = request.POST.get("back", "")
    is_ours = back.startswith("/") and url_has_allowed_host_and_scheme(back, allowed_hosts=None)
    return redirect(back if is_ours else reverse("image", args=[slug, image.pk]))


def _id(value: object, field: str) -> int:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise BadRequest(field, f"“{field}” is not an id.")
    return int(text)


def _uuid(value: object) -> uuid.UUID:
    try:
        return uuid.UUID(str(value))
    except ValueError as error:
        raise BadRequest("key", "“key” is not a UUID.") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise BadRequest("text", "A comment is a text.")
    return value


urlpatterns = [
    path("p/<slug:slug>/label/comment/", label_comment, name="label-comment"),
    path("p/<slug:slug>/label/comment/send/", comment_send, name="comment-send"),
    path("p/<slug:slug>/label/reply/read/", reply_read, name="reply-read"),
    path("p/<slug:slug>/label/guide/", guide, name="guide"),
    path("p/<slug:slug>/answers/comments/", comments, name="comments"),
    path("p/<slug:slug>/answers/comments/<int:pk>/close/", comment_close, name="comment-close"),
    path("p/<slug:slug>/images/<int:image_id>/example/", example, name="example"),
]
