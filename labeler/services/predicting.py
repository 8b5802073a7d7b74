"""What a model says of many new images: an archive in, a table out, as a job in flat memory. No torch is loaded."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import IO, Any, BinaryIO

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from labeler import clock, storage
from labeler.imaging.decode import DecodedImage, Limits, Refused, decode
from labeler.imaging.names import printable
from labeler.imaging.sources import Entry, Source, open_source
from labeler.imaging.zips import BadArchive
from labeler.models import JobState, ModelExport, Prediction, User
from labeler.selectors.served import NotServed, busy_words, pixels_of, predict_pixels
from labeler.services.asked_work import record_start
from labeler.services.derived import CannotDerive, ending_in_words
from labeler.services.exporting import ExportRefused, spreadsheet_safe
from labeler.services.import_plan import import_limits
from labeler.services.jobs import Beat, claim_job, finish_job, resume_stalled, unfinished_count
from labeler.services.serving import note_asked
from labeler.told import told
from labeler.turns import AllTaken, Turns
from labeler.wake import wake

RUN_PREDICTION = "labeler.run_prediction"
BATCH = 32
PART_BYTES = 8 * 2**20
LONGEST_REQUEST = timedelta(hours=1)  # what is not whole by then was cut off
MEASURES = (
    "predictive_entropy", "expected_entropy", "mutual_information", "variation_ratio", "mean_std", "margin",
    "least_confidence", "std_entropy",
)  # fmt: skip
ENDED = [JobState.DONE, JobState.FAILED, JobState.CANCELLED]


decoding = Turns(waiting=1, seconds=5)


def new_image_limits() -> Limits:
    """Of images that are only looked at: fewer pixels than an import takes, as web processes decode them. Of large
    JPEGs a smaller picture is made; a model sees no more of them than that."""
    limits = import_limits()
    return replace(
        limits,
        max_pixels=min(settings.PREDICT_MAX_PIXELS, limits.max_pixels),
        draft_pixels=limits.max_pixels,
    )


def decode_new(file: IO[bytes]) -> DecodedImage | Refused:
    """One at a time in a process, reading it included, so that memory does not grow with the threads. Raises
    NotServed."""
    try:
        with decoding.one():
            return decode(file.read(), new_image_limits())
    except AllTaken:
        raise NotServed(busy_words()) from None


def request_prediction(*, export: ModelExport, by: User, file_format: str, name: str, file: IO[bytes]) -> Prediction:
    """Keep the archive and have it gone through. Raises ExportRefused, storage.StorageError.

    The row comes first: what is written is named from the first byte on, and the sweep finds what a request that died
    has left.
    """
    job = _begun(export, by, file_format, name)
    offset = 0
    try:
        while part := file.read(PART_BYTES):
            storage.stage(job.staged, offset, part)
            offset += len(part)
    except BaseException:
        job.delete()
        storage.delete(job.staged)
        raise
    uploading = Prediction.objects.filter(pk=job.pk, state=JobState.UPLOADING)
    if uploading.update(state=JobState.QUEUED):
        wake(RUN_PREDICTION, job.pk)
        note_asked(export=export)
    job.refresh_from_db()
    return job


@transaction.atomic
def _begun(export: ModelExport, by: User, file_format: str, name: str) -> Prediction:
    User.objects.select_for_update(no_key=True).get(pk=by.pk)
    if unfinished_count(Prediction, by.pk) >= settings.EXPORTS_PER_USER:
        words = _("You have %(number)s unfinished archives, which is the most at once.")
        raise ExportRefused(words % {"number": settings.EXPORTS_PER_USER})
    job = Prediction.objects.create(
        project=export.project, model=export, created_by=by, format=file_format, name=printable(name)[:200],
        staged=storage.new_name(export.project, "staging", "upload", prefix="predict-"), state=JobState.UPLOADING,
    )  # fmt: skip
    record_start(job=job, by=by)
    return job


def sweep_predictions() -> int:
    """Wake workers; delete archives of jobs that were stopped before one had them; stop what was never sent whole."""
    abandoned = Q(state=JobState.UPLOADING, created_at__lt=clock.now() - LONGEST_REQUEST)
    for job in Prediction.objects.filter(Q(state__in=ENDED) | abandoned).exclude(staged=""):
        if job.state == JobState.UPLOADING:
            words = told("The archive did not arrive whole. Send it again.")
            waiting = Prediction.objects.filter(pk=job.pk, state=JobState.UPLOADING)
            if not waiting.update(state=JobState.FAILED, finished_at=clock.now(), error=words):
                continue  # it has just arrived after all
        _forget_archive(job)
    return resume_stalled(model=Prediction, task_name=RUN_PREDICTION)


def run_prediction(*, job_id: int) -> None:
    """The task: claim the job, read the archive, write the table. Killed in the middle, it begins again."""
    job = claim_job(model=Prediction, job_id=job_id)
    if job is None:
        return
    job.model = ModelExport.objects.select_related("round__project").get(pk=job.model_id)
    with ending_in_words(job):
        name = storage.new_name(job.project, "exports", job.format, prefix=f"predictions-{job.pk}-")
        run = _Run(job)
        try:
            with storage.local_path(job.staged) as path, open_source(path, job.name, new_image_limits()) as source:
                run.beat.now(done=0, total=source.total)
                size = storage.write_once(name, lambda file: run.write(file, source))
        except (BadArchive, NotServed, storage.StorageError) as error:
            raise CannotDerive(str(error)) from error
        if not finish_job(job=job, state=JobState.DONE, file=name, size=size, refused=run.refused, done=run.done):
            storage.delete(name)
    job.refresh_from_db(fields=["state", "staged"])
    if job.state in ENDED:
        _forget_archive(job)


class _Run:
    """One worker at one archive."""

    def __init__(self, job: Prediction) -> None:
        self.job, self.beat, self.refused, self.done = job, Beat(job), 0, 0
        self.asked = 0  # entries that may be images
        self.classes: list[str] = job.model.about["classes"]

    def write(self, file: BinaryIO, source: Source) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        rows = self.rows(source)
        if self.job.format == "csv":
            self._write_csv(text, rows)
        else:
            text.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        text.flush()
        text.detach()

    def _write_csv(self, text: io.TextIOWrapper, rows: Iterator[dict[str, Any]]) -> None:
        writer = csv.writer(text)
        numbered = [f"{what} {name}" for name in self.classes for what in ("mean", "std")]
        writer.writerow(map(spreadsheet_safe, ["image", "problem", "round", "class", *MEASURES, *numbered]))
        for row in rows:
            classes = row.get("classes", [])
            best = max(classes, key=lambda each: each["mean"])["name"] if classes else ""
            line = [row["image"], row.get("problem", ""), row.get("round", ""), best]
            line += [row["measures"].get(name, "") for name in MEASURES] if classes else []
            line += [each[what] for each in classes for what in ("mean", "std")]
            writer.writerow([spreadsheet_safe(value) for value in line])

    def rows(self, source: Source) -> Iterator[dict[str, Any]]:
        """A row an entry, in the order of the archive."""
        batch: list[tuple[Entry, DecodedImage | Refused]] = []
        for entry in source.entries(0):
            self.done += 1
            if entry.load is None:
                continue
            self.asked += 1
            batch.append((entry, entry.load()))
            if len(batch) == BATCH:
                yield from self._said(batch)
                batch = []
            self.beat(done=self.done)
        yield from self._said(batch)
        if not self.asked:
            raise CannotDerive(told("There is no image in the archive."))

    def _said(self, batch: Sequence[tuple[Entry, DecodedImage | Refused]]) -> Iterator[dict[str, Any]]:
        pixels = [pixels_of(self.job.model, each) for _, each in batch if isinstance(each, DecodedImage)]
        said = predict_pixels(self.job.model, pixels) if pixels else None
        at = 0
        for entry, each in batch:
            name = printable(entry.name)
            if isinstance(each, Refused) or said is None:
                self.refused += 1
                yield {"image": name, "problem": each.reason if isinstance(each, Refused) else ""}
                continue
            classes = [
                {"name": one, "mean": round(float(mean), 6), "std": round(float(std), 6)}
                for one, mean, std in zip(self.classes, said.mean[at], said.std[at], strict=True)
            ]
            measures = {key: round(float(values[at]), 6) for key, values in said.measures.items()}
            yield {"image": name, "round": self.job.model.round.number, "classes": classes, "measures": measures}
            at += 1


def _forget_archive(job: Prediction) -> None:
    if job.staged and Prediction.objects.filter(pk=job.pk, staged=job.staged).update(staged=""):
        storage.delete(job.staged)
