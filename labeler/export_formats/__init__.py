"""What exports are written as. A format takes rows and writes bytes, one after the other, and never goes back: so that
a digest is made on the way, and memory does not grow. Nothing here knows the database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

# Which images: those with a label, all, or those with a label and those that the model is sure of.
LABELLED, ALL, WITH_MODEL = "labelled", "all", "with_model"
MODEL = "model"  # the source of a label that nobody gave

COLUMNS: dict[str, StrOrPromise] = {
    "image": _("number of the image here"),
    "name": _("its name as imported"),
    "class": _("its label; of source model: what the model says"),
    "source": _(
        "what the label rests on: single (looked at singly), grid, imported, decision (a manager's), gold, model"
    ),
    "state": _("pool, labelled, disputed, set_aside or bad"),
    "split": _("train (has a label), holdout (measures accuracy, never learned from) or pool"),
    "annotators": _("who answered, skips left out"),
    "answers": _("how many did"),
    "agreement": _("share of answers that say the label; empty with one answer"),
    "label_probability": _("that the label is right, given how far those who answered can be trusted"),
    "labelled_at": _("when it got its label"),
    "model_class": _("likeliest class by the model in charge"),
    "model_mean": _("its mean probability over the posterior samples"),
    "model_std": _("its standard deviation over them"),
    "model_measure": _("the measure that chooses; which one, says the manifest"),
    "round": _("the round that asked"),
    "reason": _("why it asked"),
    "rank": _("place in its queue"),
    "selection_probability": _("with which it was drawn"),
    "width": _("pixels"),
    "height": _("pixels"),
    "content_hash": _("SHA-256 of what was imported"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """`source`: single, grid or imported. `class_name`: what it means now; None where it names no class."""

    pk: int
    person_id: int
    person: str
    outcome: str
    class_name: str | None
    at: datetime
    seconds: float | None
    source: str


@dataclass(frozen=True, slots=True)
class ModelWord:
    """The likeliest class, its probability ± one standard deviation over the posterior samples, and the measure."""

    class_name: str
    mean: float
    std: float
    measure: float | None


@dataclass(frozen=True, slots=True)
class Picture:
    """Where the bytes of an image are."""

    pack: str
    offset: int
    length: int
    media_type: str


@dataclass(slots=True)
class Row:
    """An image: `record` holds `COLUMNS`, `metadata` what a table said of it when it came; `path` is where its file is,
    in an archive that has the images."""

    record: dict[str, Any]
    answers: Sequence[Answer]
    model: ModelWord | None
    picture: Picture
    path: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Filters:
    """Which images are exported, and how."""

    images: str = LABELLED
    label_class: int | None = None
    annotator: int | None = None
    since: datetime | None = None
    until: datetime | None = None  # before this moment
    holdout: str = ""  # only, without, or both
    least_agreement: float | None = None
    model_above: float | None = None  # with WITH_MODEL: the probability from which the model's word is taken along
    with_images: bool = False


@dataclass(frozen=True)
class Format:
    """`words`: who reads it. `has_images`: it always holds the images; else they may come along, in a zip."""

    key: str
    name: StrOrPromise
    words: StrOrPromise
    suffix: str
    media_type: str
    has_images: bool = False


_CSV, _PARQUET = "text/csv; charset=utf-8", "application/vnd.apache.parquet"
_LINES, _JSON, _ZIP = "application/x-ndjson", "application/json", "application/zip"
FORMATS = {
    each.key: each
    for each in (
        Format("csv", "CSV", _("Spreadsheets, R, pandas: a line an image."), "csv", _CSV),
        Format("jsonl", "JSON Lines", _("Programs: an object a line, exact."), "jsonl", _LINES),
        Format("parquet", "Parquet", _("pandas, DuckDB, Spark: typed columns, compressed."), "parquet", _PARQUET),
        Format("coco", "COCO", _("pycocotools, FiftyOne, CVAT: one category an image."), "json", _JSON),
        Format(
            "labelstudio",
            "Label Studio",
            _("Label Studio: who chose what, and the model's predictions."),
            "json",
            _JSON,
        ),
        Format("imagefolder", "ImageFolder", _("torchvision, Keras: the images, a folder a class."), "zip", _ZIP, True),
        Format(
            "everything",
            _("Everything"),
            _("Another PlusMinus: the images with their labels and columns in labels.jsonl."),
            "zip",
            _ZIP,
            True,
        ),
    )
}


@dataclass(frozen=True)
class About:
    """What a file says of itself."""

    project: str
    classes: Sequence[tuple[int, str]]  # id and name
    made_at: str
    model: str = ""  # "round 7"
    metadata: Sequence[str] = ()  # columns that came with images, beside those of `COLUMNS`
    manifest: dict[str, Any] = field(default_factory=dict)


Batches = Iterable[Sequence[Row]]


class CannotWrite(Exception):
    """Why, in words for people."""
