"""A round that was measured, and workers, for tests of the Monitor and of rounds' pages."""

from __future__ import annotations

from labeler.models import Project, Round, RoundState, Trigger, Worker
from labeler.services.rounds import start_cold_round
from tests.labeler.rounds import tune

INTERVAL = {"value": 0.9, "low": 0.8, "high": 0.96, "n": 50, "method": "wilson"}
METRICS = {
    "n": 50,
    **dict.fromkeys(("accuracy", "nll", "brier", "ece"), INTERVAL),
    "recall": [INTERVAL, None, INTERVAL],
    "confusion": [[9, 1, 0], [0, 0, 0], [2, 0, 38]],
    "fit": {"loss": 0.1, "steps": 400, "notes": ["1 of 3 classes has a single label"]},
}


def alive(*queues: str) -> None:
    for queue in queues:
        Worker.objects.create(name=f"{queue}@here", queues=queue, doing="fitting <b>round</b> 7")


def measured_round(project: Project, make_images) -> Round:
    make_images(project, 60)
    make_images(project, 30, is_holdout=True, state="labelled", label=project.classes.first())
    tune(project)
    start_cold_round(project=project)
    return Round.objects.create(
        project=project,
        number=2,
        trigger=Trigger.ANSWERS,
        reason="10 new answers",
        state=RoundState.DONE,
        seed=1,
        metrics=METRICS,
        answers_spent=40,
        training_count=30,
        classes=list(project.classes.values_list("pk", flat=True)),
        phase_seconds={"fit": 3.2, "score": 65.0, "acquire": 0.2},
        config={"architecture": "cnn", "budget": 100},
        training_digest="a" * 64,
    )
