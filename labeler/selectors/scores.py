"""Predictions of finished rounds, for pages: read from the rounds' score files.

The one module beside `learning.py` that reaches the learner, for what reads files with numpy and never loads torch.
What the learner says in its own terms (positions, class numbers, its errors) becomes ids and words here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from django.utils.translation import gettext as _

from labeler.models import LabelClass, Project, Round, RoundChunk, RoundState
from labeler.models.images import CHUNK_SIZE
from labeler.round_files import SCORES, fetched, hand_on
from labeler.selectors.charge import in_charge
from labeler.storage import round_folder

if TYPE_CHECKING:
    from learner.summary import ScoreSummary

Integers = npt.NDArray[np.int64]
SHOWN_ROUNDS = 100


class NoScores(Exception):
    """A round's score files are gone or damaged; the message says so for people."""


@dataclass(frozen=True)
class Prediction:
    """What one round says of one image. `classes` are ids; `measures` are in the order of the learner."""

    classes: list[int]
    means: list[float]
    stds: list[float]
    measures: list[tuple[str, float, float]]  # name, value, percentile among the images of the round


def scored_rounds(project: Project) -> list[Round]:
    """Finished rounds with a model, newest first, without their metrics; the one in charge is always among them."""
    rounds = Round.objects.filter(project=project, state=RoundState.DONE).exclude(folder="")
    shown = list(rounds.defer("metrics").order_by("-number")[:SHOWN_ROUNDS])
    model = project.model_round_id
    if model is not None and len(shown) == SHOWN_ROUNDS and model not in {row.pk for row in shown}:
        shown += rounds.defer("metrics").filter(pk=model)
    return shown


def scored_round(project: Project, number: str | None) -> Round | None:
    """The one of that number, or the one in charge; None: there is none."""
    rounds = scored_rounds(project)
    if number:
        return next((round_ for round_ in rounds if str(round_.number) == number), None)
    return in_charge(project, rounds)


def summary_of(round_: Round) -> ScoreSummary:
    """All images of the round in a few bytes each. The first call reads its score files. Raises NoScores."""
    counts = RoundChunk.objects.filter(round=round_).order_by("chunk__number").values_list("count", flat=True)
    with _in_words(round_):
        return _summary(_files(round_), tuple(counts))


@dataclass(frozen=True)
class _Files:
    """A round's files, kept by their folder: another attempt has another one."""

    folder: Path
    round: Round = field(compare=False)

    def of(self, positions: Sequence[int] | Integers) -> Path:
        """The folder, with the score files of these positions in it."""
        numbers = np.unique(np.asarray(positions, np.int64) // CHUNK_SIZE).tolist()
        return fetched(self.round, *(f"{SCORES}{number:06d}.npz" for number in numbers))


def _files(round_: Round) -> _Files:
    return _Files(round_folder(round_), round_)


@lru_cache(maxsize=4)
def _summary(files: _Files, counts: tuple[int, ...]) -> ScoreSummary:
    from learner.summary import FILE, summary

    folder = fetched(files.round, FILE)
    is_new = not (folder / FILE).exists()
    if is_new:
        fetched(files.round, SCORES)
    found = summary(folder, counts)
    if is_new:
        hand_on(files.round, [folder / FILE])
    return found


def prediction_of(round_: Round, position: int) -> Prediction | None:
    """None: the image came after the round. Raises NoScores."""
    from learner.summary import score_row

    scores = summary_of(round_)
    if position >= len(scores):
        return None
    with _in_words(round_):
        folder = _files(round_).of([position])
        row = score_row(folder, position, ("mean_probs_N_C", "std_probs_N_C", *scores.quantiles))
    measures = [(name, float(row[name]), scores.percentile(name, float(row[name]))) for name in scores.quantiles]
    return Prediction(round_.classes, _numbers(row["mean_probs_N_C"]), _numbers(row["std_probs_N_C"]), measures)


def probabilities_at(round_: Round, position: int) -> tuple[list[float], list[float]]:
    """Means and standard deviations of all classes. Raises NoScores, also for an image that came after the round."""
    from learner.summary import score_row

    with _in_words(round_):
        row = score_row(_files(round_).of([position]), position, ("mean_probs_N_C", "std_probs_N_C"))
    return _numbers(row["mean_probs_N_C"]), _numbers(row["std_probs_N_C"])


def _numbers(row: npt.NDArray[Any]) -> list[float]:
    numbers: list[float] = row.astype(np.float64).tolist()
    return numbers


def metrics_on(round_: Round, labels: dict[int, int]) -> dict[str, Any]:
    """The round on labelled images, class ids by position: as `Round.metrics` has it, but on a set of one's own choice.

    Images and classes that the round did not know are left out; empty without any. Raises NoScores.
    """
    meanings = meanings_of(round_)
    number = {pk: index for index, pk in enumerate(dict.fromkeys(meanings))}
    known = {position: number[pk] for position, pk in labels.items() if pk in number}
    positions = np.array(sorted(position for position in known if position < len(summary_of(round_))), np.int64)
    if not len(positions):
        return {}
    with _in_words(round_):
        labels_n = tuple(known[at] for at in positions.tolist())
        return _metrics(_files(round_), tuple(positions.tolist()), labels_n, tuple(number[pk] for pk in meanings))


@lru_cache(maxsize=32)
def _metrics(
    files: _Files, positions: tuple[int, ...], labels: tuple[int, ...], numbers: tuple[int, ...]
) -> dict[str, Any]:
    """Kept for the next page of a gallery: the bootstrap takes a tenth of a second. Outputs of the model with the same
    number mean one class now: their probabilities are added."""
    from learner.metrics import metrics
    from learner.scores import scores_at

    probs_n_C = scores_at(files.of(positions), np.array(positions, np.int64), "mean_probs_N_C")
    if len(set(numbers)) < len(numbers):
        merged_n_C = np.zeros((len(positions), max(numbers) + 1), np.float64)
        np.add.at(merged_n_C.T, np.array(numbers), probs_n_C.T)
        probs_n_C = merged_n_C
    measured = metrics(probs_n_C, np.array(labels, np.int64))
    return {"n": measured.n, **{name: asdict(getattr(measured, name)) for name in ("accuracy", "nll", "brier", "ece")}}


def measure_at(round_: Round, positions: Sequence[int], name: str) -> npt.NDArray[np.float32]:
    """One measure of some images of the round. Raises NoScores, also where the round was scored without it."""
    from learner.scores import scores_at

    with _in_words(round_):
        folder = _files(round_).of(positions)
        values: npt.NDArray[np.float32] = scores_at(folder, np.asarray(positions, np.int64), name)
    return values


def predicted_classes(round_: Round, scores: ScoreSummary) -> Integers:
    """The id of the class that is predicted of each image; where it was merged since, of what it means now."""
    ids: Integers = np.array(meanings_of(round_), np.int64)[scores.predicted_N]
    return ids


def meanings_of(round_: Round) -> list[int]:
    """What each output of the round's model means now, as an id. One query an instance of the round."""
    meanings: list[int] | None = getattr(round_, "_meanings", None)
    if meanings is None:
        merged = LabelClass.objects.filter(project=round_.project_id, merged_into__isnull=False)
        into = dict(merged.values_list("pk", "merged_into"))
        meanings = [into.get(pk) or pk for pk in round_.classes]
        setattr(round_, "_meanings", meanings)  # noqa: B010  (a Round has no such field)
    return meanings


def probability(scores: ScoreSummary, positions: Integers | Sequence[int]) -> npt.NDArray[np.float64]:
    from learner.summary import FULL

    return scores.probability_N[np.asarray(positions, np.int64)] / FULL


def spread(scores: ScoreSummary, positions: Integers | Sequence[int]) -> npt.NDArray[np.float64]:
    from learner.summary import FULL, MAX_STD

    return scores.spread_N[np.asarray(positions, np.int64)] / FULL * MAX_STD


@contextmanager
def _in_words(round_: Round) -> Iterator[None]:
    from learner.errors import LearnerError

    try:
        yield
    except (LearnerError, OSError) as error:
        words = _("The score files of round %(number)s cannot be read: %(error)s.")
        raise NoScores(words % {"number": round_.number, "error": error}) from error


def distributions_at(round_: Round, positions: Sequence[int]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Means and standard deviations of all classes, `[n, C]` each, of positions that the round has scored. Raises
    NoScores."""
    from learner.scores import scores_at

    wanted = np.asarray(positions, np.int64)
    with _in_words(round_):
        folder = _files(round_).of(wanted)
        means, stds = (scores_at(folder, wanted, name) for name in ("mean_probs_N_C", "std_probs_N_C"))
    return means.astype(np.float64), stds.astype(np.float64)
