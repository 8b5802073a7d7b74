"""A round's model as one file that looks at new images: asked for by a member, made by a worker, kept by the round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Exists, OuterRef, Q

from labeler import clock, storage
from labeler.models import JobState, ModelExport, Prediction, Project, Round, User
from labeler.models.jobs import UNFINISHED_JOB
from labeler.selectors.served import export_of, why_not_served
from labeler.services.derived import Report, ending_in_words, request_derived
from labeler.services.jobs import Beat, claim_job, finish_job, resume_stalled
from labeler.services.leftovers import KEPT
from labeler.services.rounds import RoundRefused
from labeler.storage import round_name

EXPORT_MODEL = "background.export_model"
ASKED_LATELY, NOTED_EVERY = timedelta(days=30), timedelta(hours=1)


@dataclass(frozen=True)
class Exported:
    """The file, in the round's folder, and what its row says of it; see `ModelExport`."""

    file: str
    arrays: str
    size: int
    digest: str
    about: dict[str, Any]


Export = Callable[[ModelExport, Report], Exported]


def request_model_export(*, round_: Round, by: User) -> ModelExport | None:
    """Have it made. None: another model of the project is being made just now. Raises RoundRefused.

    What is there already, or is being made, is given back as it is: whoever asks twice asks once.
    """
    if words := why_not_served(round_):
        raise RoundRefused(words)
    state = export_of(round_)
    if (there := state.made or state.ready) is not None:
        return there
    return request_derived(model=ModelExport, task_name=EXPORT_MODEL, project=round_.project, by=by, round=round_)


def sweep_model_exports() -> int:
    return resume_stalled(model=ModelExport, task_name=EXPORT_MODEL)


def note_asked(*, export: ModelExport) -> None:
    """Somebody has asked it about a new image: those that come after it are prepared by themselves. Written down once
    an hour."""
    now = clock.now()
    if export.asked_at is None or export.asked_at < now - NOTED_EVERY:
        ModelExport.objects.filter(pk=export.pk).update(asked_at=now)


def prepare_models_in_charge() -> int:
    """The sweep's part: where models were asked about new images lately, the one in charge is prepared, once. What was
    stopped or failed waits for a person."""
    of_project = ModelExport.objects.filter(project=OuterRef("pk"))
    asked = of_project.filter(asked_at__gt=clock.now() - ASKED_LATELY)
    is_gone = Q(state=JobState.DONE, file="")
    there = ModelExport.objects.filter(round=OuterRef("model_round")).exclude(is_gone)
    projects = Project.objects.filter(Exists(asked), ~Exists(there), model_round__isnull=False)
    begun = 0
    for project in projects.exclude(Exists(of_project.filter(state__in=UNFINISHED_JOB))).select_related("model_round"):
        assert project.model_round is not None
        begun += request_derived(
            model=ModelExport, task_name=EXPORT_MODEL, project=project, round=project.model_round, is_automatic=True
        ) is not None  # fmt: skip
    return begun


def _forget_superseded(project: Project) -> None:
    """Files that nobody asked for, of rounds that are not in charge any more: the newest stays, others for a day, as a
    backup may be reading them. Asked for, they are made again."""
    asked = Prediction.objects.filter(model=OuterRef("pk"), state__in=UNFINISHED_JOB)
    rows = ModelExport.objects.filter(project=project, is_automatic=True, state=JobState.DONE).exclude(file="")
    rows = rows.exclude(Exists(asked)).exclude(round__in=Project.objects.filter(pk=project.pk).values("model_round"))
    for row in list(rows.order_by("-round__number").select_related("round"))[1:]:
        if row.finished_at is None or row.finished_at > clock.now() - KEPT:
            continue
        if ModelExport.objects.filter(pk=row.pk).exclude(file="").update(file="", arrays=""):
            for name in (row.file, row.arrays):
                storage.delete(f"{round_name(row.round)}/{name}")


def run_model_export(*, job_id: int, export: Export) -> None:
    """The task: claim the job, write the file, close the job. Killed in the middle, it begins again with a new file."""
    job = claim_job(model=ModelExport, job_id=job_id)
    if job is None:
        return
    beat = Beat(job)
    with ending_in_words(job):
        beat.now(done=0, total=0)
        made = export(job, lambda done, total: beat(done=done, total=total))
        finish_job(job=job, state=JobState.DONE, **asdict(made))
        _forget_superseded(job.project)
