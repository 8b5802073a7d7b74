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
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from labeler.models import Annotation, LabelClass, ModelExport, Outcome, Round, RoundChunk
from labeler.numerals import numeral
from labeler.round_files import fetched
from labeler.selectors.answers import answers_of
from labeler.selectors.left_out import left_out_of
from labeler.selectors.pool import LEAST_HOLDOUT, says_something
from labeler.selectors.reruns import TRAINING
from labeler.selectors.rounds import ClassRow, Setting, class_rows, settings_of
from labeler.told import said

FEW = 10  # labels of a class below which it is named among the limits
SPECIAL = re.compile(r"([\\`*_\[\]<>|#&])")
LICENCE = gettext_lazy(
    "Not stated. Whoever passes the model on says here what may be done with it, and with the images it saw."
)


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
    licence: str
    left_out: str = ""  # a sentence, where not all of the holdout that was answered has a label


def model_card(round_: Round, export: ModelExport | None = None) -> Card:
    """Everything that is known of a round's model; `export` is its file for new images, where there is one.

    In the language of the page. What goes along with the model is one document for everybody who gets it: see
    selectors/model_files.py.
    """
    learned = _learned(round_)
    rows = class_rows(round_) if says_something(round_.metrics) else []
    measured = {row.pk: row for row in rows}
    names = dict(LabelClass.objects.filter(pk__in=round_.classes).values_list("pk", "name"))
    gone = _("a deleted class")
    classes = [_class(names.get(pk, gone), learned.get(pk, 0), measured.get(pk)) for pk in round_.classes]
    return Card(
        project=round_.project.name,
        round=round_.number,
        about=_about(round_, export, len(classes)),
        data=_data(round_, learned),
        classes=classes,
        measured_on=int(round_.metrics.get("n", 0)) if rows else 0,
        measures=_measures(round_.metrics) if rows else [],
        settings=settings_of(round_),
        limits=list(_limits(round_, classes)),
        digests=_digests(round_, export),
        left_out=left_out_of(round_.metrics).words if rows else "",
        licence=str(LICENCE),
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


def _about(round_: Round, export: ModelExport | None, n_classes: int) -> list[Fact]:
    does = _("tells %(classes)s classes of images apart, and says how unsure it is of each image")
    made_by = _("round %(number)s of the project %(project)s")
    samples = export.about.get("posterior_samples") if export else None
    posterior = _("%(posterior)s, %(samples)s samples") if samples else "%(posterior)s"
    notes = [*round_.notes, *(export.notes if export else [])]
    return [
        Fact(_("What it does"), does % {"classes": numeral(n_classes)}),
        Fact(_("Posterior"), posterior % {"posterior": round_.posterior, "samples": samples}),
        Fact(_("Made by"), made_by % {"number": round_.number, "project": round_.project.name}),
        Fact(_("Made on"), f"{round_.finished_at:%Y-%m-%d}" if round_.finished_at else _("not finished")),
        *[Fact(_("Note"), said(note)) for note in notes],
    ]


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
        measured = _interval(quality.alpha.value, quality.alpha.low, quality.alpha.high, 2)
        alpha = _("%(interval)s (Krippendorff’s alpha)") % {"interval": measured}
    seen = _("%(images)s, of which it looked at those with a label alone")
    if round_.config.get("has_likeness"):
        seen = _("%(images)s, all of them compared with each other, labels or not")
    labels, given = sum(learned.values()) or round_.training_count, answers.count()
    from_people = ngettext("%(people)s person", "%(people)s people", people) % {"people": numeral(people)}
    in_answers = ngettext("in %(answers)s answer", "in %(answers)s answers", given) % {"answers": numeral(given)}
    return [
        Fact(_("Images"), seen % {"images": numeral(images)}),
        Fact(_("Labels"), _("%(labels)s that it learned from") % {"labels": numeral(labels)}),
        Fact(_("Given by"), f"{from_people}, {in_answers}"),
        Fact(_("How they agree"), alpha),
        Fact(_("How images were chosen"), _("by the model’s own measures, some at random; the holdout at random")),
    ]


def _measures(metrics: dict[str, Any]) -> list[Measured]:
    rows = (
        (_("Accuracy"), "accuracy", "%"),
        (_("Negative log-likelihood"), "nll", "nats"),
        (_("Brier score"), "brier", ""),
        (_("Expected calibration error, 10 bins"), "ece", "%"),
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
        words = _("How good it is was not measured: %(n)s holdout images had an answer, and %(least)s are the least.")
        yield words % {"n": numeral(n), "least": LEAST_HOLDOUT}
    else:
        accuracy = round_.metrics["accuracy"]
        wide = 100 * (accuracy["high"] - accuracy["low"])
        words = _("All numbers are of %(n)s images of this project; the accuracy’s interval is %(wide)s points wide.")
        yield words % {"n": numeral(n), "wide": numeral(wide, 1)}
        if left_out_of(round_.metrics).images:
            yield _("What was measured is no random sample: images that people disagreed about have no label.")
        unmeasured = [each.name for each in classes if not each.measured]
        if unmeasured:
            words = _("Not measured at all, for no holdout image is of them: %(classes)s.")
            yield words % {"classes": _some(unmeasured)}
    few = [f"{each.name} ({each.learned})" for each in classes if 0 < each.learned < FEW]
    if few:
        yield _("Learned from fewer than %(few)s labels: %(classes)s.") % {"few": FEW, "classes": _some(few)}
    never = [each.name for each in classes if not each.learned]
    if never:
        words = _("Never seen with a label: %(classes)s. Their probability means little.")
        yield words % {"classes": _some(never)}
    yield _("It says one of its classes of every image, of things that are none of them, too.")
    yield _("Images of another camera, light, size or place than those of the project were not measured.")
    if round_.config.get("has_likeness"):
        yield _(
            "It places a new image among those of the project that look most like it; of what looks like none of them "
            "it may be sure and wrong."
        )
    if round_.config.get("posterior_samples"):
        yield _("The ± is how far the samples of its posterior differ, not how often it is wrong.")


def _digests(round_: Round, export: ModelExport | None) -> list[Fact]:
    found = [
        Fact(_("Training set"), round_.training_digest),
        Fact(_("Weights"), round_.metrics.get("fit", {}).get("model_digest") or ""),
        Fact("model.onnx", export.digest if export else ""),
    ]
    made_with = export.about.get("made_with", {}) if export else {}
    versions = ", ".join(f"{name} {version}" for name, version in made_with.items())
    return [each for each in [*found, Fact(_("Made with"), versions)] if each.value]


def _some(names: Sequence[str], most: int = 20) -> str:
    shown = ", ".join(names[:most])
    if len(names) <= most:
        return shown
    return _("%(names)s and %(number)s more") % {"names": shown, "number": numeral(len(names) - most)}


def _interval(value: float, low: float | None, high: float | None, digits: int) -> str:
    if low is None or high is None:
        return _("%(value)s (too few images for an interval)") % {"value": numeral(value, digits)}
    return _("%(value)s [%(low)s, %(high)s]") % {
        "value": numeral(value, digits),
        "low": numeral(low, digits),
        "high": numeral(high, digits),
    }


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
