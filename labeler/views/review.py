"""The review queue: one image after another that a manager should look at, each settled by one key.

What was skipped, what was decided last (to undo it) and the list of doubts are kept in the session: they are of one
person's sitting.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from labeler.access import Access, manager_access
from labeler.models import LabelClass, Outcome
from labeler.selectors.review import DISAGREE, DOUBT, doubts_of, is_open, next_contested, review_item
from labeler.services.decide import DecisionRefused, decide_image, undo_decision
from labeler.services.gold import GoldRefused, mark_gold

KINDS = {DISAGREE: gettext_lazy("People disagree"), DOUBT: gettext_lazy("The model doubts")}
MOST_SKIPPED, MOST_UNDONE = 500, 30
OUTCOMES = {Outcome.BAD_IMAGE, Outcome.UNSURE}


class Sitting:
    """What the session keeps of one project's review."""

    def __init__(self, request: HttpRequest, access: Access) -> None:
        self.session, self.name = request.session, f"review-{access.project.pk}"
        kept: dict[str, Any] = self.session.get(self.name, {})
        self.skipped: list[int] = kept.get("skipped", [])
        self.decided: list[str] = kept.get("decided", [])  # keys of answers, newest last
        self.doubts: list[int] = kept.get("doubts", [])
        self.doubt_count: int = kept.get("doubt_count", 0)
        self.problem: str = kept.get("problem", "")

    def save(self) -> None:
        self.session[self.name] = {
            "skipped": self.skipped[-MOST_SKIPPED:],
            "decided": self.decided[-MOST_UNDONE:],
            "doubts": self.doubts,
            "doubt_count": self.doubt_count,
            "problem": self.problem,
        }


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def review(request: HttpRequest, slug: str) -> HttpResponse:
    access = manager_access(request, slug)
    kind = request.GET.get("kind", "")
    kind = kind if kind in KINDS else DISAGREE
    sitting = Sitting(request, access)
    if request.method == "POST":
        _act(request, access, sitting)
        sitting.save()
        if not request.htmx:  # type: ignore[attr-defined]
            return redirect(f"{reverse('review', args=[slug])}?kind={kind}")
    image_id, count = _next(access, kind, sitting, asked=_id(request.GET.get("image", "")))
    sitting.save()
    context = {
        "access": access,
        "tab": "answers",
        "page": "review",
        "kind": kind,
        "kinds": KINDS,
        "count": count,
        "item": review_item(access.project, image_id) if image_id is not None else None,
        "key": uuid.uuid4(),
        "can_undo": bool(sitting.decided),
        "skipped": len(sitting.skipped),
        "problem": sitting.problem if kind == DOUBT else "",
        "overlap": access.project.learning.overlap,
    }
    name = "answers/_review.html" if request.htmx else "answers/review.html"  # type: ignore[attr-defined]
    return render(request, name, context)


@require_POST
@login_required
def review_undo(request: HttpRequest, slug: str) -> HttpResponse:
    """Take the last decision of this sitting back and show its image again."""
    access = manager_access(request, slug)
    sitting = Sitting(request, access)
    kind = request.POST.get("kind", "")
    address = f"{reverse('review', args=[slug])}?kind={kind if kind in KINDS else DISAGREE}"
    if not sitting.decided:
        messages.info(request, _("There is nothing to undo."))
        return redirect(address)
    key = uuid.UUID(sitting.decided.pop())
    sitting.save()
    try:
        undo = undo_decision(project=access.project, by=access.user, target_key=key, key=uuid.uuid4())
    except ValidationError as error:
        messages.error(request, error.messages[0])
        return redirect(address)
    messages.success(request, _("Undone. The image is what people’s answers say again."))
    return redirect(f"{address}&image={undo.image_id}")


def _act(request: HttpRequest, access: Access, sitting: Sitting) -> None:
    """One press: skip, begin again with what was skipped, or decide."""
    image_id, action = _id(request.POST.get("image", "")), request.POST.get("action", "")
    if action == "again":
        sitting.skipped, sitting.doubts = [], []
    elif image_id is None:
        messages.error(request, _("Nothing was decided: the page did not say which image. Try again."))
    elif action == "skip":
        sitting.skipped.append(image_id)
    else:
        _decide(request, access, sitting, image_id)


def _decide(request: HttpRequest, access: Access, sitting: Sitting, image_id: int) -> None:
    outcome = request.POST.get("outcome", "")
    label = _id(request.POST.get("label_class", "")) if outcome not in OUTCOMES else None
    try:
        key = uuid.UUID(request.POST.get("key", ""))
        answer = decide_image(
            project=access.project,
            by=access.user,
            image_id=image_id,
            outcome=outcome if outcome in OUTCOMES else Outcome.LABEL,
            label_class_id=label,
            key=key,
            seen=_id(request.POST.get("seen", "")) or 0,
        )
    except DecisionRefused as refused:
        messages.warning(request, str(refused))
        return
    except (ValueError, ValidationError) as error:
        words = error.messages[0] if isinstance(error, ValidationError) else _("The page was damaged. Try again.")
        messages.error(request, _("Nothing was decided. %(words)s") % {"words": words})
        return
    if str(key) not in sitting.decided:
        sitting.decided.append(str(key))
    if request.POST.get("gold") and answer.label_class_id is not None:
        _make_gold(request, access, image_id, answer.label_class_id)


def _make_gold(request: HttpRequest, access: Access, image_id: int, label_id: int) -> None:
    label_class = LabelClass.objects.get(pk=label_id)
    try:
        mark_gold(project=access.project, image_id=image_id, label_class=label_class, by=access.user)
    except GoldRefused as refused:
        messages.error(request, str(refused))
    else:
        messages.success(request, _("Decided, and gold from now on: %(name)s.") % {"name": label_class})


def _next(access: Access, kind: str, sitting: Sitting, asked: int | None) -> tuple[int | None, int]:
    """The image to show and how many there are. `asked`: that one, after an undo."""
    if kind == DISAGREE:
        first, count = next_contested(access.project, sitting.skipped)
    else:
        first, count = _next_doubt(access, sitting)
    return (asked, max(count, 1)) if asked is not None else (first, count)


def _next_doubt(access: Access, sitting: Sitting) -> tuple[int | None, int]:
    """Of the list; once that is through, of a new one."""
    for is_new in (False, True):
        if is_new:
            found = doubts_of(access.project)
            sitting.doubts = [pk for pk in found.image_ids if pk not in sitting.skipped]
            sitting.doubt_count, sitting.problem = found.count, found.problem
        while sitting.doubts:
            if sitting.doubts[0] not in sitting.skipped and is_open(access.project, sitting.doubts[0]):
                return sitting.doubts[0], max(sitting.doubt_count, len(sitting.doubts))
            sitting.doubts.pop(0)
            sitting.doubt_count = max(0, sitting.doubt_count - 1)
    return None, 0


def _id(value: str) -> int | None:
    return int(value) if value.isascii() and value.isdecimal() and len(value) < 19 else None


urlpatterns = [
    path("p/<slug:slug>/answers/review/", review, name="review"),
    path("p/<slug:slug>/answers/review/undo/", review_undo, name="review-undo"),
]
