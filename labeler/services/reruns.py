"""A round once more: asked for by a manager, fitted and scored by a worker, compared byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labeler.models import JobState, Rerun, Round, User
from labeler.selectors.reruns import why_no_rerun
from labeler.services.derived import Report, ending_in_words, request_derived
from labeler.services.jobs import Beat, claim_job, finish_job, resume_stalled
from labeler.services.rounds import RoundRefused

RERUN = "background.rerun"
Again = Callable[[Rerun, Report], dict[str, Any]]


def request_rerun(*, round_: Round, by: User) -> Rerun | None:
    """Have it run again. None: a round of the project is being run again already. Raises RoundRefused."""
    if words := why_no_rerun(round_):
        raise RoundRefused(words)
    return request_derived(model=Rerun, task_name=RERUN, project=round_.project, by=by, round=round_)


def sweep_reruns() -> int:
    return resume_stalled(model=Rerun, task_name=RERUN)


def run_rerun(*, job_id: int, again: Again) -> None:
    """The task: 1. Claim the job. 2. Fit, score and compare. 3. Close it; what an older one of the round found goes."""
    job = claim_job(model=Rerun, job_id=job_id)
    if job is None:
        return
    beat = Beat(job)
    with ending_in_words(job):
        beat.now(done=0, total=0)
        result = again(job, lambda done, total: beat(done=done, total=total))
        if finish_job(job=job, state=JobState.DONE, result=result):
            Rerun.objects.filter(round=job.round_id, pk__lt=job.pk, state=JobState.DONE).delete()
