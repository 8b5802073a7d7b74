"""Many images at once brought in line with their live answers: what `consensus.settle` does for one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from labeler import clock
from labeler.models import (
    Annotation,
    Candidate,
    CandidateState,
    Fate,
    Image,
    ImageState,
    Membership,
    Outcome,
    Project,
)
from labeler.selectors.classes import MEANING
from labeler.services.consensus import Verdict, decide, has_skip
from labeler.services.races import not_in_work

Answers = dict[int, list[tuple[str, int | None]]]


def settle_images(*, project: Project, image_ids: Sequence[int]) -> int:
    """In the caller's transaction, a handful of statements whatever their number. Returns how many images changed.

    The images are locked in the order of their ids, as answers lock theirs one by one.
    """
    before = lock_images(project=project, image_ids=image_ids)
    verdicts = _verdicts(project, list(before))
    changed: dict[tuple[Verdict, bool], list[int]] = defaultdict(list)
    for pk, (state, label) in before.items():
        verdict = verdicts[pk]
        if (state, label) != (verdict.state, verdict.label_id):
            keeps_time = state == verdict.state == ImageState.LABELLED
            changed[verdict, keeps_time].append(pk)
    for (verdict, keeps_time), pks in changed.items():
        values: dict[str, object] = {"state": verdict.state, "label_id": verdict.label_id}
        if not keeps_time:  # an image whose label is called otherwise was not labelled anew
            values["labelled_at"] = clock.now() if verdict.state == ImageState.LABELLED else None
        Image.objects.filter(pk__in=pks).update(**values)
    gone = [pk for pk in before if verdicts[pk].state != ImageState.POOL]
    open_places = Candidate.objects.filter(image__in=gone, state=CandidateState.OPEN, leased_to__isnull=True)
    not_in_work(open_places).update(state=CandidateState.SUPERSEDED)
    return sum(map(len, changed.values()))


def lock_images(*, project: Project, image_ids: Sequence[int]) -> dict[int, tuple[str, int | None]]:
    """State and label of each, until the caller's transaction ends."""
    locked = Image.objects.select_for_update(no_key=True).filter(project=project, pk__in=image_ids).order_by("pk")
    return {pk: (state, label) for pk, state, label in locked.values_list("pk", "state", "label_id")}


def _verdicts(project: Project, image_ids: Sequence[int]) -> dict[int, Verdict]:
    answers: Answers = {pk: [] for pk in image_ids}
    proposed: set[int] = set()
    live = Annotation.objects.filter(image__in=image_ids, retracted_at__isnull=True).exclude(outcome=Outcome.UNDO)
    for image_id, outcome, label, fate in live.values_list("image_id", "outcome", MEANING, "label_class__fate"):
        answers[image_id].append((outcome, label))
        if fate == Fate.PROPOSED:
            proposed.add(label)
    people = 1
    if any(has_skip(given) for given in answers.values()):
        people = Membership.objects.filter(project=project, deactivated_at__isnull=True).count()
    found = {pk: decide(given, overlap=project.learning.overlap, people=people) for pk, given in answers.items()}
    return {
        pk: Verdict(ImageState.SET_ASIDE) if verdict.label_id in proposed else verdict for pk, verdict in found.items()
    }
