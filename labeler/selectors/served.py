"""A round's model as a file: whether there is one, what it says of itself, and what it says of an image that is new.

The web process asks it with onnxruntime and never loads torch. Only files that a worker of this installation wrote are
loaded, by the digest in their row: whoever can change a file of the storage cannot change what runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils.translation import gettext as _

from labeler.choices import measure_unit, measure_words
from labeler.imaging.decode import DecodedImage, Pixels
from labeler.imaging.pixels import PixelFormat, to_picture, to_pixels
from labeler.models import JobState, LabelClass, ModelExport, Project, Round, RoundState
from labeler.models.jobs import UNFINISHED_JOB
from labeler.numerals import numeral
from labeler.round_files import fetched, has_file
from labeler.selectors.predictions import MOST_BARS, Bar, Measure, class_look
from labeler.selectors.rounds import posterior_samples
from labeler.selectors.scores import NoScores, summary_of
from labeler.selectors.workers import Missing, doings, missing_workers
from labeler.turns import AllTaken, Turns

if TYPE_CHECKING:
    from learner.served import Said, Served

FORMAT = 1  # see learner/served.py
LEAST_DIGITS = 6
KIND = ("learns_from", "has_likeness", "estimator")  # of a round's config: how it sees images, and what it learns
PERCENTS = 201  # points of each measure's distribution that go along

_looking = Turns(waiting=1, seconds=5)  # memory does not grow with the threads of a web process


class NotServed(Exception):
    """No model can be asked; the message says so for people."""


@dataclass(frozen=True)
class ExportState:
    """The file that is there, the one that is being made, and what became of one that failed."""

    ready: ModelExport | None
    made: ModelExport | None
    failed: ModelExport | None
    why_not: str
    missing_workers: Sequence[Missing]
    behind: Sequence[str] = ()  # what the workers do while it waits for them

    @property
    def percent(self) -> int:
        return round(100 * self.made.done / self.made.total) if self.made and self.made.total else 0


@dataclass(frozen=True)
class Answering:
    """Which model is asked about new images, and the round in charge, which it should be of."""

    export: ModelExport | None
    in_charge: Round | None
    is_in_charge: bool
    is_coming: bool  # the one in charge is being prepared


@dataclass(frozen=True)
class NewImage:
    """What a round's model says of an image that is not in the pool."""

    round: Round
    bars: Sequence[Bar]  # the likeliest first
    left_out: int
    measures: Sequence[Measure]


def export_of(round_: Round) -> ExportState:
    rows = list(ModelExport.objects.filter(round=round_).select_related("created_by")[:5])
    made = next((row for row in rows if row.state in UNFINISHED_JOB), None)
    newest = rows[0] if rows else None
    return ExportState(
        ready=next((row for row in rows if row.state == JobState.DONE and _is_there(row)), None),
        made=made,
        failed=newest if newest and newest.state in (JobState.FAILED, JobState.CANCELLED) else None,
        why_not="" if made else why_not_served(round_),
        missing_workers=missing_workers(["background"]) if made else [],
        behind=doings("background") if made and made.state == JobState.QUEUED else [],
    )


def why_not_served(round_: Round) -> str:
    """Empty if it can be tried, else why there is nothing to ask; what else may be gone the worker finds."""
    if round_.state != RoundState.DONE or not round_.folder:
        return _("It has no model.")
    if not has_file(round_, "model.json"):
        return _("The model files of round %(number)s are gone.") % {"number": round_.number}
    return ""


def answering(project: Project) -> Answering:
    """The model in charge if it is prepared; else, of those that are, the newest that learned as it did; else the
    newest of all. One that came after it and is not in charge (refused, or taken back) comes last."""
    done = ModelExport.objects.filter(project=project, state=JobState.DONE).exclude(file="").select_related("round")
    rows, model = list(done), project.model_round_id
    export = next((row for row in rows if row.round_id == model and _is_there(row)), None)
    if export is not None:
        return Answering(export, export.round, is_in_charge=True, is_coming=False)
    in_charge = Round.objects.filter(pk=model).first() if model else None
    rows.sort(key=lambda row: _nearness(row.round, in_charge), reverse=True)
    is_coming = in_charge is not None and in_charge.model_exports.filter(state__in=UNFINISHED_JOB).exists()
    there = (row for row in rows if row.round_id != model and _is_there(row))
    return Answering(next(there, None), in_charge, is_in_charge=False, is_coming=is_coming)


def _nearness(round_: Round, in_charge: Round | None) -> tuple[bool, bool, int]:
    if in_charge is None:
        return True, True, round_.number
    is_alike = all(round_.config.get(name) == in_charge.config.get(name) for name in KIND)
    return round_.number <= in_charge.number, is_alike, round_.number


def about_round(round_: Round, form: dict[str, Any], versions: dict[str, str], notes: Sequence[str]) -> dict[str, Any]:
    """What `served.json` says: all that it takes to use the file without PlusMinus."""
    names = dict(LabelClass.objects.filter(pk__in=round_.classes).values_list("pk", "name"))
    try:
        quantiles = summary_of(round_).quantiles
    except NoScores:
        quantiles = {}
    every = {name: [float(f"{value:.{LEAST_DIGITS}g}") for value in points[:: (len(points) - 1) // (PERCENTS - 1)]]
             for name, points in quantiles.items()}  # fmt: skip
    return {
        "format": FORMAT,
        "project": round_.project.name,
        "round": round_.number,
        "classes": [names.get(pk, "a deleted class") for pk in round_.classes],
        "class_ids": list(round_.classes),
        "input": form,
        "posterior": round_.config.get("estimator"),
        "posterior_samples": posterior_samples(round_.config),
        "measure_quantiles": every,
        "training_digest": round_.training_digest,
        "model_digest": round_.metrics.get("fit", {}).get("model_digest"),
        "made_with": versions,
        "notes": list(notes),
    }


def predict_image(export: ModelExport, decoded: DecodedImage) -> NewImage:
    """What the model says of an image that has been decoded as an import does it. Raises NotServed."""
    said = predict_pixels(export, [pixels_of(export, decoded)])
    classes = LabelClass.objects.in_bulk(export.about["class_ids"])
    looks = [class_look(classes.get(pk)) for pk in export.about["class_ids"]]
    numbers = zip(looks, said.mean[0].tolist(), said.std[0].tolist(), strict=True)
    bars = [Bar(*look, mean, std) for look, mean, std in numbers]
    ordered = sorted(bars, key=lambda bar: -bar.mean)
    return NewImage(
        round=export.round,
        bars=ordered[:MOST_BARS],
        left_out=max(0, len(ordered) - MOST_BARS),
        measures=_measures(export.round, {name: float(values[0]) for name, values in said.measures.items()}),
    )


def predict_pixels(export: ModelExport, images: Sequence[Pixels]) -> Said:
    """The numbers of some images, a batch at most. Raises NotServed."""
    try:
        with _looking.one():
            return open_served(export).predict(images)
    except AllTaken:
        raise NotServed(busy_words()) from None


def busy_words() -> str:
    """For who comes when enough others wait."""
    return _("The server is looking at other new images. Send this one again in a moment.")


def pixels_of(export: ModelExport, decoded: DecodedImage) -> Pixels:
    """What the model sees of an image."""
    form = export.about["input"]
    if form["kind"] == "picture":
        return to_picture(decoded.data, form["side"])
    return to_pixels(decoded.small, PixelFormat(form["side"], form["channels"]))


def open_served(export: ModelExport) -> Served:
    """The model, ready; the last `SERVED_MODELS` that were asked stay in memory. Raises NotServed."""
    if export.size > settings.SERVED_MAX_BYTES:
        words = _(
            "The model of round %(number)s has %(size)s MiB, and this server holds at most %(most)s MiB in memory. "
            "Download it, or take fewer posterior samples."
        )
        size, most = (numeral(count / 2**20) for count in (export.size, settings.SERVED_MAX_BYTES))
        raise NotServed(words % {"number": export.round.number, "size": size, "most": most})
    try:
        served: Served = _opened(export.file, export.digest, export.pk)
        return served
    except _Gone as error:
        raise NotServed(
            _("The file of round %(number)s cannot be used: %(error)s. Have it made again.")
            % {"number": export.round.number, "error": error}
        ) from error


class _Gone(Exception):
    pass


@lru_cache(maxsize=settings.SERVED_MODELS)  # type: ignore[untyped-decorator]
def _opened(file: str, digest: str, export_id: int) -> Served:
    from learner.served import NotServed as Refused
    from learner.served import open_bytes

    export = ModelExport.objects.select_related("round").get(pk=export_id)
    try:
        return open_bytes((fetched(export.round, file) / file).read_bytes(), export.about, digest)
    except (OSError, Refused) as error:
        raise _Gone(str(error)) from error


def _is_there(export: ModelExport) -> bool:
    return bool(export.file) and has_file(export.round, export.file)


def _measures(round_: Round, values: dict[str, float]) -> list[Measure]:
    """With their percentile among the images that the round scored, where its score files are still there."""
    try:
        summary = summary_of(round_)
    except NoScores:
        return []
    return [
        Measure(measure_words(name), value, measure_unit(name), summary.percentile(name, value))
        for name, value in values.items()
        if name in summary.quantiles
    ]
