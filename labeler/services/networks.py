"""A network of the pool's own: trained by a worker on what the graph is sure of, judged by a gate, and, if it is the
better model, what images are seen by from then on.

It is never in the way: it stands still while a round is at work, makes room for imports and the like whenever it has
kept what it has learned so far, and begins by itself only where nothing else is to be done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, BinaryIO

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from labeler import clock, storage
from labeler.models import (
    AuditKind,
    Chunk,
    ChunkFeatures,
    ExportJob,
    ImportJob,
    JobState,
    LearningConfig,
    PoolFeatures,
    PoolGraph,
    PoolMap,
    PoolNetwork,
    Project,
    Round,
    RoundState,
    Trigger,
    User,
)
from labeler.models.jobs import UNFINISHED_JOB
from labeler.models.rounds import UNFINISHED
from labeler.selectors.grid import training_images
from labeler.selectors.networks import answers_for_next, contested_so_far, why_no_network
from labeler.selectors.pool import aside_positions, rejected_positions
from labeler.services import audit
from labeler.services.derived import CannotDerive, Derived, forget_older
from labeler.services.features import others_wait
from labeler.services.jobs import (
    BEAT_SECONDS,
    Beat,
    ClaimLost,
    JobCancelled,
    claim_job,
    finish_job,
    hand_back,
    request_cancel,
    resume_stalled,
)
from labeler.services.leftovers import mark_replaced
from labeler.services.rounds import RoundRefused, new_seed, request_round
from labeler.told import Told, ntold, told
from labeler.wake import wake

TRAIN = "background.train_network"
TURN_SECONDS = 1800  # then the task ends and is sent again: Celery's time limit is for what hangs

AT_WORK = [RoundState.FITTING, RoundState.SCORING, RoundState.ACQUIRING]


@dataclass(frozen=True)
class Judged:
    """A trained network, what it made of the pool, and what the gate says of it.

    `features` are files in the storage, a chunk each, that nothing names yet.
    """

    is_accepted: bool
    evidence: dict[str, Any]
    write: Callable[[BinaryIO], object]
    features: Sequence[tuple[Chunk, int, str]]
    graph: Derived


class TurnOver(Exception):
    """Others wait: what was learned is kept, and the job goes back behind them."""


Report = Callable[[int, int, bool], None]
"""Called with what is done, all there is to do, and whether all of that would be found again by who goes on."""
Train = Callable[[PoolNetwork, Report], Judged]


@transaction.atomic
def request_network(*, project: Project, by: User | None = None) -> PoolNetwork | None:
    """Have one trained on the answers of now. None: one is being trained already. Raises RoundRefused."""
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    if PoolNetwork.objects.filter(project=project, state__in=UNFINISHED_JOB).exists():
        return None
    if words := why_no_network(project):
        raise RoundRefused(words)
    pairs = sorted(training_images(project).values_list("position", "label_id"))
    classes = sorted({label for _, label in pairs})
    number = {pk: index for index, pk in enumerate(classes)}
    labels = {
        "classes": classes,
        "positions": [position for position, _ in pairs],
        "labels": [number[label] for _, label in pairs],
        "rejected": rejected_positions(project, without=[position for position, _ in pairs]).tolist(),
        "aside": aside_positions(project),
        "contested": contested_so_far(project),
        "network": project.learning.network_id,
    }
    job = PoolNetwork.objects.create(
        project=project, created_by=by, seed=new_seed(), labels=labels, answers=len(pairs),
        checkpoint=storage.new_name(project, "networks", "checkpoint"),
    )  # fmt: skip
    if by is not None:
        _record(project, by, _started(job, len(pairs)))
    wake(TRAIN, job.pk)
    return job


@transaction.atomic
def stop_network(*, project: Project, by: User | None = None) -> None:
    for job in PoolNetwork.objects.filter(project=project, state__in=UNFINISHED_JOB):
        request_cancel(job=job)
        _record(project, by, told("stopped the training of network %(number)s", number=str(job.pk)))


@transaction.atomic
def leave_network(*, project: Project, by: User | None = None) -> bool:
    """Go back to what images were seen by before, and train no network by itself until somebody says otherwise.

    False: none is in use. The graph is made again by the sweep; rounds follow it.
    """
    learning = LearningConfig.objects.select_for_update(of=("self",), no_key=True).get(project=project)
    used = learning.network
    if used is None:
        return False
    learning.network, learning.trains_network = used.former, False
    learning.save(update_fields=["network", "trains_network"])
    _record(project, by, told("left network %(number)s: images are seen as before it", number=str(used.pk)))
    return True


@transaction.atomic
def take_network(*, network: PoolNetwork, by: User | None = None) -> bool:
    """Have images seen by a network that was accepted once. False: it was not."""
    if not network.is_accepted:
        return False
    LearningConfig.objects.filter(project=network.project_id).update(network=network)
    _record(network.project, by, told("took network %(number)s again", number=str(network.pk)))
    return True


def _started(job: PoolNetwork, labels: int) -> Told:
    return ntold(
        "started the training of network %(number)s on %(count)s label",
        "started the training of network %(number)s on %(count)s labels",
        labels,
        number=str(job.pk),
    )


def _record(project: Project, by: User | None, words: str) -> None:
    audit.record(project=project, by=by, kind=AuditKind.ROUNDS, words=words)


def sweep_networks() -> int:
    """Wake workers for what waits or fell silent; begin what is due. Returns how many."""
    return resume_stalled(model=PoolNetwork, task_name=TRAIN) + sum(_began(project) for project in _idle_projects())


def _idle_projects() -> list[Project]:
    """Projects with a queue in which nothing else is being done, and that are not paused."""
    is_busy = Q(pk__in=Round.objects.filter(state__in=UNFINISHED).values("project"))
    for model in (ImportJob, ExportJob, PoolMap, PoolGraph, PoolFeatures, PoolNetwork):
        is_busy |= Q(pk__in=model._default_manager.filter(state__in=UNFINISHED_JOB).values("project"))
    projects = Project.objects.filter(paused_at=None).select_related("learning").exclude(is_busy)
    has_graph = Q(pk__in=PoolGraph.objects.filter(state=JobState.DONE).values("project"))
    return list(projects.filter(has_graph, queue_round__isnull=False))


def _began(project: Project) -> bool:
    """Begin one where it pays: the groups have names, and the answers have grown by half since the last."""
    if not project.learning.trains_network or why_no_network(project):
        return False
    if training_images(project).count() < answers_for_next(project):
        return False
    try:
        return request_network(project=project) is not None
    except RoundRefused:
        return False


def run_network(*, job_id: int, train: Train) -> None:
    """The task: 1. Claim the job, unless others wait. 2. Train and judge, in turns. 3. Close; if it is accepted, let it
    take over.

    Of a job that waits long there are several messages, the sweep's and those of its turns, and all stand before the
    one of a graph that has just been asked for. So a message by itself is no turn.
    """
    if others_wait():
        return  # the sweep asks again
    job = claim_job(model=PoolNetwork, job_id=job_id)
    if job is None:
        return
    try:
        judged = train(job, _Turn(job))
    except TurnOver:
        if hand_back(job=job):
            wake(TRAIN, job.pk)
        return
    except ClaimLost:
        return
    except JobCancelled:
        _end(job, JobState.CANCELLED)
        return
    except CannotDerive as error:
        _end(job, JobState.FAILED, str(error))
        return
    except (storage.StorageError, OSError) as error:
        _end(job, JobState.FAILED, told("The network could not be written: %(why)s", why=str(error)))
        return
    _close(job, judged)


class _Turn:
    """The report of a training: a heartbeat, and where it gives way."""

    def __init__(self, job: PoolNetwork) -> None:
        self.beat, self.next_at, self.ends_at = Beat(job), 0.0, time.monotonic() + TURN_SECONDS

    def __call__(self, done: int, total: int, is_kept: bool = False) -> None:
        now = time.monotonic()
        if now >= self.next_at:
            self.beat.now(done=done, total=total)
            while is_round_at_work():
                time.sleep(BEAT_SECONDS)
                self.beat.now()
            self.next_at = time.monotonic() + BEAT_SECONDS
        if is_kept:
            self.beat.now(attempts=0)  # one that gets on has its attempts back
            if others_wait() or now > self.ends_at:
                raise TurnOver


def is_round_at_work() -> bool:
    """Whether a learner is at work: people wait for it, and nobody waits for a network."""
    lately = clock.now() - timedelta(seconds=settings.STALL_SECONDS)
    return Round.objects.filter(state__in=AT_WORK, heartbeat_at__gt=lately).exists()


def _end(job: PoolNetwork, state: JobState, error: str = "") -> None:
    finish_job(job=job, state=state, error=error)
    storage.delete(job.checkpoint)


def _close(job: PoolNetwork, judged: Judged) -> None:
    names: dict[str, str] = {}
    try:
        if judged.is_accepted:
            names = _write(job, judged)
        is_closed = _take_over(job, judged, names) if judged.is_accepted else _refuse(job, judged)
    except (storage.StorageError, OSError) as error:
        is_closed = False
        finish_job(
            job=job, state=JobState.FAILED, error=told("The network could not be written: %(why)s", why=str(error))
        )
    if not (is_closed and judged.is_accepted):
        for name in (*names.values(), *(name for _, _, name in judged.features)):
            storage.delete(name)
    storage.delete(job.checkpoint)
    if is_closed and judged.is_accepted:
        _start_round(job.project)


def _write(job: PoolNetwork, judged: Judged) -> dict[str, str]:
    files = {"network": ("networks", "safetensors", judged.write), "file": ("graphs", "npz", judged.graph.write)}
    files |= {of: ("graphs", suffix, write) for of, (suffix, write) in judged.graph.files.items()}
    names = {}
    for of, (group, suffix, write) in files.items():
        names[of] = storage.new_name(job.project, group, suffix, prefix=f"{job.pk}-")
        storage.write_once(names[of], write)
    return names


@transaction.atomic
def _refuse(job: PoolNetwork, judged: Judged) -> bool:
    is_ours = finish_job(job=job, state=JobState.DONE, is_accepted=False, evidence=judged.evidence, done=F("total"))
    if is_ours:
        _forget_older(job)
    return is_ours


@transaction.atomic
def _take_over(job: PoolNetwork, judged: Judged, names: dict[str, str]) -> bool:
    """Features, graph and setting in one transaction: a round sees all of it or nothing."""
    learning = LearningConfig.objects.select_for_update(of=("self",), no_key=True).get(project=job.project)
    is_ours = finish_job(
        job=job, state=JobState.DONE, is_accepted=True, evidence=judged.evidence, file=names["network"],
        former=learning.network, done=F("total"),
    )  # fmt: skip
    if not is_ours:
        return False
    n, now = judged.graph.images, clock.now()
    ended = {"state": JobState.DONE, "done": n, "total": n, "images": n, "started_at": now, "finished_at": now}
    features = PoolFeatures.objects.create(project=job.project, backbone=job.key, network=job, **ended)
    for chunk, count, file in judged.features:
        ChunkFeatures.objects.create(chunk=chunk, backbone=job.key, count=count, file=file)
    of_graph = {of: name for of, name in names.items() if of != "network"}
    fields = {**judged.graph.fields, "features": features, **of_graph}
    forget_older(PoolGraph.objects.create(project=job.project, **ended, **fields))
    LearningConfig.objects.filter(pk=learning.pk).update(network=job)
    _forget_older(job)
    return True


def _forget_older(job: PoolNetwork) -> None:
    """All but this one, the one in use and the one before that. Files go a day later."""
    used = LearningConfig.objects.values_list("network", "network__former").get(project=job.project)
    older = PoolNetwork.objects.filter(project=job.project, pk__lt=job.pk).exclude(state__in=UNFINISHED_JOB)
    for row in older.exclude(pk__in=[pk for pk in used if pk]):
        features = ChunkFeatures.objects.filter(chunk__project=job.project, backbone=row.key)
        mark_replaced([row.file, *features.values_list("file", flat=True)] if row.file else [])
        features.delete()
        row.delete()


def _start_round(project: Project) -> None:
    """So that people are asked by it at once. Where a round is unfinished, the next one goes by it."""
    try:
        request_round(project=project, trigger=Trigger.NETWORK, reason=told("a network has taken over"))
    except RoundRefused:
        return
