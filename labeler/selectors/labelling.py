"""What the Label page shows: an image with its reason, how far the work is, and why there is nothing to do."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import blake2b
from statistics import median
from typing import Any

from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from labeler import clock, storage
from labeler.choices import measure_of, measure_unit, measure_words
from labeler.models import (
    Annotation,
    Candidate,
    CandidateState,
    Fate,
    Image,
    ImageState,
    LabelClass,
    Outcome,
    Project,
    Reason,
    User,
)
from labeler.models.images import MEDIA_TYPES
from labeler.models.rounds import BY_GRAPH, NOT_OF_THE_POOL, reason_words
from labeler.numerals import numeral
from labeler.selectors.alike import alike_item, images_alike
from labeler.selectors.next_round import next_scheduled, scheduled_words
from labeler.selectors.pool import images_to_ask, total_images
from labeler.selectors.suggestions import SHOWN_AS_RANDOM, likely_words, suggestion_of
from labeler.selectors.work_left import Stage, WorkLeft, open_places, work_left
from labeler.told import from_kept, said

RECENT = 30  # as the page keeps; it shows fewer
PACE_OF = 50  # the last answers, for the seconds an answer
RETRY_SECONDS = 3
SMALL = 100  # pixels; a picture this small is drawn with sharp edges
INLINE_BYTES = 8 * 1024


@dataclass(frozen=True)
class Progress:
    labelled: int
    total: int
    mine_today: int
    seconds: float | None  # median of the person's last answers


@dataclass(frozen=True)
class Empty:
    """Why there is nothing to answer. `retry_seconds` is None when waiting would be in vain."""

    why: str
    words: str
    retry_seconds: int | None


def progress_of(project: Project, annotator: User) -> Progress:
    images = Image.objects.filter(project=project).order_by()  # without the pool: by the partial index
    mine = _live(project).filter(annotator=annotator)
    recent = mine.filter(seconds__isnull=False).order_by("-id").values_list("seconds", flat=True)[:PACE_OF]
    pace = [seconds for seconds in recent if seconds is not None]
    return Progress(
        labelled=images.filter(state=ImageState.LABELLED).exclude(state=ImageState.POOL).count(),
        total=total_images(project),
        mine_today=_given_by(project, annotator).filter(created_at__gte=_midnight()).count(),
        seconds=round(median(pace), 1) if pace else None,
    )


def _given_by(project: Project, annotator: User) -> QuerySet[Annotation]:
    """What the person has answered, and not taken back or corrected: a class that is split does not undo their work."""
    given = Q(retracted_at__isnull=True) | Q(voided_by__isnull=False)
    return Annotation.objects.filter(given, project=project, annotator=annotator).exclude(outcome=Outcome.UNDO)


def _midnight() -> datetime:
    return timezone.localtime(clock.now()).replace(hour=0, minute=0, second=0, microsecond=0)


def classes_of(project: Project) -> list[LabelClass]:
    return list(LabelClass.objects.filter(project=project, is_archived=False))


def version_of(classes: Iterable[LabelClass]) -> str:
    """By which an open page learns that its buttons are no longer those of the project."""
    shown = [(row.pk, row.name, row.shortcut, row.colour) for row in classes]
    return blake2b(repr(shown).encode(), digest_size=6).hexdigest()


def item_of(project: Project, place: Candidate, names: dict[int, str]) -> dict[str, Any]:
    """A place of the queue as the page gets it."""
    # Which images measure the accuracy or check people is not told: they would take extra care of exactly those. Nor is
    # it which were answered before: what others said would sway them.
    is_secret = place.reason in NOT_OF_THE_POOL
    reason = Reason.RANDOM if place.reason in SHOWN_AS_RANDOM else Reason(place.reason)
    group = None if is_secret else images_alike(place)
    measure = place.details.get("measure") or measure_of(place.round.config.get("acquisition", ""))
    return {
        **image_item(project, place.image),
        **inlined(place.image),
        "candidate": place.pk,
        "rank": place.rank,
        "round": place.round.number,
        "model": place.details.get("model"),  # of an older round, which is in charge
        "reason": reason.value,
        "reason_words": reason_words(reason, group),
        "score": None if is_secret or reason in BY_GRAPH else place.score,
        "group": group,
        **alike_item(project, place),
        "measure": measure_words(measure),
        "unit": measure_unit(measure),
        "percentile": None if is_secret else place.percentile,
        "suggestion": suggestion_of(project, place, names, "before"),
        "question": said(from_kept(place.details.get("question", ""))),
        "likely": likely_words(project, place, names),
    }


def place_of(project: Project, image: str, candidate: str) -> Candidate | None:
    """The place of the queue that a form names, whatever has become of it."""
    if not (image.isdecimal() and candidate.isdecimal() and len(image) < 19 and len(candidate) < 19):
        return None
    places = Candidate.objects.select_related("image__pack", "round")
    return places.filter(project=project, image_id=int(image), pk=int(candidate)).first()


def answered_since(annotator: User, image: Image) -> bool:
    return _live(image.project).filter(annotator=annotator, image=image).exists()


def image_item(project: Project, image: Image) -> dict[str, Any]:
    url = reverse("media", args=[project.slug, image.pk])
    return {
        "image": image.pk,
        "url": url,
        "src": url,
        "width": image.width,
        "height": image.height,
        "name": image.base_name,
        "is_small": max(image.width, image.height) < SMALL,
    }


def inlined(image: Image) -> dict[str, str]:
    """A small image comes with its place: nobody waits for another request. Larger ones the page fetches ahead."""
    if image.length > INLINE_BYTES or image.media_type not in MEDIA_TYPES or not storage.is_local():
        return {}
    try:
        data = storage.read_range(image.pack.name, image.offset, image.length)
    except FileNotFoundError:
        return {}  # the page asks for it, and shows that it is missing
    return {"src": f"data:{image.media_type};base64,{b64encode(data).decode()}"}


def recent_answers(project: Project, annotator: User) -> list[dict[str, Any]]:
    """The person's last live answers, newest first, for the strip."""
    rows = _live(project).filter(annotator=annotator).select_related("image", "label_class__merged_into")
    rows = rows.order_by("-id")[:RECENT]
    midnight = _midnight()
    return [
        {
            **image_item(project, row.image),
            "key": str(row.key),
            "candidate": row.candidate_id,
            "outcome": row.outcome,
            "label_class": row.label_class.meaning.pk if row.label_class else None,
            "words": row.label_class.answer_words if row.label_class else row.get_outcome_display(),
            "proposed": row.label_class is not None and row.label_class.meaning.fate == Fate.PROPOSED,
            "is_today": row.created_at >= midnight,
        }
        for row in rows
    ]


def has_classes(project: Project) -> bool:
    return LabelClass.objects.filter(project=project, is_archived=False).exists()


def why_empty(project: Project, annotator: User, *, is_manager: bool = False) -> Empty:
    """By what is left of the work (selectors/work_left.py), and who has it. A manager is shown the way itself."""
    left = work_left(project)
    if left.stage == Stage.PAUSED:
        return _paused(project)
    if left.stage == Stage.NO_IMAGES:
        to_annotators = _("There are no images yet. A manager can import some.")
        return Empty("no_images", _("There are no images yet.") if is_manager else to_annotators, 10)
    if left.stage == Stage.NO_CLASSES:
        to_annotators = _("There are no classes yet. A manager can add them in the settings.")
        return Empty("no_classes", _("There are no classes yet.") if is_manager else to_annotators, 10)
    if left.stage == Stage.MAKING:
        words = _("Round %(number)s is choosing what to ask next. This page goes on by itself.")
        return Empty("waiting_for_round", words % {"number": left.round_number}, RETRY_SECONDS)
    if left.stage == Stage.COMING:
        words = _(
            "The queue is empty. The next one is being made; if this takes longer than a minute, no worker is running."
        )
        return Empty("waiting_for_round", words, RETRY_SECONDS)
    if left.stage == Stage.BY_HAND:
        return Empty("by_hand", _by_hand_words(project, is_manager=is_manager), 10)
    return _others_hold(project, annotator, left) or _all_answered(left, is_manager=is_manager)


def _others_hold(project: Project, annotator: User, left: WorkLeft) -> Empty | None:
    """Somebody else has an image on the screen that could come back."""
    held = Candidate.objects.filter(project=project, state=CandidateState.OPEN, leased_until__gt=clock.now())
    if not held.exclude(leased_to=annotator).exists():
        return None
    queued = open_places(project.queue_round_id).values("image").distinct().count()
    words = _("Others are answering the last images. If one of them comes back, you get it.")
    if images_to_ask(left.counts, left.target) > queued:
        words = _("Others are answering the last images. More come soon.")
    return Empty("others_hold", words, RETRY_SECONDS)


def _all_answered(left: WorkLeft, *, is_manager: bool) -> Empty:
    if left.stage in (Stage.QUEUED, Stage.OTHERS, Stage.AGAIN):
        words = _("You have answered all that is left. Other people have to answer it too.")
        return Empty("all_answered", words, 10)
    if left.stage == Stage.DISPUTED and is_manager:
        return Empty("disputed", left.words, None)
    total = left.counts.total
    words = ngettext(
        "The only image has its answers. Thank you.", "All %(total)s images have their answers. Thank you.", total
    )
    return Empty("all_answered", words % {"total": numeral(total)}, None)


def _by_hand_words(project: Project, *, is_manager: bool) -> str:
    """Only a button or a schedule starts rounds, so that no worker is making anything now."""
    at = next_scheduled(project.learning)
    if at is not None:
        return _("The queue is empty. The next round starts %(when)s.") % {"when": scheduled_words(at)}
    if is_manager:
        return _("The queue is empty. Start a round on the Monitor: it makes the next one.")
    return _("The queue is empty. The next one is made when a manager starts a round.")


def _paused(project: Project) -> Empty:
    parts = [_("A manager has paused this project.")]
    if project.pause_reason:
        parts.append(_("They say: %(reason)s") % {"reason": project.pause_reason})
    parts.append(_("What you have answered is kept."))
    return Empty("paused", " ".join(parts), 15)


def as_json(value: Progress | Empty | None) -> dict[str, Any] | None:
    return None if value is None else asdict(value)


def _live(project: Project) -> QuerySet[Annotation]:
    return Annotation.objects.filter(project=project, retracted_at__isnull=True).exclude(outcome=Outcome.UNDO)
