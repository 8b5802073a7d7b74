"""The graph of the pool: which images look alike. Made by a worker after every import, and again when features are
ready or are not wanted any more; it orders the first queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import OuterRef, Subquery, Sum

from labeler.models import Chunk, ImportJob, PoolFeatures, PoolGraph, Project, Trigger
from labeler.models.jobs import UNFINISHED_JOB
from labeler.selectors.features import ready_by_project, ready_features
from labeler.selectors.graphs import current_graph
from labeler.selectors.pool import total_images
from labeler.services.derived import Derived, Report, derive_file, request_derived
from labeler.services.jobs import claim_job, resume_stalled
from labeler.services.rounds import newest_round, start_cold_round

MAKE = "background.make_graph"
LEAST_IMAGES = 20  # fewer are answered sooner than they are grouped


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
    """The task: claim the job and make it. A queue that was drawn before the first model is then put in its order."""
    job = claim_job(model=PoolGraph, job_id=job_id)
    if job is not None:
        derive_file(job=job, group="graphs", suffix="npz", make=make, then=order_first_queue)


def order_first_queue(project: Project) -> None:
    """A cold start that knows less than there is to know by now is made again. Its answers count, as ever."""
    last, graph = newest_round(project), current_graph(project)
    if last is None or graph is None or last.trigger != Trigger.COLD_START or last.config.get("graph") == graph.pk:
        return
    start_cold_round(project=project, reason="images that look alike have been found")


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
