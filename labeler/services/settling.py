"""Many images at once brought in line with their live answers: what `consensus.settle` does for one; and labels that
what is known of people speaks against by now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from django.db import connection, transaction

from labeler import clock
from labeler.models import (
    Annotation,
    AuditKind,
    Candidate,
    CandidateState,
    GoldImage,
    Image,
    ImageState,
    Outcome,
    Project,
)
from labeler.models.rounds import NOT_OF_THE_POOL
from labeler.selectors.classes import MEANING
from labeler.services import audit
from labeler.services.consensus import ANSWERS, LiveAnswer, Verdict, count_people, has_skip, live_answer, verdict_of
from labeler.services.label_probability import MeasuredPeople, measured_people
from labeler.services.races import not_in_work
from labeler.told import told

NAMED = 5  # images in an entry of the record


def settle_images(*, project: Project, image_ids: Sequence[int]) -> int:
    """In the caller's transaction, a handful of statements whatever their number. Returns how many images changed.

    The images are locked in the order of their ids, as answers lock theirs one by one.
    """
    before = _locked(project, image_ids)
    verdicts = _verdicts(project, list(before))
    changed: dict[tuple[Verdict, bool], list[int]] = defaultdict(list)
    for pk, was in before.items():
        verdict = verdicts[pk]
        if was != verdict:
            keeps_time = was.state == verdict.state == ImageState.LABELLED
            changed[verdict, keeps_time].append(pk)
    for (verdict, keeps_time), pks in changed.items():
        values: dict[str, object] = {
            "state": verdict.state,
            "label_id": verdict.label_id,
            "label_probability": verdict.probability,
            "is_contested": verdict.is_contested,
            "doubted_label_id": None,
        }
        if not keeps_time:  # an image whose label is called otherwise was not labelled anew
            values["labelled_at"] = clock.now() if verdict.state == ImageState.LABELLED else None
        Image.objects.filter(pk__in=pks).update(**values)
    gone = [pk for pk in before if verdicts[pk].state != ImageState.POOL]
    places = Candidate.objects.filter(image__in=gone, state=CandidateState.OPEN, leased_to__isnull=True)
    not_in_work(places.exclude(reason__in=NOT_OF_THE_POOL)).update(state=CandidateState.SUPERSEDED)
    return sum(map(len, changed.values()))


def dispute_labels(*, project: Project, image_ids: Sequence[int], people: MeasuredPeople) -> int:
    """Take the label from those of which another class is likelier by now, going by `people`; they are disputed until
    somebody else has answered, or a manager has decided. Returns how many.

    What is looked at is how things are under the lock: a label that has been decided or become gold since stays, and so
    does one that is just being answered about.
    """
    can_skip = connection.features.has_select_for_update_skip_locked
    found: dict[int, list[int]] = defaultdict(list)
    with transaction.atomic():
        rows = Image.objects.filter(project=project, pk__in=image_ids, state=ImageState.LABELLED).order_by("pk")
        locked = rows.select_for_update(no_key=True, skip_locked=can_skip)
        labels = {pk: label for pk, label in locked.values_list("pk", "label_id") if label is not None}
        for pk in GoldImage.objects.filter(image__in=labels).values_list("image_id", flat=True):
            labels.pop(pk)
        for pk, votes in votes_of(labels).items():
            if is_unlikely(labels[pk], people.shares_of_asked_again(votes)):
                found[labels[pk]].append(pk)
        for label, pks in found.items():
            Image.objects.filter(pk__in=pks).update(
                state=ImageState.DISPUTED, label=None, labelled_at=None, label_probability=None, is_contested=True,
                doubted_label=label,
            )  # fmt: skip
        if found:
            _record_disputes(project, sorted(pk for pks in found.values() for pk in pks))
    return sum(map(len, found.values()))


def _record_disputes(project: Project, image_ids: list[int]) -> None:
    names = Image.objects.filter(pk__in=image_ids[:NAMED]).order_by("pk").values_list("name", flat=True)
    shown = list(names)
    if len(image_ids) == 1:
        words = told(
            "took the label from %(names)s: by how often people are right, another class is likelier now", names=shown
        )
    elif len(image_ids) <= NAMED:
        words = told(
            "took their labels from %(names)s: by how often people are right, another class is likelier now",
            names=shown,
        )
    else:
        words = told(
            "took their labels from %(names)s and %(more)s more: by how often people are right, another class is "
            "likelier now",
            names=shown, more=len(image_ids) - NAMED,
        )  # fmt: skip
    audit.record(project=project, by=None, kind=AuditKind.REVIEW, words=words, images=image_ids)


def is_unlikely(label_id: int, shares: Mapping[int, float]) -> bool:
    """Whether another class that somebody has named is likelier."""
    own = shares.get(label_id, 0.0)
    return any(share > own for pk, share in shares.items() if pk != label_id)


def votes_of(image_ids: Iterable[int]) -> dict[int, list[tuple[int, int]]]:
    """(person, class) pairs of images that nobody has decided."""
    votes: dict[int, list[tuple[int, int]]] = {}
    decided: set[int] = set()
    live = Annotation.objects.filter(image__in=list(image_ids), retracted_at__isnull=True, outcome=Outcome.LABEL)
    rows = live.filter(is_grid=False).order_by().values_list("image_id", "annotator_id", MEANING, "is_decision")
    for image_id, person, label_id, is_decision in rows:
        if is_decision:
            decided.add(image_id)
        else:
            votes.setdefault(image_id, []).append((person, label_id))
    return {pk: said for pk, said in votes.items() if pk not in decided}


def lock_images(*, project: Project, image_ids: Sequence[int]) -> dict[int, tuple[str, int | None]]:
    """State and label of each, until the caller's transaction ends."""
    locked = Image.objects.select_for_update(no_key=True).filter(project=project, pk__in=image_ids).order_by("pk")
    return {pk: (state, label) for pk, state, label in locked.values_list("pk", "state", "label_id")}


def _locked(project: Project, image_ids: Sequence[int]) -> dict[int, Verdict]:
    """What each is now, until the caller's transaction ends."""
    locked = Image.objects.select_for_update(no_key=True).filter(project=project, pk__in=image_ids).order_by("pk")
    rows = locked.values_list("pk", "state", "label_id", "label_probability", "is_contested")
    return {pk: Verdict(state, label, probability, contested) for pk, state, label, probability, contested in rows}


def _verdicts(project: Project, image_ids: Sequence[int]) -> dict[int, Verdict]:
    answers: dict[int, list[LiveAnswer]] = {pk: [] for pk in image_ids}
    live = Annotation.objects.filter(image__in=image_ids, retracted_at__isnull=True).exclude(outcome=Outcome.UNDO)
    for image_id, *row in live.order_by("pk").values_list("image_id", *ANSWERS):
        answers[image_id].append(live_answer(*row))
    skips = (has_skip([(each.outcome, None) for each in given]) for given in answers.values())
    people = count_people(project.pk) if any(skips) else 1
    measured = measured_people(project.pk, sorted({each.person for given in answers.values() for each in given}))
    gold = dict(GoldImage.objects.filter(image__in=image_ids).values_list("image", MEANING))
    return {
        pk: Verdict(ImageState.LABELLED, gold[pk], 1.0)
        if pk in gold
        else verdict_of(
            given,
            overlap=project.learning.overlap,
            people=people,
            shares_of=lambda votes: measured.shares_of_asked_again(votes) if measured is not None else None,
        )
        for pk, given in answers.items()
    }
