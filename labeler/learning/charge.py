"""Whether a round's model takes charge: it is compared with the one in charge on the holdout, image by image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from labeler.learning.files import Integers, folder_of
from labeler.learning.requests import scored
from labeler.models import LearningConfig, Round, Standing, Trigger
from labeler.selectors.charge import charge_of
from labeler.selectors.left_out import count_left_out, states_left_out
from labeler.selectors.pool import LEAST_HOLDOUT, labelled_images
from labeler.selectors.scores import meanings_of
from labeler.services.charge import Ruling
from labeler.told import keep

if TYPE_CHECKING:
    from learner.gate import ClassChange

FIRST, COMPARED, TOO_FEW, UNREADABLE = "first", "compared", "too_few", "unreadable"


def rule_on(round_: Round) -> Ruling:
    """What becomes of the round's model, as things are now. Whoever publishes sees to it that they are so still.

    1. A round that remakes the queue: whoever is in charge chooses.
    2. The first model takes charge, and one whose predecessor cannot be read any more.
    3. While a person keeps a model in charge, others are made aside.
    4. Where the gate is on, one that is significantly worse is refused.
    """
    seen = charge_of(round_.project)
    former = seen.model
    if round_.trigger == Trigger.CHARGE:
        assert former is not None or round_.asked_by is not None
        return Ruling("", {}, former or round_.asked_by, seen)  # type: ignore[arg-type]
    if former is None:
        return Ruling(Standing.ACCEPTED, {"basis": FIRST}, round_, seen)
    found, changes = compare_models(former, round_)
    verdict = {"against": former.number, **found}
    if verdict["basis"] == UNREADABLE:
        return Ruling(Standing.ACCEPTED, verdict, round_, seen)
    if seen.is_kept:
        return Ruling(Standing.ASIDE, {**verdict, "kept_by": seen.kept_by}, former, seen, changes)
    if not LearningConfig.objects.values_list("gates_rounds", flat=True).get(project=round_.project_id):
        return Ruling(Standing.ACCEPTED, {**verdict, "is_off": True}, round_, seen, changes)
    if verdict.get("objections"):
        return Ruling(Standing.REFUSED, verdict, former, seen, changes)
    return Ruling(Standing.ACCEPTED, verdict, round_, seen, changes)


def compare_models(old: Round, new: Round) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Two rounds on the labelled holdout of now, as JSON: on the images that both have scored, of classes that both
    know. What is left out is counted. Then the same class by class."""
    from learner.errors import LearnerError
    from learner.gate import judge_round

    labels = dict(labelled_images(new.project, is_holdout=True).values_list("position", "label_id"))
    both = {*meanings_of(old)} & {*meanings_of(new)}
    all_positions = np.array(sorted(labels), np.int64)
    by_both = scored(new, scored(old, all_positions))
    positions = np.array([at for at in by_both.tolist() if labels[at] in both], np.int64)
    aside = states_left_out(new.project)
    known = scored(new, scored(old, np.array(list(aside), np.int64))).tolist()
    left_out = {
        "without_label": sum(count_left_out(aside, known).values()),
        "unscored": len(all_positions) - len(by_both),
        "of_other_classes": len(by_both) - len(positions),
        "new_classes": [pk for pk in dict.fromkeys(meanings_of(new)) if pk not in both],
        "gone_classes": [pk for pk in dict.fromkeys(meanings_of(old)) if pk not in both],
        "n": len(positions),
    }
    if len(positions) < LEAST_HOLDOUT:
        return {"basis": TOO_FEW, **left_out}, []
    try:
        predictions = [_predicted(round_, positions) for round_ in (old, new)]
    except (LearnerError, OSError) as error:
        return {"basis": UNREADABLE, "why": keep(str(error)), **left_out}, []
    said = np.array([labels[at] for at in positions.tolist()], np.int64)
    found = judge_round(old_n=predictions[0], new_n=predictions[1], labels_n=said)
    verdict = {
        "basis": COMPARED,
        **left_out,
        "old_right": found.old_right,
        "new_right": found.new_right,
        "difference": _interval(found.difference),
        "p": found.p,
        "n_classes": len(found.classes),
        "lost": [_change(each) for each in found.classes if each.is_lost],
        "objections": list(found.objections),
    }
    return verdict, [_change(each) for each in found.classes]


def _change(change: ClassChange) -> dict[str, Any]:
    return {
        "class": change.number,
        "n": change.n,
        "old_right": change.old_right,
        "new_right": change.new_right,
        "difference": _interval(change.difference),
        "p": change.p,
        "is_lost": change.is_lost,
    }


def _predicted(round_: Round, positions: Integers) -> Integers:
    """Ids of the predicted classes, as they are now: what was merged since adds up."""
    from learner.scores import scores_at

    ids, which_C = np.unique(np.array(meanings_of(round_), np.int64), return_inverse=True)
    probs_N_C = scores_at(folder_of(round_), positions, "mean_probs_N_C").astype(np.float64)
    merged_N_C = np.zeros((len(positions), len(ids)))
    np.add.at(merged_N_C.T, which_C, probs_N_C.T)
    predicted: Integers = ids[merged_N_C.argmax(1)]
    return predicted


def _interval(interval: Any) -> dict[str, float | int] | None:
    if interval is None:
        return None
    return {**{name: round(getattr(interval, name), 5) for name in ("value", "low", "high")}, "n": interval.n}
