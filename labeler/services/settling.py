"""Many images at once brought in line with their live answers: what `consensus.settle` does for one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from labeler import clock
from labeler.models import (
    Annotation,
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
from labeler.services.consensus import ANSWERS, LiveAnswer, Verdict, count_people, has_skip, live_answer, verdict_of
from labeler.services.label_probability import measured_people
from labeler.services.races import not_in_work


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
        }
        if not keeps_time:  # an image whose label is called otherwise was not labelled anew
            values["labelled_at"] = clock.now() if verdict.state == ImageState.LABELLED else None
        Image.objects.filter(pk__in=pks).update(**values)
    gone = [pk for pk in before if verdicts[pk].state != ImageState.POOL]
    places = Candidate.objects.filter(image__in=gone, state=CandidateState.OPEN, leased_to__isnull=True)
    not_in_work(places.exclude(reason__in=NOT_OF_THE_POOL)).update(state=CandidateState.SUPERSEDED)
    return sum(map(len, changed.values()))


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
            shares_of=lambda votes: measured.shares(votes) if measured is not None else None,
        )
        for pk, given in answers.items()
    }
