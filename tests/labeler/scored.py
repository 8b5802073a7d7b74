"""A finished round with score files, made without a model: tests say what it thinks of each image."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

import numpy as np

from labeler.models import Project, Round, RoundChunk, RoundState, Trigger
from labeler.services.rounds import config_of
from labeler.storage import round_folder
from learner.config import MEASURES
from learner.scores import write_scores


def scored_round(
    project: Project,
    means: Sequence[Sequence[float]],
    stds: Sequence[Sequence[float]],
    *,
    scales: Mapping[str, float] | None = None,
    **fields: object,
) -> Round:
    """One chunk of as many images as there are rows, of the project's classes in their order.

    Every measure is the predictive entropy, times what `scales` says of it.
    """
    chunk = project.chunks.get(number=0)
    assert chunk.count == len(means) == len(stds)
    round_ = Round.objects.create(
        **{
            "project": project,
            "number": project.rounds.count() + 1,
            "trigger": Trigger.BUTTON,
            "reason": "for a test",
            "state": RoundState.DONE,
            "config": config_of(project.learning),
            "seed": 0,
            "classes": list(project.classes.values_list("pk", flat=True)),
            "folder": f"rounds/{secrets.token_hex(6)}",
            "phase_seconds": {"fit": 2.0, "score": 3.0},
            **fields,
        }
    )
    RoundChunk.objects.create(round=round_, chunk=chunk, count=chunk.count, pixels="", is_done=True)
    mean_N_C = np.array(means, np.float32)
    entropy_N = -(mean_N_C * np.log(np.maximum(mean_N_C, 1e-9))).sum(1)
    columns = {name: ((scales or {}).get(name, 1.0) * entropy_N).astype(np.float32) for name in MEASURES}
    columns["mean_probs_N_C"] = mean_N_C.astype(np.float16)
    columns["std_probs_N_C"] = np.array(stds, np.float16)
    write_scores(round_folder(round_), 0, "a model", columns)
    return round_


def five(project: Project, **fields: object) -> Round:
    """Image 0 is sure of cat, 1 sure of dog, 2 torn between cat and dog, 3 lost between dog and owl, 4 in between."""
    means = [[0.97, 0.02, 0.01], [0.01, 0.98, 0.01], [0.52, 0.46, 0.02], [0.1, 0.5, 0.4], [0.75, 0.2, 0.05]]
    stds = [[0.02, 0.02, 0.01], [0.01, 0.01, 0.01], [0.03, 0.03, 0.01], [0.1, 0.45, 0.4], [0.15, 0.1, 0.05]]
    return scored_round(project, means, stds, **fields)
