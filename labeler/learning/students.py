"""The project's networks, as they are stored: how they look at images, and what they take them for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from labeler.learning.files import CannotLearn, limit_threads, opened
from labeler.models import LabelClass, PoolNetwork
from labeler.selectors.features import ChunkInput
from labeler.services.features import Part
from labeler.storage import local_path
from labeler.told import told

if TYPE_CHECKING:
    from learner.config import Report
    from learner.distillation import Student
    from learner.lessons import Opinion
    from learner.pool import Chunk


def load_student(network: PoolNetwork) -> Student:
    """The project's network. Raises CannotLearn."""
    from learner.distillation import Student

    with ExitStack() as stack:
        try:
            return Student.load(stack.enter_context(local_path(network.file)))
        except FileNotFoundError as error:
            raise CannotLearn(
                told("The file of network %(pk)s was lost. Have another one trained.", pk=str(network.pk))
            ) from error


def open_student(network: PoolNetwork) -> Callable[[Part, Callable[..., None]], Any]:
    """How the project's network looks at a part of a chunk. Raises CannotLearn."""
    limit_threads()
    student = load_student(network)

    def look(part: Part, report: Callable[..., None]) -> Any:
        with ExitStack() as opening:
            pixels = opened(ChunkInput(part.chunk, part.chunk.count), opening)
            return student.look_at(pixels, start=part.start, stop=part.stop, report=report)[0]

    return look


def opinion_of(
    network: PoolNetwork, classes: Sequence[int], pixels: tuple[Chunk, ...], report: Report
) -> Opinion | None:
    """What a network takes images for.

    Args:
        network: One that was accepted.
        classes: Ids, in the order of the numbers that its answers are to have.
        pixels: Of the pool.
        report: Called while it looks.

    Returns:
        None where its file was lost, or it knows images of another size: whoever cannot do without hears of that.
    """
    from learner.distillation import classes_by
    from learner.errors import LearnerError
    from learner.lessons import Opinion
    from learner.pool import Pool

    try:
        student = load_student(network)
    except (CannotLearn, LearnerError):
        return None
    if list(Pool(pixels).shape) != list(student.facts["shape"]):
        return None
    number, known = {pk: index for index, pk in enumerate(classes)}, network.labels["classes"]
    merged = LabelClass.objects.filter(pk__in=known, merged_into__isnull=False).values_list("pk", "merged_into")
    meant = {pk: pk for pk in known} | dict(merged)
    numbers = np.array([number.get(meant[pk], -1) for pk in known], np.int64)
    return Opinion(lambda some: numbers[classes_by(student, pixels, some, report=report)], numbers)
