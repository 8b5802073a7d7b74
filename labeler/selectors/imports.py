"""Imports for pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Count, Exists, OuterRef, Sum
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from labeler import clock
from labeler.imaging.pixels import LARGEST_SMALL
from labeler.models import (
    Annotation,
    ImageState,
    ImportJob,
    JobState,
    OfferedAnswer,
    OfferedLabel,
    Outcome,
    Project,
    RejectedFile,
    User,
)
from labeler.numerals import numeral
from labeler.selectors.offered import answers_waiting
from labeler.selectors.workers import Missing, missing_workers
from labeler.told import from_kept

REJECTED_PAGE = 50
CLASSES_SHOWN = 200
PEOPLE_SHOWN = 1000
MOST_TABLES = 20  # whose columns are chosen on the page


@dataclass(frozen=True)
class ImportProgress:
    job: ImportJob
    done: int  # entries that were read, stored or not
    bytes_received: int
    bytes_total: int
    rate: float | None  # entries a second
    seconds_left: float | None
    missing_workers: Sequence[Missing]

    @property
    def is_unfinished(self) -> bool:
        return self.job.state in (JobState.UPLOADING, JobState.QUEUED, JobState.RUNNING) and not self.job.is_ready

    @property
    def lost_pixels(self) -> str:
        return lost_pixels(self.job.project)


@dataclass(frozen=True)
class Preview:
    """What a look found, see services/import_look.py. `read` images were opened; what became of them is a sample."""

    entries: int
    is_cut: bool
    looked_at: int
    read: int
    new: int
    known: int
    refused: int
    labels: Sequence[tuple[str, int]]
    label_count: int
    people: Sequence[str]
    columns: Sequence[str]
    tables: Sequence[Mapping[str, object]]
    refusals: Sequence[tuple[str, str]]
    notes: Sequence[tuple[str, str]]

    @property
    def choosable(self) -> Sequence[Mapping[str, object]]:
        """Tables whose columns somebody may choose."""
        return [table for table in self.tables if table.get("names")][:MOST_TABLES]


@dataclass(frozen=True)
class Offer:
    """What the labels that came with the images could become. `takeable` is how many would become answers now;
    `has_classes`: the project has some, and none of them is one of the new ones."""

    names: list[tuple[str, int]]
    new_names: list[str]
    takeable: int
    has_classes: bool
    people: Sequence[tuple[str, int]] = ()  # who answered elsewhere, and how many answers would be taken as theirs

    @property
    def answers_of_people(self) -> int:
        return sum(count for _, count in self.people)


def import_progress(job: ImportJob) -> ImportProgress:
    sums = job.files.aggregate(received=Sum("received"), size=Sum("size"))
    rate = left = None
    done = min(job.done + job.loading, job.total)
    if job.state == JobState.RUNNING and job.started_at and done:
        seconds = (clock.now() - job.started_at).total_seconds()
        rate = done / max(seconds, 0.001)
        left = max(0, job.total - done) / rate
    missing = missing_workers(["imports"]) if job.state == JobState.QUEUED else []
    return ImportProgress(job, done, sums["received"] or 0, sums["size"] or 0, rate, left, missing)


def preview_of(job: ImportJob) -> Preview | None:
    """What was found in an import that waits to be started."""
    if not job.is_ready or not job.found:
        return None
    sentences = {of: [(name, from_kept(why)) for name, why in job.found[of]] for of in ("refusals", "notes")}
    return Preview(**job.found | sentences)


def lost_pixels(project: Project) -> str:
    """What a network on pixels does not get to see of images that are unlike the first ones, in a sentence; empty if
    nothing is lost that is worth one. The first import decides on the format for good."""
    side, channels = project.pixel_side, project.pixel_channels
    if side is None:
        return ""
    parts = []
    if channels == 1 and (colour := project.small_colour_images + project.large_colour_images):
        words = ngettext("%(images)s image without colour", "%(images)s images without colour", colour)
        parts.append(words % {"images": numeral(colour)})
    if side <= LARGEST_SMALL and (large := project.large_grey_images + project.large_colour_images):
        words = ngettext(
            "%(images)s image of more than %(most)s pixels brought to %(side)s × %(side)s",
            "%(images)s images of more than %(most)s pixels brought to %(side)s × %(side)s",
            large,
        )
        parts.append(words % {"images": numeral(large), "most": LARGEST_SMALL, "side": side})
    if not parts:
        return ""
    kind = _("grey, %(side)s × %(side)s pixels") if channels == 1 else _("colour, %(side)s × %(side)s pixels")
    words = _(
        "A network on pixels sees all images of a project in the format of the first import (%(kind)s): %(parts)s. "
        "Features are made of the whole pictures."
    )
    return words % {"kind": kind % {"side": side}, "parts": ", ".join(parts)}


def rejected_page(job: ImportJob, *, kind: str = "", after: int = 0) -> tuple[list[RejectedFile], int | None]:
    """A page of files that did not become images, and the id to go on from."""
    rows = job.rejected.filter(pk__gt=after).order_by("pk")
    if kind in RejectedFile.Kind.values:
        rows = rows.filter(kind=kind)
    page = list(rows[: REJECTED_PAGE + 1])
    return page[:REJECTED_PAGE], page[REJECTED_PAGE - 1].pk if len(page) > REJECTED_PAGE else None


def rejected_rows(job: ImportJob) -> Iterator[tuple[str, str, str]]:
    return job.rejected.order_by("pk").values_list("name", "kind", "reason").iterator(chunk_size=2000)


def offer_of(project: Project, user: User) -> Offer | None:
    offered = OfferedLabel.objects.filter(image__project=project)
    counted = offered.values_list("class_name").annotate(count=Count("pk")).order_by("class_name")
    names = list(counted[: CLASSES_SHOWN + 1])
    answers = OfferedAnswer.objects.filter(person__project=project).exclude(class_name="")
    known = {name for name, _ in names}
    given = answers.values_list("class_name").annotate(count=Count("pk")).order_by("class_name")
    names += [(name, count) for name, count in given[: CLASSES_SHOWN + 1] if name not in known]
    if not names:
        return None
    rows = project.classes.select_related("merged_into")
    classes = {row.name.casefold(): row.meaning.is_archived for row in rows}
    usable = [name for name, _ in names if classes.get(name.casefold()) is False]
    answered = Annotation.objects.filter(image=OuterRef("image"), annotator=user, retracted_at__isnull=True).exclude(
        outcome=Outcome.UNDO
    )
    open_ones = offered.filter(image__state=ImageState.POOL, class_name__in=usable).filter(~Exists(answered))
    return Offer(
        names=names,
        new_names=sorted({name.casefold(): name for name, _ in names if name.casefold() not in classes}.values()),
        takeable=open_ones.count() if usable else 0,
        has_classes=bool(classes) and not usable,
        people=_people(project, usable),
    )


def _people(project: Project, usable: Sequence[str]) -> list[tuple[str, int]]:
    waiting = answers_waiting(project).filter(class_name__in=["", *usable]).values_list("person__name")
    return list(waiting.annotate(count=Count("pk")).order_by("person__name")[:PEOPLE_SHOWN])
