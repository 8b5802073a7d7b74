"""A round's model as one file that looks at new images: asked for by a member, made by a worker, kept by the round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from labeler.models import JobState, ModelExport, Round, User
from labeler.selectors.served import export_of, why_not_served
from labeler.services.derived import Report, ending_in_words, request_derived
from labeler.services.jobs import Beat, claim_job, finish_job, resume_stalled
from labeler.services.rounds import RoundRefused

EXPORT_MODEL = "background.export_model"


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
