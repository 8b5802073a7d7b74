"""A model card: what a round's model was made of, how good it is, and what nobody should expect of it.

Written from the round and from what it kept, so that it says nothing which was not measured.

Reference: Mitchell et al., 2019, Model cards for model reporting.
"""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from django.utils.translation import override

from labeler.models import Annotation, LabelClass, ModelExport, Outcome, Round, RoundChunk
from labeler.round_files import fetched
from labeler.selectors.answers import answers_of
from labeler.selectors.left_out import left_out_of
from labeler.selectors.pool import LEAST_HOLDOUT, says_something
from labeler.selectors.reruns import TRAINING
from labeler.selectors.rounds import ClassRow, Setting, class_rows, settings_of

FEW = 10  # labels of a class below which it is named among the limits
SPECIAL = re.compile(r"([\\`*_\[\]<>|#&])")
LICENCE = "Not stated. Whoever passes the model on says here what may be done with it, and with the images it saw."


@dataclass(frozen=True)
class Fact:
    words: str
    value: str


@dataclass(frozen=True)
class CardClass:
    """`learned` labels; of `measured` holdout images of it so many were found, with the interval of that share."""

    name: str
    learned: int
    measured: int
    recall: dict[str, Any] | None


@dataclass(frozen=True)
class Measured:
    """A number of the holdout with its 95 % interval; `unit` is empty for a plain number."""

    words: str
    value: float
    low: float | None
    high: float | None
    unit: str


@dataclass(frozen=True)
class Card:
    project: str
    round: int
    about: Sequence[Fact]
    data: Sequence[Fact]
    classes: Sequence[CardClass]
    measured_on: int
    measures: Sequence[Measured]
    settings: Sequence[Setting]
    limits: Sequence[str]
    digests: Sequence[Fact]
    left_out: str = ""  # a sentence, where not all of the holdout that was answered has a label
    licence: str = LICENCE


@override("en")  # one document, for everybody who gets the model: what it takes from pages is in their language
def model_card(round_: Round, export: ModelExport | None = None) -> Card:
    """Everything that is known of a round's model; `export` is its file for new images, where there is one."""
    learned = _learned(round_)
    rows = class_rows(round_) if says_something(round_.metrics) else []
    measured = {row.pk: row for row in rows}
    names = dict(LabelClass.objects.filter(pk__in=round_.classes).values_list("pk", "name"))
    classes = [_class(names.get(pk, "a deleted class"), learned.get(pk, 0), measured.get(pk)) for pk in round_.classes]
    samples = export.about.get("posterior_samples") if export else None
    about = [
        Fact(
            "What it does", f"tells {len(classes):,} classes of images apart, and says how unsure it is of each image"
        ),
        Fact("Posterior", round_.posterior + (f", {samples} samples" if samples else "")),
        Fact("Made by", f"round {round_.number} of the project {round_.project.name}"),
        Fact("Made on", f"{round_.finished_at:%Y-%m-%d}" if round_.finished_at else "not finished"),
        *[Fact("Note", note) for note in [*round_.metrics.get("fit", {}).get("notes", []), *_notes(export)]],
    ]
    return Card(
        project=round_.project.name,
        round=round_.number,
        about=about,
        data=_data(round_, learned),
        classes=classes,
        measured_on=int(round_.metrics.get("n", 0)) if rows else 0,
        measures=_measures(round_.metrics) if rows else [],
        settings=settings_of(round_),
        limits=list(_limits(round_, classes)),
        digests=_digests(round_, export),
        left_out=left_out_of(round_.metrics).words if rows else "",
    )


def as_json(card: Card) -> dict[str, Any]:
    """For programs."""
    return {"format": 1, **asdict(card)}


def as_markdown(card: Card) -> str:
    """For people. Names that people gave cannot become markup."""
    parts = [
        f"# Model card: {_plain(card.project)}, round {card.round}",
        _list(card.about),
        "## Data",
        _list(card.data),
    ]
    parts += ["## Classes", _class_table(card), "## How good it is", _measure_table(card)]
    parts += ["## Limits", "\n".join(f"- {_plain(each)}" for each in card.limits)]
    parts += ["## Settings", _list([Fact(each.words, each.value) for each in card.settings])]
    parts += ["## Digests", _list(card.digests), "## Licence", _plain(card.licence)]
    return "\n\n".join(parts) + "\n"


def _learned(round_: Round) -> Counter[int]:
    """How many labels of each class it learned from, by class id; empty where that was not kept."""
    try:
        with np.load(fetched(round_, TRAINING) / TRAINING, allow_pickle=False) as file:
            return Counter(file["labels"].tolist())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return Counter()


def _class(name: str, learned: int, row: ClassRow | None) -> CardClass:
    return CardClass(name, learned, row.total if row else 0, row.recall if row else None)


def _data(round_: Round, learned: Counter[int]) -> list[Fact]:
    images = sum(RoundChunk.objects.filter(round=round_).values_list("count", flat=True))
    answers = Annotation.objects.filter(
        project=round_.project_id, pk__lte=round_.last_annotation_id, retracted_at__isnull=True
    ).exclude(outcome=Outcome.UNDO)
    people = answers.values("annotator").distinct().count()
    quality = answers_of(round_.project)
    alpha = quality.alpha_missing
    if quality.alpha is not None:
        alpha = f"{_interval(quality.alpha.value, quality.alpha.low, quality.alpha.high, 2)} (Krippendorff’s alpha)"
    seen = "of which it looked at those with a label alone"
    if round_.config.get("has_likeness"):
        seen = "all of them compared with each other, labels or not"
    return [
        Fact("Images", f"{images:,}, {seen}"),
        Fact("Labels", f"{sum(learned.values()) or round_.training_count:,} that it learned from"),
        Fact("Given by", f"{people:,} {'person' if people == 1 else 'people'}, in {answers.count():,} answers"),
        Fact("How they agree", alpha),
        Fact("How images were chosen", "by the model’s own measures, some at random; the holdout at random"),
    ]


def _measures(metrics: dict[str, Any]) -> list[Measured]:
    rows = (
        ("Accuracy", "accuracy", "%"),
        ("Negative log-likelihood", "nll", "nats"),
        ("Brier score", "brier", ""),
        ("Expected calibration error, 10 bins", "ece", "%"),
    )
    return [
        Measured(words, metrics[key]["value"], metrics[key]["low"], metrics[key]["high"], unit)
        for words, key, unit in rows
        if metrics.get(key) and metrics[key]["value"] is not None
    ]


def _limits(round_: Round, classes: Sequence[CardClass]) -> Iterator[str]:
    """In words, those that can be read off what was measured."""
    n = int(round_.metrics.get("n", 0))
    if not says_something(round_.metrics):
        yield f"How good it is was not measured: {n} holdout images had an answer, and {LEAST_HOLDOUT} are the least."
    else:
        accuracy = round_.metrics["accuracy"]
        wide = 100 * (accuracy["high"] - accuracy["low"])
        yield f"All numbers are of {n:,} images of this project; the accuracy’s interval is {wide:.1f} points wide."
        if left_out_of(round_.metrics).images:
            yield "What was measured is no random sample: images that people disagreed about have no label."
        unmeasured = [each.name for each in classes if not each.measured]
        if unmeasured:
            yield f"Not measured at all, for no holdout image is of them: {_some(unmeasured)}."
    few = [f"{each.name} ({each.learned})" for each in classes if 0 < each.learned < FEW]
    if few:
        yield f"Learned from fewer than {FEW} labels: {_some(few)}."
    never = [each.name for each in classes if not each.learned]
    if never:
        yield f"Never seen with a label: {_some(never)}. Their probability means little."
    yield "It says one of its classes of every image, of things that are none of them, too."
    yield "Images of another camera, light, size or place than those of the project were not measured."
    if round_.config.get("has_likeness"):
        yield (
            "It places a new image among those of the project that look most like it; of what looks like none of them "
            "it may be sure and wrong."
        )
    if round_.config.get("posterior_samples"):
        yield "The ± is how far the samples of its posterior differ, not how often it is wrong."


def _digests(round_: Round, export: ModelExport | None) -> list[Fact]:
    found = [
        Fact("Training set", round_.training_digest),
        Fact("Weights", round_.metrics.get("fit", {}).get("model_digest") or ""),
        Fact("model.onnx", export.digest if export else ""),
    ]
    made_with = export.about.get("made_with", {}) if export else {}
    versions = ", ".join(f"{name} {version}" for name, version in made_with.items())
    return [each for each in [*found, Fact("Made with", versions)] if each.value]


def _notes(export: ModelExport | None) -> list[str]:
    return list(export.about.get("notes", [])) if export else []


def _some(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _interval(value: float, low: float | None, high: float | None, digits: int) -> str:
    if low is None or high is None:
        return f"{value:.{digits}f} (too few images for an interval)"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _list(facts: Sequence[Fact]) -> str:
    return "\n".join(f"- {_plain(each.words)}: {_plain(each.value)}" for each in facts)


def _class_table(card: Card) -> str:
    rows = ["| class | labels learned from | found of holdout images, 95 % interval |", "|---|---|---|"]
    for each in card.classes:
        found = "not measured"
        if each.recall:
            value, low, high = (100 * each.recall[key] for key in ("value", "low", "high"))
            found = f"{_interval(value, low, high, 1)} % of {each.measured:,}"
        rows.append(f"| {_plain(each.name)} | {each.learned:,} | {found} |")
    return "\n".join(rows)


def _measure_table(card: Card) -> str:
    if not card.measures:
        return "Not measured."
    rows = [
        f"On {card.measured_on:,} holdout images, which it never learned from. {card.left_out}".strip(),
        "",
        "| | 95 % interval |",
        "|---|---|",
    ]
    for each in card.measures:
        scale, digits = (100, 1) if each.unit == "%" else (1, 3)
        values = (None if part is None else scale * part for part in (each.value, each.low, each.high))
        value, low, high = values
        unit = f" {each.unit}" if each.unit else ""
        rows.append(f"| {each.words} | {_interval(value or 0.0, low, high, digits)}{unit} |")
    return "\n".join(rows)


def _plain(text: str) -> str:
    """On one line, with what Markdown or HTML would take for markup escaped."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split())).replace("\\<", "&lt;").replace("\\>", "&gt;")
