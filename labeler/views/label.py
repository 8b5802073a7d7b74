"""The Label page: the page itself, which works as a plain form too, and the four addresses that its script calls."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from labeler.access import Access, Deactivated, member_access
from labeler.kept_answers import FIELD, KeptAnswer, address_with_answer, kept_answer
from labeler.models import Annotation, Candidate, Outcome
from labeler.selectors.classes import recent_use
from labeler.selectors.labelling import (
    answered_since,
    as_json,
    classes_of,
    item_of,
    place_of,
    progress_of,
    recent_answers,
    version_of,
    why_empty,
)
from labeler.selectors.news import news_for
from labeler.selectors.suggestions import names_for, told_after
from labeler.services.annotate import answer_and_lease, correct_answer, record_answer, retract_answer
from labeler.services.lease import release_leases, renew_leases
from labeler.services.proposals import record_proposal
from labeler.services.refill import lease_or_refill
from labeler.views.answer_bodies import Answer, BadRequest, read_answer, read_body, read_ids, read_uuid, read_want

MADE_FOR = "X-Annotator"  # whose page it is: nobody's answers are sent as those of who signed in after them
SIGNED_OUT = _lazy("You were signed out before your answer arrived. Sign in: it is shown again, for you to confirm.")
UNDO_LOST = _lazy("You were signed out before the undo arrived: it was not done.")
NOT_YOURS = _lazy("An answer in this browser could not be saved. It was not yours, so it is left alone.")
FILTER_FROM = 31  # with this many classes the page has a box to type in


def for_script(view: Callable[[HttpRequest, Access], JsonResponse]) -> Callable[..., JsonResponse]:
    """JSON for who is signed out (the page keeps its answers and says so), and for nonsense, naming the field."""

    @never_cache
    @require_POST
    @wraps(view)
    def run(request: HttpRequest, slug: str) -> JsonResponse:
        if not request.user.is_authenticated:
            return JsonResponse({"error": _("You are signed out.")}, status=401)
        if request.headers.get(MADE_FOR, str(request.user.pk)) != str(request.user.pk):
            words = _("In this browser %(person)s is signed in now: nothing is sent from this page.")
            return JsonResponse({"error": words % {"person": request.user.get_username()}}, status=401)
        try:
            access = member_access(request, slug)
        except Deactivated as refusal:  # as for a stranger: the page keeps its answers until it is let in again
            return JsonResponse({"error": str(refusal)}, status=404)
        try:
            return view(request, access)
        except BadRequest as error:
            return JsonResponse({"error": error.words, "field": error.field}, status=400)
        except ValidationError as error:
            field, words = first_error(error)
            return JsonResponse({"error": words, "field": field}, status=400)

    return run


def first_error(error: ValidationError) -> tuple[str, str]:
    if hasattr(error, "error_dict"):
        field, words = next(iter(error.message_dict.items()))
        return field, words[0]
    return "", error.messages[0]


# --- The page -------------------------------------------------------------------------------------------------------


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def label(request: HttpRequest, slug: str) -> HttpResponse:
    if not request.user.is_authenticated:
        return _to_sign_in(request)
    access = member_access(request, slug)
    if request.method == "POST":
        return _answer_by_form(request, access)
    classes = classes_of(access.project)
    names = {row.pk: row.name for row in classes}
    kept, place = _to_confirm(request, access)
    if place is not None:
        places = [place]
    else:
        places = lease_or_refill(project=access.project, annotator=access.user, want=1) if classes else []
    items = [item_of(access.project, place, names) for place in places]
    context = {
        "access": access,
        "tab": "label",
        "classes": classes,
        "classes_version": version_of(classes),
        "has_filter": len(classes) >= FILTER_FROM,
        "item": items[0] if items else None,
        "items": items,
        "empty": None if items else why_empty(access.project, access.user, is_manager=access.is_manager),
        "progress": progress_of(access.project, access.user),
        "recent": recent_answers(access.project, access.user),
        "used": list(recent_use(access.project, access.user).items()) if len(classes) >= FILTER_FROM else [],
        "kept": kept,
        "key": kept.key if kept else uuid.uuid4(),
        "undo_key": uuid.uuid4(),
        "comment_key": uuid.uuid4(),
        "news": news_for(access.project, access.user),
    }
    return render(request, "label/label.html", context)


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    """An answer goes along, to be confirmed afterwards."""
    address = address_with_answer(request) if request.method == "POST" else request.get_full_path()
    if request.method == "POST" and ("undo" in request.POST or address):
        messages.warning(request, UNDO_LOST if "undo" in request.POST else SIGNED_OUT)
    return redirect_to_login(address or request.path)


def _to_confirm(request: HttpRequest, access: Access) -> tuple[KeptAnswer | None, Candidate | None]:
    """The answer that the sign-in has interrupted, and its place; nothing, and why, if it is not to be given."""
    if FIELD not in request.GET:
        return None, None
    kept = kept_answer(request)
    if kept is not None and kept.annotator != str(access.user.pk):
        messages.warning(request, NOT_YOURS)
        return None, None
    place = place_of(access.project, kept.image, kept.candidate) if kept else None
    if kept is None or place is None:
        messages.warning(request, _("The answer that could not be saved can no longer be shown. Nothing was saved."))
        return None, None
    if answered_since(access.user, place.image):
        messages.info(request, _("You have answered that image since."))
        return None, None
    return kept, place


def _answer_by_form(request: HttpRequest, access: Access) -> HttpResponse:
    """The same without JavaScript: one button, one answer, then the next image."""
    form = dict(request.POST.items())
    if form.get("annotator", str(access.user.pk)) != str(access.user.pk):
        messages.error(request, NOT_YOURS)
        return redirect("label", access.project.slug)
    try:
        if "undo" in form:
            retract_answer(
                project=access.project,
                annotator=access.user,
                target_key=read_uuid(form, "undo"),
                key=read_uuid(form, "undo_key"),
            )
        else:
            if "label_class" in form or "propose" in form:
                form["outcome"] = Outcome.LABEL
            if "propose" not in form:
                form.pop("proposed", None)
            answer = read_answer(form)
            if told := told_after(access.project, save_answer(access, answer)):
                messages.info(request, _("The model says %(words)s") % told)
    except BadRequest as error:
        messages.error(request, error.words)
    except ValidationError as error:
        messages.error(request, first_error(error)[1])
    return redirect("label", access.project.slug)


# --- What the script calls ------------------------------------------------------------------------------------------


@for_script
def label_next(request: HttpRequest, access: Access) -> JsonResponse:
    """Places that the page does not have yet, how far the work is, the version of the classes, what is unread, whether
    there is a guide by now, and whether classes may be proposed."""
    body = read_body(request)
    holding = read_ids(body, "holding")
    classes = classes_of(access.project)
    places = lease_or_refill(project=access.project, annotator=access.user, want=read_want(body)) if classes else []
    fresh = [place for place in places if place.pk not in holding]
    news = {
        "progress": as_json(progress_of(access.project, access.user)),
        "classes": version_of(classes),
        "unread": _unread(request, access),
        "guide": access.project.has_guide,
        "proposals": access.project.takes_proposals,
    }
    return JsonResponse({**_items(access, fresh, is_idle=not places), **news})


def _unread(request: HttpRequest, access: Access) -> dict[str, str]:
    """`marks`: by which the page knows whether it shows them already."""
    news = news_for(access.project, access.user)
    html = render_to_string("label/_news.html", {"access": access, "news": news}, request) if news else ""
    return {"marks": " ".join(each.mark for each in news), "html": html}


@for_script
def label_answer(request: HttpRequest, access: Access) -> JsonResponse:
    """Keep an answer, and lease what the page has room for: `want` in all, less those it is `holding`. What the model
    says of the image comes along where the project tells it after the answer."""
    body = read_body(request)
    answer = read_answer(body)
    room = read_want(body) - len(read_ids(body, "holding"))
    kept, places = answer_and_lease(
        project=access.project, annotator=access.user, save=lambda: save_answer(access, answer), room=room
    )
    is_idle = room >= read_want(body) and not places
    news: dict[str, Any] = {}
    named = kept._state.fields_cache.get("label_class")  # looked up only where something is unusual
    if named is not None and named.is_archived and not answer.proposed:
        news = {"classes": version_of(classes_of(access.project))}  # the page shows one that is offered no more
    if told := told_after(access.project, kept):
        news["told"] = told
    return JsonResponse({"saved": str(answer.key), **_items(access, places, is_idle=is_idle), **news})


@for_script
def label_undo(request: HttpRequest, access: Access) -> JsonResponse:
    body = read_body(request)
    target = read_uuid(body, "target")
    retract_answer(project=access.project, annotator=access.user, target_key=target, key=read_uuid(body, "key"))
    return JsonResponse({"undone": str(target), "items": [], "empty": None})


@for_script
def label_leases(request: HttpRequest, access: Access) -> JsonResponse:
    """Renew what the page shows, or give back what it no longer needs. A closing page sends a form (sendBeacon)."""
    if request.content_type == "application/json":
        body = read_body(request)
    else:
        body = {name: list(request.POST.getlist(name)) for name in request.POST}
    if not {"release", "renew"} & set(body):
        raise BadRequest("", "Say which leases to renew or to release.")
    if "release" in body:
        release_leases(project=access.project, annotator=access.user, candidate_ids=read_ids(body, "release"))
        return JsonResponse({"held": []})
    ids = read_ids(body, "renew")
    return JsonResponse({"held": renew_leases(project=access.project, annotator=access.user, candidate_ids=ids)})


def _items(access: Access, places: list[Candidate], *, is_idle: bool) -> dict[str, Any]:
    names = names_for(access.project, places)
    items = [item_of(access.project, place, names) for place in places]
    empty = as_json(why_empty(access.project, access.user, is_manager=access.is_manager)) if is_idle else None
    return {"items": items, "empty": empty}


def save_answer(access: Access, answer: Answer) -> Annotation:
    if not answer.proposed:
        return _record(access, answer)
    return record_proposal(
        project=access.project,
        annotator=access.user,
        name=answer.proposed,
        key=answer.key,
        save=lambda pk: _record(access, replace(answer, label_class_id=pk)),
    )


def _record(access: Access, answer: Answer) -> Annotation:
    values: dict[str, Any] = {
        "project": access.project,
        "annotator": access.user,
        "outcome": answer.outcome,
        "label_class_id": answer.label_class_id,
        "key": answer.key,
        "seconds": answer.seconds,
        "answered_at": answer.answered_at,
        "suggestion": answer.suggestion,
    }
    if answer.corrects is not None:
        return correct_answer(target_key=answer.corrects, **values)
    return record_answer(image_id=answer.image_id, candidate_id=answer.candidate_id, **values)


urlpatterns = [
    path("p/<slug:slug>/label/", label, name="label"),
    path("p/<slug:slug>/label/next/", label_next, name="label-next"),
    path("p/<slug:slug>/label/answer/", label_answer, name="label-answer"),
    path("p/<slug:slug>/label/undo/", label_undo, name="label-undo"),
    path("p/<slug:slug>/label/leases/", label_leases, name="label-leases"),
]
