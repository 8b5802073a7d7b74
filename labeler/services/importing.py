"""Runs an import: decode, recognise duplicates, store, batch by batch; memory does not grow with the archive."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from django.db import transaction
from django.db.models import F
from django.utils.crypto import get_random_string

from labeler import clock, storage
from labeler.buckets import BucketError
from labeler.imaging.names import printable
from labeler.imaging.sources import Entry, Source
from labeler.imaging.zips import BadArchive, BadEntry
from labeler.models import ImportFile, ImportJob, JobState, Project, RejectedFile, User
from labeler.models.images import CHUNK_SIZE
from labeler.services.import_look import look
from labeler.services.import_plan import Plan, import_limits, make_plan, opened, with_row
from labeler.services.jobs import BEAT_SECONDS, Beat, ClaimLost, JobCancelled, claim_job, finish_job, keep_claim
from labeler.services.leftovers import forget_unnamed_files
from labeler.services.packing import Loaded, name_rejected, shown_reason, store_batch, sweep_files
from labeler.services.uploads import NOT_STAGED, delete_staged
from labeler.told import ntold, together, told

logger = logging.getLogger(__name__)

BATCH_BYTES = 64 * 2**20
GROUP_ENTRIES, GROUP_BYTES = 32, 2**20  # what one thread decodes at a time
THREADS = min(4, os.cpu_count() or 1)
REMOTE_THREADS = 8  # mostly wait
KEPT_WORDS = told("Images that were already in stay.")

Report = Callable[[int, int], object]


@dataclass
class Run:
    """One worker at one import."""

    job: ImportJob
    beat: Beat
    plan: Plan
    pool: ThreadPoolExecutor
    report: Report | None


def run_import(*, job_id: int) -> None:
    """The task: claim the job and import its files; harmless when another worker has it or it is over."""
    job = claim_job(model=ImportJob, job_id=job_id)
    if job is not None and job.looks_first:
        _in_words(Plan(job, import_limits(), Beat(job), is_look=True), look)
    elif job is not None:
        _run(job)


def import_local(
    *, project: Project, path: Path, by: User | None, report: Report | None = None, parts: Collection[str] = ()
) -> ImportJob:
    """Import a zip, a folder, an .npz or an image of this machine, here and now, through the same pipeline.

    `parts` names the arrays of an .npz to take (`train` of x_train). The job that comes back says how it went.
    """
    now = clock.now()
    token = get_random_string(16)
    job = ImportJob.objects.create(
        project=project,
        created_by=by,
        state=JobState.RUNNING,
        claim=token,
        heartbeat_at=now,
        started_at=now,
        attempts=1,
    )
    size = path.stat().st_size if path.is_file() else 0
    file = ImportFile.objects.create(
        job=job, name=path.name[-500:] or "folder", staged=f"{NOT_STAGED}{token}", size=size, received=size
    )
    _run(job, {file.pk: path}, parts, report)
    job.refresh_from_db()
    return job


def _run(
    job: ImportJob, paths: dict[int, Path] | None = None, parts: Collection[str] = (), report: Report | None = None
) -> None:
    plan = Plan(job, import_limits(), Beat(job), paths or {}, parts)
    if _in_words(plan, partial(_import, report=report)):
        _clean_up(job)


def _import(plan: Plan, report: Report | None) -> None:
    """1. Sweep what a killed run left. 2. Count entries, read tables. 3. Import file by file. 4. Make the first queue.
    5. Close."""
    job = plan.job
    plan.beat.now(loading=0)
    sweep_files(job)
    make_plan(plan)
    plan.beat.now(total=plan.total, columns=list(plan.columns))
    job.total = plan.total
    with ThreadPoolExecutor(REMOTE_THREADS if _is_remote(job) else THREADS) as pool:
        run = Run(job, plan.beat, plan, pool, report)
        for file in job.files.filter(is_done=False):
            _import_file(run, file)
    _start_first_queue(job.project)
    finish_job(job=job, state=JobState.DONE, error=why_nothing(job))


def _in_words(plan: Plan, work: Callable[[Plan], None]) -> bool:
    """Whatever happens ends in a state with words; only a lost claim leaves the job to its new owner, and a killed
    process leaves it to the sweep. Returns whether the job is over for good."""
    job = plan.job
    try:
        work(plan)
    except ClaimLost:
        logger.warning("%s went to another worker", job)
        return False
    except JobCancelled:
        finish_job(job=job, state=JobState.CANCELLED, error=together(told("Cancelled."), KEPT_WORDS))
    except (storage.StorageError, BucketError) as error:
        _fail(job, together(str(error), KEPT_WORDS))
        return False
    except FileNotFoundError:
        gone = told("The uploaded file is gone; upload it again.")
        finish_job(job=job, state=JobState.FAILED, error=together(gone, KEPT_WORDS))
    except Exception as error:
        logger.exception("%s failed", job)
        unforeseen = told(
            "Something went wrong that was not foreseen (%(kind)s); the worker's log has the details.",
            kind=type(error).__name__,
        )
        _fail(job, together(unforeseen, KEPT_WORDS))
        return False
    finally:
        plan.close()
    return True


def why_nothing(job: ImportJob) -> str:
    """Why an import that went through added no image; empty if it added some."""
    job.refresh_from_db(fields=["added", "duplicates", "refused", "ignored"])
    known = ntold("%(count)s is in the project already", "%(count)s are in the project already", job.duplicates)
    first = job.rejected.filter(kind=RejectedFile.Kind.REFUSED).order_by("pk").first()
    if job.added:
        return ""
    if first is None:
        if job.duplicates:
            return told("No image was added: %(known)s.", known=known)
        if job.ignored:
            return told("No image was added: there is nothing but what operating systems leave in archives in it.")
        return told("No image was added: there is nothing in it.")
    if job.duplicates:
        refused = ntold("%(count)s was refused", "%(count)s were refused", job.refused)
        return told("No image was added: %(known)s, and %(refused)s.", known=known, refused=refused)
    if job.refused == 1:
        return told("No image was added. %(name)s: %(why)s", name=first.name, why=first.reason)
    return told(
        "No image was added: each of the %(count)s files was refused. The first, %(name)s: %(why)s",
        count=job.refused, name=first.name, why=first.reason,
    )  # fmt: skip


def _fail(job: ImportJob, words: str) -> None:
    """The upload stays: trying again needs none (retry_import). Swept first: once it is closed, whoever tries again
    writes files that look the same."""
    if keep_claim(job=job):
        sweep_files(job)
        finish_job(job=job, state=JobState.FAILED, error=words)


def _is_remote(job: ImportJob) -> bool:
    return job.files.filter(kind__in=[ImportFile.Kind.ROWS, ImportFile.Kind.BUCKET]).exists()


def _import_file(run: Run, file: ImportFile) -> None:
    try:
        with opened(run.plan, file) as source:
            _import_source(run, file, source)
    except (BadArchive, BadEntry) as error:
        _reject_file(run, file, str(error))
    ImportFile.objects.filter(pk=file.pk).update(is_done=True)


def _import_source(run: Run, file: ImportFile, source: Source) -> None:
    done = file.entries_done
    share = run.job.project.learning.holdout_share
    described = map(partial(with_row, run.plan), source.entries(done))
    for entries in _runs(described, CHUNK_SIZE, BATCH_BYTES):
        loaded = _load(run, entries)
        done += len(entries)
        store_batch(job=run.job, file=file, loaded=loaded, entries_done=done, holdout_share=share, beat=run.beat,
                    last=entries[-1].name if file.kind == ImportFile.Kind.BUCKET else "")  # fmt: skip
        if run.report:
            run.report(done, run.job.total)


def _runs(entries: Iterable[Entry], most: int, most_bytes: int) -> Iterator[list[Entry]]:
    """The entries in runs; one ends with the entry that brings it to so many, or so many bytes."""
    run: list[Entry] = []
    size = 0
    for entry in entries:
        run.append(entry)
        size += entry.size
        if len(run) >= most or size >= most_bytes:
            yield run
            run, size = [], 0
    if run:
        yield run


def _load(run: Run, entries: list[Entry]) -> list[Loaded]:
    loaded: list[Loaded] = []
    futures = [run.pool.submit(_load_group, group) for group in _runs(entries, GROUP_ENTRIES, GROUP_BYTES)]
    try:
        for future in futures:
            while not wait([future], timeout=BEAT_SECONDS).done:
                run.beat(loading=len(loaded))  # a far host may take its time
            loaded += future.result()
            run.beat(loading=len(loaded))
    finally:
        for future in futures:
            future.cancel()
    return loaded


def _load_group(entries: list[Entry]) -> list[Loaded]:
    return [Loaded(entry.name, entry.label, entry.load() if entry.load else None, entry.row) for entry in entries]


def _reject_file(run: Run, file: ImportFile, reason: str) -> None:
    with transaction.atomic():
        run.beat.now(done=F("done") + 1, refused=F("refused") + 1)
        row = RejectedFile(
            job=run.job, kind=RejectedFile.Kind.REFUSED, name=printable(file.name), reason=shown_reason(reason)
        )
        name_rejected(run.job, [row])
        ImportFile.objects.filter(pk=file.pk).update(is_done=True)


def _start_first_queue(project: Project) -> None:
    from labeler.services.rounds import start_cold_round

    project.refresh_from_db()
    if project.queue_round_id is None and project.images.exists():
        start_cold_round(project=project)


def _clean_up(job: ImportJob) -> None:
    """The staged files have done their duty; files of a batch that was not finished have none."""
    sweep_files(job)
    forget_unnamed_files(job.project)
    delete_staged(job)
