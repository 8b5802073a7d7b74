"""Images as exports have them: what people and the model in charge say of each, chunk by chunk, in flat memory.

Plain tuples rather than model instances: a million images take seconds of a minute this way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from labeler.choices import measure_of
from labeler.export_formats import LABELLED, MODEL, WITH_MODEL, Answer, Filters, ModelWord, Picture, Row
from labeler.models import (
    Annotation,
    Candidate,
    GoldImage,
    Image,
    ImageMetadata,
    ImageState,
    ImportJob,
    LabelClass,
    Outcome,
    Pack,
    Project,
    Reason,
    Round,
    User,
)
from labeler.models.annotations import GIVEN_AT
from labeler.models.images import CHUNK_SIZE
from labeler.selectors.charge import charge_of
from labeler.selectors.scores import NoScores, measure_at, predicted_classes, probability, spread, summary_of

IMAGE_FIELDS = (
    "pk", "position", "name", "content_hash", "width", "height", "label_id", "state", "is_holdout", "labelled_at",
    "label_probability", "pack_id", "offset", "length", "media_type",
)  # fmt: skip
ANSWER_FIELDS = (
    "image_id", "pk", "annotator_id", "outcome", "label_class_id", GIVEN_AT, "seconds", "is_grid", "is_imported",
    "is_decision", "candidate__round__number", "candidate__reason", "candidate__rank",
    "candidate__selection_probability", "candidate_id",
)  # fmt: skip
GROUP_OF_ONE = "group_of_one"  # a group of a single image stands for no other one


@dataclass(frozen=True)
class Given:
    """An answer with where it came from, while its image is read."""

    answer: Answer
    meaning: int | None
    round: int | None
    reason: str | None
    rank: int | None
    selection_probability: float | None
    is_decision: bool


@dataclass
class Model:
    """What the model in charge says of all images; `word` of one by its position."""

    round: Round
    names: dict[int, str]
    scores: Any = None
    classes: Any = None
    measure: str = ""
    at: int = -1  # the position of the first image that is kept
    kept: tuple[Sequence[float], Sequence[float], Sequence[float]] = field(default_factory=lambda: ([], [], []))

    def look_at(self, first: int, count: int) -> None:
        """Read what it says of the next images."""
        count = max(0, min(count, len(self.scores) - first))
        positions = range(first, first + count)
        measured: Sequence[float] = []
        if count and self.measure:
            try:
                measured = measure_at(self.round, positions, self.measure).tolist()
            except NoScores:
                self.measure = ""
        self.at = first
        self.kept = (
            probability(self.scores, positions).tolist(),
            spread(self.scores, positions).tolist(),
            measured,
        )

    def word(self, position: int) -> ModelWord | None:
        """None: the image came after the round."""
        means, stds, measured = self.kept
        offset = position - self.at
        if offset >= len(means):
            return None
        name = self.names.get(int(self.classes[position]), "a deleted class")
        value = measured[offset] if measured else None
        return ModelWord(name, means[offset], stds[offset], value)


@dataclass
class Reader:
    """Everything that is looked up again and again, read once."""

    project: Project
    filters: Filters
    model: Model | None
    names: dict[int, str]
    meanings: dict[int, int]
    people: dict[int, str]
    gold: frozenset[int]
    packs: dict[int, str]
    metadata: list[str]  # columns that tables brought along
    zone: tzinfo

    @property
    def last_position(self) -> int:
        newest = Image.objects.filter(project=self.project).order_by("-position").values_list("position", flat=True)
        return newest.first() or 0


def open_reader(project: Project, filters: Filters) -> Reader:
    """As things are now. Where the scores of the model in charge cannot be read, the export has none."""
    classes = list(LabelClass.objects.filter(project=project).values_list("pk", "name", "merged_into"))
    names = {pk: name for pk, name, _ in classes}
    people = User.objects.filter(Exists(Annotation.objects.filter(project=project, annotator=OuterRef("pk"))))
    return Reader(
        project=project,
        filters=filters,
        model=_model(project, names),
        names=names,
        meanings={pk: into or pk for pk, _, into in classes},
        people={person.pk: person.get_username() for person in people},
        gold=frozenset(GoldImage.objects.filter(image__project=project).values_list("image_id", flat=True)),
        packs=dict(Pack.objects.filter(project=project).values_list("pk", "name")),
        metadata=_metadata_columns(project),
        zone=timezone.get_default_timezone(),
    )


def _metadata_columns(project: Project) -> list[str]:
    """In the order in which imports brought them."""
    named = (
        ImportJob.objects.filter(project=project).exclude(columns=[]).order_by("pk").values_list("columns", flat=True)
    )
    return list(dict.fromkeys(column for columns in named for column in columns))


def _model(project: Project, names: dict[int, str]) -> Model | None:
    round_ = charge_of(project).model
    if round_ is None:
        return None
    try:
        scores = summary_of(round_)
        classes = predicted_classes(round_, scores)
    except NoScores:
        return None
    measure = measure_of(round_.config.get("acquisition", ""))
    return Model(
        round_, names, scores, classes, measure if measure in scores.quantiles else next(iter(scores.quantiles), "")
    )


def wanted_images(project: Project, filters: Filters) -> QuerySet[Image]:
    """What the database can tell of the filters; the agreement, and how sure the model is, `export_rows` looks at."""
    images = Image.objects.filter(project=project)
    if filters.images == LABELLED:
        images = images.filter(state=ImageState.LABELLED)
    elif filters.images == WITH_MODEL:
        images = images.filter(Q(state=ImageState.LABELLED) | Q(state=ImageState.POOL, is_holdout=False))
    if filters.holdout:
        images = images.filter(is_holdout=filters.holdout == "only")
    if filters.label_class is not None and filters.images != WITH_MODEL:
        images = images.filter(label_id=filters.label_class)
    if filters.since is not None:
        images = images.filter(labelled_at__gte=filters.since)
    if filters.until is not None:
        images = images.filter(labelled_at__lt=filters.until)
    if filters.annotator is not None:
        given = Annotation.objects.filter(
            image=OuterRef("pk"), annotator_id=filters.annotator, retracted_at__isnull=True
        ).exclude(outcome__in=[Outcome.UNDO, Outcome.SKIP])
        images = images.filter(Exists(given))
    return images


def export_rows(reader: Reader, *, last: int) -> Iterator[list[Row]]:
    """The wanted images up to a position, in the order of import; a list a chunk, also where it is empty."""
    wanted = wanted_images(reader.project, reader.filters).order_by("position")
    for first in range(0, last + 1, CHUNK_SIZE):
        window = wanted.filter(position__gte=first, position__lte=min(last, first + CHUNK_SIZE - 1))
        images = list(window.values_list(*IMAGE_FIELDS))
        yield _rows(reader, images, first) if images else []


def _rows(reader: Reader, images: Sequence[tuple[Any, ...]], first: int) -> list[Row]:
    ids = [image[0] for image in images]
    answers = _answers(reader, ids)
    kept = (
        dict(ImageMetadata.objects.filter(image__in=ids).values_list("image_id", "values")) if reader.metadata else {}
    )
    if reader.model is not None:
        reader.model.look_at(first, CHUNK_SIZE)
    rows = [_row(reader, image, answers.get(image[0], [])) for image in images]
    found = [row for row in rows if row is not None]
    for row in found if reader.metadata else ():
        values = kept.get(row.record["image"], {})
        row.metadata = {name: values[name] for name in reader.metadata if name in values}
    return found


def _answers(reader: Reader, images: Sequence[int]) -> dict[int, list[Given]]:
    found: dict[int, list[Given]] = defaultdict(list)
    for start in range(0, len(images), 1000):
        live = Annotation.objects.filter(image__in=images[start : start + 1000], retracted_at__isnull=True)
        rows = list(live.exclude(outcome=Outcome.UNDO).order_by("pk").values_list(*ANSWER_FIELDS))
        alone = _alone([row[-1] for row in rows if row[11] == Reason.GROUP])
        for row in rows:
            found[row[0]].append(_given(reader, row, alone))
    return found


def _alone(places: Sequence[int]) -> set[int]:
    """Of places that stand for a group, those whose group is one image."""
    if not places:
        return set()
    return set(Candidate.objects.filter(pk__in=places, details__group=1).values_list("pk", flat=True))


def _given(reader: Reader, row: tuple[Any, ...], alone: set[int]) -> Given:
    _, pk, person, outcome, class_id, at, seconds, is_grid, is_imported, is_decision, *asked = row
    number, reason, rank, chance, place = asked
    meaning = reader.meanings.get(class_id) if class_id else None
    answer = Answer(
        pk, person, reader.people.get(person, "somebody"), outcome, reader.names.get(meaning) if meaning else None,
        at, seconds, "imported" if is_imported else "grid" if is_grid else "single",
    )  # fmt: skip
    return Given(answer, meaning, number, GROUP_OF_ONE if place in alone else reason, rank, chance, is_decision)


def _row(reader: Reader, image: tuple[Any, ...], given: Sequence[Given]) -> Row | None:
    """None: a filter leaves it out."""
    pk, position, name, digest, width, height, label, state, is_holdout, at, sure, pack, offset, length, kind = image
    counted = [each for each in given if each.answer.outcome != Outcome.SKIP]
    agreeing = [each for each in counted if label is not None and each.meaning == label]
    agreement = round(len(agreeing) / len(counted), 4) if label is not None and len(counted) > 1 else None
    word = reader.model.word(position) if reader.model is not None else None
    class_name, source = reader.names.get(label) if label is not None else None, None
    if label is not None:
        source = _source(agreeing, pk in reader.gold)
    elif word is not None and _is_accepted(reader.filters, word):
        class_name, source = word.class_name, MODEL
    if _is_left_out(reader, agreement, class_name, source):
        return None
    asked = next((each for each in given if each.round is not None), None)
    record = {
        "image": pk,
        "name": name,
        "class": class_name,
        "source": source,
        "state": state,
        "split": "holdout" if is_holdout else "train" if label is not None else "pool",
        "annotators": [each.answer.person for each in counted],
        "answers": len(counted),
        "agreement": agreement,
        "label_probability": None if sure is None else round(sure, 4),
        "labelled_at": _labelled_at(agreeing, at, reader),
        **_model_columns(word),
        "round": asked.round if asked else None,
        "reason": asked.reason if asked else None,
        "rank": asked.rank if asked else None,
        "selection_probability": asked.selection_probability if asked else None,
        "width": width,
        "height": height,
        "content_hash": digest,
    }
    return Row(record, [each.answer for each in given], word, Picture(reader.packs.get(pack, ""), offset, length, kind))


def _labelled_at(agreeing: Sequence[Given], at: datetime | None, reader: Reader) -> str | None:
    """Of a label that came from elsewhere with its answers: when the last of these was given there."""
    if at is not None and agreeing and all(each.answer.source == "imported" for each in agreeing):
        at = max(each.answer.at for each in agreeing)
    return at.astimezone(reader.zone).isoformat() if at else None


def _model_columns(word: ModelWord | None) -> dict[str, Any]:
    if word is None:
        return {"model_class": None, "model_mean": None, "model_std": None, "model_measure": None}
    return {
        "model_class": word.class_name,
        "model_mean": round(word.mean, 4),
        "model_std": round(word.std, 4),
        "model_measure": None if word.measure is None else round(word.measure, 6),
    }


def _is_accepted(filters: Filters, word: ModelWord) -> bool:
    return filters.images == WITH_MODEL and filters.model_above is not None and word.mean >= filters.model_above


def _is_left_out(reader: Reader, agreement: float | None, class_name: str | None, source: str | None) -> bool:
    """By the filters that the database cannot see to."""
    filters = reader.filters
    if filters.least_agreement is not None and (agreement is None or agreement < filters.least_agreement):
        return True
    if filters.images != WITH_MODEL:
        return False
    wanted = filters.label_class
    return source is None or (wanted is not None and class_name != reader.names.get(wanted))


def _source(agreeing: Sequence[Given], is_gold: bool) -> str:
    """What a label rests on, the strongest first."""
    if is_gold:
        return "gold"
    if any(each.is_decision for each in agreeing):
        return "decision"
    if len(agreeing) == 1:
        return agreeing[0].answer.source
    sources = {each.answer.source for each in agreeing}
    return next((source for source in ("single", "imported", "grid") if source in sources), "single")


def preview_rows(project: Project, filters: Filters, count: int) -> list[Row]:
    """The first few, of the first chunks that hold any."""
    reader = open_reader(project, filters)
    wanted = wanted_images(project, filters).order_by("position")
    images = list(wanted.values_list(*IMAGE_FIELDS)[: 4 * count])
    rows: list[Row] = []
    for image in images:
        rows += _rows(reader, [image], image[1] - image[1] % CHUNK_SIZE)
        if len(rows) == count:
            break
    return rows


def count_wanted(project: Project, filters: Filters) -> int:
    return wanted_images(project, filters).count()
