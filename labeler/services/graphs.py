"""The graph of the pool: which images look alike. Made by a worker after every import, and again when features are
ready or are not wanted any more; it orders the first queue, and rounds follow it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import OuterRef, Q, Subquery, Sum

from labeler import clock
from labeler.models import Chunk, ImportJob, JobState, PoolFeatures, PoolGraph, Project, Round, RoundState, Trigger
from labeler.models.jobs import UNFINISHED_JOB
from labeler.selectors.features import ready_by_project, ready_features
from labeler.selectors.graphs import LEAST_IMAGES, current_graph
from labeler.selectors.pool import total_images
from labeler.services.claims import RUN, end_round
from labeler.services.derived import Derived, Report, derive_file, request_derived
from labeler.services.jobs import claim_job, resume_stalled
from labeler.services.rounds import add_round, newest_round, start_cold_round, why_not_trainable
from labeler.services.triggers import start_if_due
from labeler.told import told
from labeler.wake import wake

MAKE = "background.make_graph"


def request_graph(*, project: Project) -> PoolGraph | None:
    """Have it made. None: it is being made already, or there are no images."""
    features = ready_features(project)
    return request_derived(
        model=PoolGraph, task_name=MAKE, project=project, images=total_images(project), features=features
    )


def sweep_graphs() -> int:
    """Wake workers for what waits or fell silent; ask for graphs that are missing or too small. Returns how many."""
    return resume_stalled(model=PoolGraph, task_name=MAKE) + sum(
        request_graph(project=project) is not None for project in _outgrown()
    )


def run_graph(*, job_id: int, make: Callable[[Project, Report], Derived]) -> None:
    """The task: claim the job and make it; rounds and the first queue follow."""
    job = claim_job(model=PoolGraph, job_id=job_id)
    if job is not None:
        derive_file(job=job, group="graphs", suffix="npz", make=make, then=follow_graph)


def follow_graph(project: Project) -> None:
    """In the transaction that closes the job. What began before it was known which images look alike gives way: a
    round that takes minutes to learn from pixels, and a queue that was drawn before the first model.

    Locked in the order of a publication, which may be about to end the same round.
    """
    locked = Project.objects.select_for_update(of=("self",), no_key=True).select_related("learning", "queue_round")
    project = locked.get(pk=project.pk)
    ended = _end_round_by_pixels(project)
    order_first_queue(project)
    project.refresh_from_db(fields=["queue_round"])
    if ended is not None and not why_not_trainable(project):
        _start_again(project, ended)
    elif project.queue_round is not None:
        start_if_due(project)  # answers have waited for this


def order_first_queue(project: Project) -> None:
    """A cold start that knows less than there is to know by now is made again. Its answers count, as ever."""
    last, graph, queue = newest_round(project), current_graph(project), project.queue_round
    if last is None or graph is None or queue is None:
        return
    if queue.trigger == Trigger.COLD_START and queue.config.get("graph") != graph.pk:
        reason = told("images that look alike have been found")
        start_cold_round(project=project, reason=reason, seen=last.last_annotation_id)


def _end_round_by_pixels(project: Project) -> Round | None:
    """The round that was ended. One that waits for a worker will go by likeness as it is; one that has just been taken
    may have looked for the graph already, and in vain."""
    last = newest_round(project)
    if last is None or last.trigger == Trigger.COMPARISON or project.learning.learns_from != "likeness":
        return None
    if last.config.get("has_likeness") or last.config.get("features"):
        return None
    if PoolGraph.objects.filter(project=project, state=JobState.DONE).exclude(vectors="").count() > 1:
        return None  # one has just been replaced: until then it was to be had
    former = Round.objects.filter(project=project, number__lt=last.number).exclude(trigger=Trigger.COMPARISON).first()
    words = told(
        "Ended before its time: it learned from pixels. Which images look alike is known now; the next round goes by "
        "that, with the same answers."
    )
    is_ended = end_round(
        Q(pk=last.pk) & ~Q(state=RoundState.QUEUED),
        RoundState.CANCELLED,
        words,
        last_annotation_id=former.last_annotation_id if former else 0,
    )
    return last if is_ended else None


def _start_again(project: Project, ended: Round) -> None:
    round_ = add_round(
        project=project,
        trigger=ended.trigger,
        reason=ended.reason,
        requested_by=ended.requested_by,
        not_before=clock.now(),
    )
    if round_ is not None:
        wake(RUN, round_.pk)


def _outgrown() -> list[Project]:
    """Projects that nobody imports into and whose newest graph, done or failed, was made of other features than are
    ready, or of fewer images than there are. Where features are ready, those of new images are waited for.

    One that failed is not made again of the same images: it would fail again.
    """
    newest = PoolGraph.objects.filter(project=OuterRef("pk")).order_by("-pk")
    images = Chunk.objects.filter(project=OuterRef("pk")).order_by().values("project").annotate(n=Sum("count"))
    projects = Project.objects.select_related("learning").annotate(
        images_now=Subquery(images.values("n")),
        images_then=Subquery(newest.values("images")[:1]),
        features_then=Subquery(newest.values("features")[:1]),
        graph_state=Subquery(newest.values("state")[:1]),
    )
    importing = ImportJob.objects.filter(state__in=UNFINISHED_JOB).values("project")
    wanting = projects.filter(images_now__gte=LEAST_IMAGES).exclude(pk__in=importing)
    rows = [row for row in wanting if row.graph_state not in UNFINISHED_JOB]
    ready = ready_by_project(rows)
    return [row for row in rows if _is_outgrown(row, ready.get(row.pk))]


def _is_outgrown(row: Any, features: PoolFeatures | None) -> bool:
    if row.graph_state is None or row.features_then != (features.pk if features else None):
        return True
    return features is None and bool(row.images_then < row.images_now)
