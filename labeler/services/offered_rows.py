"""What came with a batch of images, as rows: labels, columns of tables, answers from other tools; all of it offered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_naive, make_aware

from labeler import clock
from labeler.models import Image, ImageMetadata, ImportedPerson, OfferedAnswer, OfferedLabel, Project
from labeler.tables.row import Answer, Row

ROWS = 2000  # of one statement
A_DAY = timedelta(days=1)


def add_offered(
    *, project: Project, images: Sequence[Image], labels: Sequence[str], rows: Sequence[Row | None]
) -> None:
    """In the transaction that adds the images: label and row i are those of image i."""
    OfferedLabel.objects.bulk_create(
        [OfferedLabel(image=image, class_name=label) for image, label in zip(images, labels, strict=True) if label],
        batch_size=ROWS,
    )
    known = [(image, row) for image, row in zip(images, rows, strict=True) if row is not None]
    ImageMetadata.objects.bulk_create(
        [ImageMetadata(image=image, values=dict(row.metadata)) for image, row in known if row.metadata],
        batch_size=ROWS,
    )
    people = _people(project, {answer.by for _, row in known for answer in row.answers})
    OfferedAnswer.objects.bulk_create(
        [_answer(image, people[by], answer) for image, row in known for by, answer in _last(row.answers).items()],
        batch_size=ROWS,
    )


def _people(project: Project, names: set[str]) -> dict[str, ImportedPerson]:
    """Rows for the names, made where they are missing: another import may be making the same ones."""
    if not names:
        return {}
    ImportedPerson.objects.bulk_create(
        [ImportedPerson(project=project, name=name) for name in sorted(names)], ignore_conflicts=True, batch_size=ROWS
    )
    return {person.name: person for person in ImportedPerson.objects.filter(project=project)}


def _last(answers: Sequence[Answer]) -> dict[str, Answer]:
    """A person's newest answer: what they said before it, they have taken back."""
    newest: dict[str, Answer] = {}
    for answer in answers:
        if answer.by not in newest or answer.at >= newest[answer.by].at:
            newest[answer.by] = answer
    return newest


def _answer(image: Image, person: ImportedPerson, answer: Answer) -> OfferedAnswer:
    return OfferedAnswer(
        image=image, person=person, class_name=answer.label, seconds=answer.seconds, answered_at=moment_of(answer.at)
    )


def moment_of(text: str) -> datetime | None:
    """When an answer was given, as far as that can be believed: not in years to come."""
    try:
        moment = parse_datetime(text)
    except ValueError:
        return None
    if moment is None or not 1990 <= moment.year < 2200:
        return None
    moment = make_aware(moment) if is_naive(moment) else moment
    return moment if moment <= clock.now() + A_DAY else None  # other clocks are ahead, and zones are forgotten
