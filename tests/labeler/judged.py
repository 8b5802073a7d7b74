"""Rounds whose models say what a test wants, up to the point where it is decided whether they take charge."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from labeler import learning
from labeler.learning.spoken import note
from labeler.models import Image, ImageState, Project, Round, RoundChunk, RoundState
from labeler.services.rounds import config_of
from labeler.told import keep
from tests.labeler.rounds import paint, tune
from tests.labeler.scored import scored_round

HOLDOUT, POOL = 30, 40
FIT = {"loss": 0.1, "steps": 5, "notes": [], "temperature": None, "model_digest": "d", "doubts_graph": False}


def measured_pool(project: Project, make_images) -> Project:
    """Images 0 to 29 are the holdout, labelled with their classes in turn; 40 more wait for an answer."""
    make_images(project, HOLDOUT, is_holdout=True)
    make_images(project, POOL)
    paint(project)
    tune(project, budget=10, random_share=0.0, holdout_questions=0.0)
    classes = list(project.classes.all())
    for image in project.images.filter(is_holdout=True):
        image.state, image.label = ImageState.LABELLED, classes[image.position % 3]
        image.save()
    project.refresh_from_db()
    return project


def sure(n: int, classes: Sequence[int] = (0, 1, 2), is_wrong: Callable[[int], bool] = lambda _: False) -> np.ndarray:
    """Means of a model that is sure of each image's class in turn (by its number in `classes`), or of the next one."""
    means = np.full((n, len(classes)), 0.1 / (len(classes) - 1))
    for position in range(n):
        said = (position + is_wrong(position)) % 3
        means[position, list(classes).index(said)] = 0.9
    return means


def round_to_judge(project: Project, means: np.ndarray, *, notes: Sequence[str] = (), **fields: object) -> Round:
    """Fitted and scored: what is missing is to measure it, to judge it and to publish. `notes` are the learner's."""
    fitted = {**FIT, "notes": [keep(note(words)) for words in notes]}
    config = {"n_classes": means.shape[1], "has_likeness": False, "features": None, "graph": None, "device": "cpu"}
    round_ = scored_round(
        project, means.tolist(), np.full(means.shape, 0.05).tolist(), state=RoundState.ACQUIRING, claim="mine",
        config={**config_of(project.learning), **config}, metrics={"fit": fitted}, **fields,
    )  # fmt: skip
    RoundChunk.objects.filter(round=round_).update(pixels=project.chunks.get().pixels)
    return round_


def finish(round_: Round) -> Round:
    """As a learner does. The test's own project is as it is then, too."""
    project = round_.project
    learning.choose(round_=Round.objects.select_related("project__learning").get(pk=round_.pk))
    round_.refresh_from_db()
    project.refresh_from_db()
    return round_


def judged(project: Project, is_wrong: Callable[[int], bool] = lambda _: False, **fields: object) -> Round:
    n = Image.objects.filter(project=project).count()
    return finish(round_to_judge(project, sure(n, is_wrong=is_wrong), **fields))


def loses_owls(position: int) -> bool:
    """All of the third class."""
    return position % 3 == 2
