"""Replays: the project's answers in its own order and at random, asked for by a manager, played by a worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from labeler.models import JobState, Project, Replay, User
from labeler.selectors.grid import training_images
from labeler.selectors.pool import labelled_images
from labeler.selectors.replays import why_no_replay
from labeler.services.derived import ending_in_words, request_derived
from labeler.services.jobs import Beat, claim_job, finish_job, hand_back, resume_stalled
from labeler.services.rounds import RoundRefused, config_of, new_seed
from labeler.wake import wake

PLAY = "background.run_replay"
MOST_LABELS, MOST_HOLDOUT = 1000, 2000  # images that are asked about and measured, at most; of more a random sample


@dataclass(frozen=True)
class Played:
    """What a worker made of one order and seed; the result comes with the last. `done` of `total` models are fitted."""

    curve: dict[str, Any]
    result: dict[str, Any] | None
    done: int
    total: int


def request_replay(*, project: Project, by: User) -> Replay | None:
    """Have it played. None: one is being played already. Raises RoundRefused where it would say nothing."""
    if words := why_no_replay(project):
        raise RoundRefused(words)
    seed = new_seed()
    asked, measured = (
        sorted(images.values_list("position", "label_id"))
        for images in (training_images(project), labelled_images(project, is_holdout=True))
    )
    classes = sorted({label for _, label in (*asked, *measured)})
    number, rng = {pk: index for index, pk in enumerate(classes)}, np.random.default_rng(seed)
    labels: dict[str, list[int]] = {"classes": classes}
    for prefix, pairs, most in (("", asked, MOST_LABELS), ("holdout_", measured, MOST_HOLDOUT)):
        kept = [pairs[index] for index in np.sort(rng.permutation(len(pairs))[:most])]
        labels[f"{prefix}positions"] = [position for position, _ in kept]
        labels[f"{prefix}labels"] = [number[label] for _, label in kept]
    return request_derived(
        model=Replay, task_name=PLAY, project=project, by=by, seed=seed, config=config_of(project.learning),
        labels=labels, images=len(asked),
    )  # fmt: skip


def sweep_replays() -> int:
    return resume_stalled(model=Replay, task_name=PLAY)


def run_replay(*, job_id: int, play: Callable[[Replay, Callable[[int, int], None]], Played]) -> None:
    """The task: claim the job, play one order with one seed, keep that, and let it wait again for the next.

    So imports and exports wait for one curve at most, and a worker that dies loses one at most.
    """
    job = claim_job(model=Replay, job_id=job_id)
    if job is None:
        return
    beat = Beat(job)
    with ending_in_words(job):
        beat.now()
        played = play(job, lambda done, total: beat(done=done, total=total))
        curves = [*job.curves, played.curve]
        if played.result is None:
            if hand_back(job=job, curves=curves, done=played.done, total=played.total):
                wake(PLAY, job.pk)
        elif finish_job(job=job, state=JobState.DONE, curves=curves, result=played.result):
            Replay.objects.filter(project=job.project, pk__lt=job.pk, state=JobState.DONE).delete()
