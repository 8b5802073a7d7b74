"""From the live answers on an image to its state and label. Nothing else writes `Image.state` and `Image.label`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.models import Count, QuerySet

from labeler import clock
from labeler.models import (
    Annotation,
    AuditKind,
    Candidate,
    CandidateState,
    Fate,
    Image,
    ImageState,
    Membership,
    Outcome,
    Project,
    User,
)
from labeler.selectors.classes import MEANING
from labeler.services import audit
from labeler.services.races import not_in_work

SKIPS_TO_SET_ASIDE = 2
LOOKUP = 500  # images a query
# Written out because every answer runs it, see TAKE in annotate.py.
SETTLE_FIRST = """
UPDATE labeler_image SET state = %(state)s, label_id = %(label)s, labelled_at = %(when)s
WHERE id = %(image)s AND state = 'pool'
  AND NOT EXISTS (
      SELECT 1 FROM labeler_annotation a
      WHERE a.image_id = %(image)s AND a.retracted_at IS NULL AND NOT (a.outcome = 'undo')
        AND a.outcome <> 'skip' AND a.id <> %(answer)s)
"""


@dataclass(frozen=True)
class Verdict:
    state: str
    label_id: int | None = None


def decide(answers: Sequence[tuple[str, int | None]], *, overlap: int, people: int) -> Verdict:
    """What (outcome, class) answers of different people say together.

    A label needs `overlap` answers that are not skips and a class that strictly most of the labels name.
    """
    outcomes = Counter(outcome for outcome, _ in answers)
    counted = len(answers) - outcomes[Outcome.SKIP]
    votes = Counter(label for outcome, label in answers if outcome == Outcome.LABEL)
    if counted < overlap:
        is_avoided = outcomes[Outcome.SKIP] >= min(SKIPS_TO_SET_ASIDE, max(people, 1))
        return Verdict(ImageState.SET_ASIDE if is_avoided else ImageState.POOL)
    if 2 * outcomes[Outcome.BAD_IMAGE] > counted:
        return Verdict(ImageState.BAD)
    if not votes:
        return Verdict(ImageState.SET_ASIDE)
    (label, most), *others = votes.most_common(2)
    if others and others[0][1] == most:
        return Verdict(ImageState.DISPUTED)
    return Verdict(ImageState.LABELLED, label)


def settle(image: Image, overlap: int) -> Verdict:
    """Bring an image in line with its live answers, in the caller's transaction, which has locked the image."""
    rows = list(live_answers(image).values_list("outcome", MEANING, "label_class__fate"))
    answers = [(outcome, label) for outcome, label, _ in rows]
    people = _people(image.project_id) if has_skip(answers) else 1
    verdict = decide(answers, overlap=overlap, people=people)
    if verdict.label_id in {label for _, label, fate in rows if fate == Fate.PROPOSED}:
        verdict = Verdict(ImageState.SET_ASIDE)  # until a manager has decided on the class
    if (image.state, image.label_id) != (verdict.state, verdict.label_id):
        store(image.pk, verdict)
    if verdict.state != ImageState.POOL:
        open_places = Candidate.objects.filter(image=image, state=CandidateState.OPEN, leased_to__isnull=True)
        not_in_work(open_places).update(state=CandidateState.SUPERSEDED)
    return verdict


def settle_first_answer(answer_id: int, image_id: int, outcome: str, label_id: int | None) -> bool:
    """The same in one statement, for the one answer that an image of the pool needs.

    False, and nothing done, when the image is not in the pool or has other answers: put back by a manager, or from a
    time when the project asked for several. An answer that is just being given elsewhere is no matter: of two
    statements on one image the second waits for the first, and finds the image gone from the pool.
    """
    verdict = decide([(outcome, label_id)], overlap=1, people=2)
    when = _when(verdict)
    parameters = {
        "state": verdict.state,
        "label": verdict.label_id,
        "when": when and connection.ops.adapt_datetimefield_value(when),
        "image": image_id,
        "answer": answer_id,
    }
    with connection.cursor() as cursor:
        cursor.execute(SETTLE_FIRST, parameters)
        return bool(cursor.rowcount == 1)


def settle_first_labels(image_ids: Sequence[int], label_id: int) -> None:
    """The same for many images that all got this label as the one answer they need."""
    verdict = decide([(Outcome.LABEL, label_id)], overlap=1, people=2)
    Image.objects.filter(pk__in=image_ids, state=ImageState.POOL).update(
        state=verdict.state, label_id=verdict.label_id, labelled_at=_when(verdict)
    )
    open_places = Candidate.objects.filter(image__in=image_ids, state=CandidateState.OPEN, leased_to__isnull=True)
    not_in_work(open_places).update(state=CandidateState.SUPERSEDED)


@transaction.atomic
def settle_enough(*, project: Project, before: int, overlap: int) -> int:
    """The overlap went down from `before`: images that wait with enough answers wait no more. Returns how many.

    One with `before` answers or more waits because a manager put it back, and goes on waiting.
    """
    waiting = Annotation.objects.filter(project=project, retracted_at__isnull=True, image__state=ImageState.POOL)
    counted = waiting.exclude(outcome__in=[Outcome.UNDO, Outcome.SKIP])
    ids = counted.values("image").annotate(n=Count("id")).filter(n__gte=overlap, n__lt=before).order_by("image")
    image_ids = list(ids.values_list("image", flat=True))
    for start in range(0, len(image_ids), LOOKUP):
        some = Image.objects.filter(pk__in=image_ids[start : start + LOOKUP], state=ImageState.POOL)
        for image in some.select_for_update(no_key=True).order_by("pk"):
            settle(image, overlap)
    return len(image_ids)


@transaction.atomic
def put_back(image_id: int, *, by: User | None = None) -> bool:
    """A manager's word: an image that was set aside, disputed or bad is asked about again. Its answers stay."""
    left = Image.objects.filter(pk=image_id, state__in=[ImageState.SET_ASIDE, ImageState.BAD, ImageState.DISPUTED])
    if left.update(state=ImageState.POOL) != 1:
        return False
    image = Image.objects.select_related("project").get(pk=image_id)
    words = f"put the image {image.name} back into the pool"
    audit.record(project=image.project, by=by, kind=AuditKind.REVIEW, words=words, image=image_id)
    return True


def _people(project_id: int) -> int:
    return Membership.objects.filter(project=project_id, deactivated_at__isnull=True).count()


def live_answers(image: Image) -> QuerySet[Annotation]:
    return Annotation.objects.filter(image=image, retracted_at__isnull=True).exclude(outcome=Outcome.UNDO)


def has_skip(answers: Sequence[tuple[str, int | None]]) -> bool:
    return any(outcome == Outcome.SKIP for outcome, _ in answers)


def store(image_id: int, verdict: Verdict) -> None:
    Image.objects.filter(pk=image_id).update(state=verdict.state, label_id=verdict.label_id, labelled_at=_when(verdict))


def _when(verdict: Verdict) -> datetime | None:
    return clock.now() if verdict.state == ImageState.LABELLED else None
