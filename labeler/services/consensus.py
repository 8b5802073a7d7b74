"""From the live answers on an image to its state and label. Nothing else writes `Image.state` and `Image.label`.

A gold image has its known class; else a manager's decision settles it; else people's answers, each weighed by how far
its person can be trusted, once that is measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
    GoldImage,
    Image,
    ImageState,
    Membership,
    Outcome,
    Project,
    User,
)
from labeler.models.rounds import NOT_OF_THE_POOL
from labeler.selectors.classes import MEANING
from labeler.services import audit
from labeler.services.label_probability import measured_people
from labeler.services.questions import wait_again
from labeler.services.races import not_in_work
from labeler.told import told

SKIPS_TO_SET_ASIDE = 2
LOOKUP = 500  # images a query
# Written out because every answer runs it, see TAKE in annotate.py. One answer is as likely right as its person is.
SETTLE_FIRST = """
UPDATE labeler_image SET state = %(state)s, label_id = %(label)s, labelled_at = %(when)s, is_contested = %(no)s,
    label_probability = (
        SELECT q.trust FROM labeler_annotatorquality q
        WHERE q.project_id = labeler_image.project_id AND q.annotator_id = %(person)s AND %(state)s = 'labelled')
WHERE id = %(image)s AND state = 'pool'
  AND NOT EXISTS (
      SELECT 1 FROM labeler_annotation a
      WHERE a.image_id = %(image)s AND a.retracted_at IS NULL AND NOT (a.outcome = 'undo')
        AND a.outcome <> 'skip' AND a.id <> %(answer)s)
"""


@dataclass(frozen=True)
class Verdict:
    """`probability`: that the label is right; None: not measured. `is_contested`: answers differ, none decides."""

    state: str
    label_id: int | None = None
    probability: float | None = None
    is_contested: bool = False


@dataclass(frozen=True)
class LiveAnswer:
    """`label_id`: the class that it means now. `is_proposed`: no manager has taken that class yet."""

    outcome: str
    label_id: int | None
    person: int
    is_decision: bool
    is_proposed: bool
    is_grid: bool = False  # accepted with others on a page of tiles


ANSWERS = ("outcome", MEANING, "annotator_id", "is_decision", "label_class__fate", "is_grid")
Votes = Sequence[tuple[int, int]]


def decide(
    answers: Sequence[tuple[str, int | None]],
    *,
    overlap: int,
    people: int,
    shares: Mapping[int, float] | None = None,
) -> Verdict:
    """What (outcome, class) answers of different people say together.

    A label needs `overlap` answers that are not skips and a class that strictly most of the labels name: a tie is a
    dispute. Where the probability of each class is known (`shares`), another one takes its place if it is likelier than
    not, and the image is disputed if none is.
    """
    outcomes = Counter(outcome for outcome, _ in answers)
    counted = len(answers) - outcomes[Outcome.SKIP]
    votes = Counter(label for outcome, label in answers if outcome == Outcome.LABEL and label is not None)
    if counted < overlap:
        is_avoided = outcomes[Outcome.SKIP] >= min(SKIPS_TO_SET_ASIDE, max(people, 1))
        return Verdict(ImageState.SET_ASIDE if is_avoided else ImageState.POOL)
    if 2 * outcomes[Outcome.BAD_IMAGE] > counted:
        return Verdict(ImageState.BAD)
    if not votes:
        return Verdict(ImageState.SET_ASIDE)
    differ = len(votes) > 1 or outcomes[Outcome.BAD_IMAGE] > 0
    (label, most), *others = votes.most_common(2)
    if others and others[0][1] == most:
        return Verdict(ImageState.DISPUTED, is_contested=True)
    if shares is None:
        return Verdict(ImageState.LABELLED, label, is_contested=differ)
    likeliest = max(votes, key=lambda pk: (shares.get(pk, 0.0), votes[pk]))
    if likeliest != label and shares[likeliest] <= 0.5:
        return Verdict(ImageState.DISPUTED, is_contested=True)
    return Verdict(ImageState.LABELLED, likeliest, shares[likeliest], differ)


def settle(image: Image, overlap: int) -> Verdict:
    """Bring an image in line with its live answers, in the caller's transaction, which has locked the image."""
    verdict = _verdict(image, overlap)
    _keep(image, verdict)
    return verdict


def settle_gold(image: Image, label_id: int) -> None:
    """The same for an image that has just become gold; its known class is right by definition."""
    _keep(image, Verdict(ImageState.LABELLED, label_id, 1.0))


def _keep(image: Image, verdict: Verdict) -> None:
    store(image, verdict)
    if verdict.state != ImageState.POOL:
        places = Candidate.objects.filter(image=image, state=CandidateState.OPEN, leased_to__isnull=True)
        not_in_work(places.exclude(reason__in=NOT_OF_THE_POOL)).update(state=CandidateState.SUPERSEDED)


def _verdict(image: Image, overlap: int) -> Verdict:
    if image.state == ImageState.LABELLED:  # as every gold image is
        gold = GoldImage.objects.filter(image=image).values_list(MEANING, flat=True).first()
        if gold is not None:
            return Verdict(ImageState.LABELLED, gold, 1.0)
    answers = [live_answer(*row) for row in live_answers(image).order_by("pk").values_list(*ANSWERS)]

    def shares_of(votes: Votes) -> Mapping[int, float] | None:
        measured = measured_people(image.project_id, [person for person, _ in votes])
        return measured.shares_of_asked_again(votes) if measured is not None else None

    people = count_people(image.project_id) if has_skip([(each.outcome, None) for each in answers]) else 1
    return verdict_of(answers, overlap=overlap, people=people, shares_of=shares_of)


def live_answer(
    outcome: str, label_id: int | None, person: int, is_decision: bool, fate: str | None, is_grid: bool
) -> LiveAnswer:
    """Of a row of ANSWERS."""
    return LiveAnswer(outcome, label_id, person, is_decision, fate == Fate.PROPOSED, is_grid)


def verdict_of(
    answers: Sequence[LiveAnswer],
    *,
    overlap: int,
    people: int,
    shares_of: Callable[[Votes], Mapping[int, float] | None],
) -> Verdict:
    """Of the live answers on an image that is not gold, oldest first; `shares_of` is asked for the probability of each
    class only where answers are enough."""
    if decisions := [answer for answer in answers if answer.is_decision]:
        return _decided(decisions[-1])
    if singly := [answer for answer in answers if not answer.is_grid and answer.outcome != Outcome.SKIP]:
        answers = singly  # who looked at the image by itself is believed, not who accepted it among others
    elif answers and all(answer.is_grid for answer in answers):
        return _accepted(answers)
    said = [(answer.outcome, answer.label_id) for answer in answers]
    votes = [(answer.person, answer.label_id) for answer in answers if answer.label_id is not None]
    shares = shares_of(votes) if len(said) >= overlap and votes else None
    verdict = decide(said, overlap=overlap, people=people, shares=shares)
    if verdict.label_id in {answer.label_id for answer in answers if answer.is_proposed}:
        return Verdict(ImageState.SET_ASIDE)  # until a manager has decided on the class
    return verdict


def _accepted(answers: Sequence[LiveAnswer]) -> Verdict:
    """On pages of tiles alone: how likely they are right is measured for the grid as a whole, not for its people."""
    labels = {answer.label_id for answer in answers}
    if len(labels) > 1:
        return Verdict(ImageState.DISPUTED, is_contested=True)
    return Verdict(ImageState.LABELLED, labels.pop())


def _decided(decision: LiveAnswer) -> Verdict:
    """A manager has seen what was said, and settles it."""
    if decision.outcome == Outcome.LABEL:
        return Verdict(ImageState.LABELLED, decision.label_id, 1.0)
    return Verdict(ImageState.BAD if decision.outcome == Outcome.BAD_IMAGE else ImageState.SET_ASIDE)


def settle_first_answer(answer_id: int, image_id: int, person_id: int, outcome: str, label_id: int | None) -> bool:
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
        "person": person_id,
        "no": False,
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
    if left.update(state=ImageState.POOL, is_contested=False, doubted_label=None) != 1:
        return False
    wait_again(image_ids=[image_id])
    image = Image.objects.select_related("project").get(pk=image_id)
    words = told("put the image %(name)s back into the pool", name=image.name)
    audit.record(project=image.project, by=by, kind=AuditKind.REVIEW, words=words, image=image_id)
    return True


def count_people(project_id: int) -> int:
    return Membership.objects.filter(project=project_id, deactivated_at__isnull=True).count()


def live_answers(image: Image) -> QuerySet[Annotation]:
    return Annotation.objects.filter(image=image, retracted_at__isnull=True).exclude(outcome=Outcome.UNDO)


def has_skip(answers: Sequence[tuple[str, int | None]]) -> bool:
    return any(outcome == Outcome.SKIP for outcome, _ in answers)


def store(image: Image, verdict: Verdict) -> None:
    """`labelled_at` is when the label became what it is, and stays where only its probability moves."""
    fields: dict[str, object] = {}
    if (image.state, image.label_id) != (verdict.state, verdict.label_id):
        fields = {"state": verdict.state, "label_id": verdict.label_id, "labelled_at": _when(verdict)}
        fields["doubted_label_id"] = None
    if (image.label_probability, image.is_contested) != (verdict.probability, verdict.is_contested):
        fields |= {"label_probability": verdict.probability, "is_contested": verdict.is_contested}
    if fields:
        Image.objects.filter(pk=image.pk).update(**fields)
        for name, value in fields.items():
            setattr(image, name, value)


def _when(verdict: Verdict) -> datetime | None:
    return clock.now() if verdict.state == ImageState.LABELLED else None
