"""Which labelled images a round asks about again: those where another answer is worth more than one on a new image."""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from labeler.learning.files import folder_of, in_chunks
from labeler.models import (
    Annotation,
    AnnotatorQuality,
    AnswerQuality,
    Image,
    ImageState,
    Outcome,
    Reason,
    Round,
    RoundChunk,
)
from labeler.selectors.classes import MEANING
from labeler.selectors.disputes import MOST_MORE_POOL, asks_again
from labeler.selectors.pool import says_something
from labeler.services.draw import Place

if TYPE_CHECKING:
    Integers = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

READ = 20_000


@dataclass(frozen=True)
class Labelled:
    """Answered images in the order of positions, and their answers as columns; classes as the round's numbers."""

    position_N: Integers
    image_n: Integers
    person_n: Integers
    class_n: Integers


def places_again(*, round_: Round, measured: dict[str, Any], main: Sequence[Place]) -> list[Place]:
    """Places of images to ask about again, the least sure first, at most `relabel_share` of what the model chose.

    Where the model was not measured on enough holdout images it cannot doubt anybody, and nothing is asked again.
    """
    learning = round_.project.learning
    most = int(len(main) * learning.relabel_share)
    if not (asks_again(learning) and most and says_something(measured)):
        return []
    labelled = _labelled(round_, learning.overlap + MOST_MORE_POOL)
    if not len(labelled.position_N):
        return []
    sure_N = _sureness(round_, labelled, float(measured["accuracy"]["value"]))
    sure_of_new = _sureness_of_new(round_, main, float(measured["accuracy"]["value"]))
    order = np.argsort(sure_N, kind="stable")
    places = []
    for rank, at in enumerate(order[:most].tolist()):
        # The queue takes the least sure of both kinds: this one is worth it if it beats the new image that it replaces.
        if sure_N[at] >= sure_of_new[len(sure_of_new) - 1 - rank]:
            break
        details: dict[str, object] = {"sure": round(float(sure_N[at]), 4)}
        places.append(Place(int(labelled.position_N[at]), Reason.RELABEL, details=details))
    return places


def _labelled(round_: Round, most: int) -> Labelled:
    """Images with a label or a dispute, fewer than `most` answers and no manager's word; none of the holdout."""
    number = {pk: at for at, pk in enumerate(round_.classes)}
    images = Image.objects.filter(project=round_.project, is_holdout=False, gold__isnull=True)
    left = images.filter(state__in=[ImageState.LABELLED, ImageState.DISPUTED]).exclude(state=ImageState.POOL)
    positions = dict(left.order_by().values_list("pk", "position"))
    live = Annotation.objects.filter(project=round_.project, outcome=Outcome.LABEL, retracted_at__isnull=True)
    rows = live.order_by().values_list("image_id", "annotator_id", MEANING, "is_decision")
    answers: dict[int, list[tuple[int, int]]] = {}
    closed = set()
    for image_id, person, label_id, is_decision in rows.iterator(READ):
        if is_decision or label_id not in number:
            closed.add(image_id)
        elif image_id in positions:
            answers.setdefault(image_id, []).append((person, number[label_id]))
    counts = dict(RoundChunk.objects.filter(round=round_).values_list("chunk__number", "count"))
    open_ = {positions[pk]: said for pk, said in answers.items() if pk not in closed and len(said) < most}
    position_N = np.sort(in_chunks(np.array(list(open_), np.int64), counts))
    flat = [(at, *each) for at, position in enumerate(position_N.tolist()) for each in open_[position]]
    columns = np.array(flat, np.int64).reshape(-1, 3)
    return Labelled(position_N, columns[:, 0], columns[:, 1], columns[:, 2])


def _sureness(round_: Round, labelled: Labelled, model_right: float) -> Floats:
    """Of the class that most have named; of several, the one that the model finds likeliest."""
    from learner.asking_again import sureness_of_labels
    from learner.scores import scores_at

    prob_N_C = scores_at(folder_of(round_), labelled.position_N, "mean_probs_N_C").astype(np.float64)
    n_classes = prob_N_C.shape[1]
    votes = np.zeros_like(prob_N_C)
    np.add.at(votes, (labelled.image_n, labelled.class_n), 1.0)
    label_N = (votes + prob_N_C / 2).argmax(1)  # half a probability never outweighs a vote
    usual, trusts = _trusts(round_)
    right_n = np.array([trusts.get(pk, usual) for pk in labelled.person_n.tolist()], np.float64)
    return sureness_of_labels(
        model_right,
        prob_N_C[np.arange(len(label_N)), label_N],
        labelled.image_n,
        labelled.class_n == label_N[labelled.image_n],
        right_n,
        n_classes=n_classes,
        usual_right=usual,
    )


def _sureness_of_new(round_: Round, main: Sequence[Place], model_right: float) -> Floats:
    """Of what the model chose, the least sure first."""
    from learner.asking_again import sureness_of_guesses
    from learner.scores import scores_at

    positions = np.array([place.position for place in main], np.int64)
    prob_n_C = scores_at(folder_of(round_), positions, "mean_probs_N_C").astype(np.float64)
    usual, _ = _trusts(round_)
    sure = sureness_of_guesses(model_right, prob_n_C.max(1), n_classes=prob_n_C.shape[1], usual_right=usual)
    return np.sort(sure)


def _trusts(round_: Round) -> tuple[float, dict[int, float]]:
    """How often people are right, on the whole and each; while nobody knows, what the fit begins with."""
    from learner.dawid_skene import PRIOR_RIGHT

    usual = AnswerQuality.objects.filter(project=round_.project).values_list("right", flat=True).first()
    rows = AnnotatorQuality.objects.filter(project=round_.project, trust__isnull=False)
    trusts = {pk: trust for pk, trust in rows.values_list("annotator_id", "trust") if trust is not None}
    return usual or PRIOR_RIGHT, trusts
