"""A batch of decoded entries becomes files, then rows.

Files first: one pack of what browsers get, and the pixel files of the chunks that grow. Then all rows in one
transaction, with the entries counted as done. Killed before it, nothing happened but a file that nobody refers to
(swept by its name, which carries the job); killed after it, the import goes on at the next entry: no doubles, no gaps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from django.db import transaction
from django.db.models import F

from labeler import storage
from labeler.imaging.decode import DecodedImage, Pixels, Refused
from labeler.imaging.names import printable
from labeler.imaging.pixels import PixelFormat, choose_format, kind_of, to_pixels
from labeler.models import Chunk, Image, ImportFile, ImportJob, Pack, Project, RejectedFile, Round
from labeler.models.images import CHUNK_SIZE
from labeler.models.jobs import COUNTERS, MOST_NAMED
from labeler.models.rounds import UNFINISHED
from labeler.services.jobs import Beat
from labeler.services.leftovers import mark_replaced
from labeler.services.offered_rows import add_offered
from labeler.tables.row import Row
from labeler.told import Told, told

TRIES = 50  # two imports into one project: each time one of them wins


class StalePlan(Exception):
    """Another import was faster: the positions are taken, plan again."""


@dataclass(frozen=True)
class Loaded:
    """An entry after decoding. `result` is None for litter."""

    name: str
    label: str
    result: DecodedImage | Refused | None
    row: Row | None = None  # what a table says of it


@dataclass
class Fresh:
    name: str
    label: str
    image: DecodedImage
    draw: float  # from 0 to 1, by chance
    is_holdout: bool
    row: Row | None = None
    offset: int = 0  # in the pack


@dataclass
class Batch:
    """What came of the entries of a batch, before the database has its say about duplicates."""

    job: ImportJob
    file: ImportFile
    entries_done: int
    last: str = ""
    fresh: list[Fresh] = field(default_factory=list)
    rejected: list[RejectedFile] = field(default_factory=list)
    ignored: int = 0


@dataclass(frozen=True)
class ChunkFile:
    number: int
    count: int
    count_before: int
    name: str
    name_before: str


def store_batch(
    *,
    job: ImportJob,
    file: ImportFile,
    loaded: Sequence[Loaded],
    entries_done: int,
    holdout_share: float,
    beat: Beat,
    last: str = "",
) -> None:
    """Write the files of a batch and its rows. Raises StorageFull, JobStopped."""
    batch = Batch(job, file, entries_done, last)
    _sort(batch, loaded, holdout_share)
    existing = _names_of_existing(job.project_id, batch.fresh)
    _drop_duplicates(batch, existing)
    pack_name, size = _write_pack(job, batch.fresh)
    for _ in range(TRIES):
        beat()
        try:
            _store(batch, pack_name, size, beat)
        except StalePlan:
            continue
        return
    raise RuntimeError(f"{job} could not get a word in: another import is writing without pause")


def sweep_files(job: ImportJob) -> int:
    """Delete the files that a killed run of this job left without a row. Only its owner may call this."""
    folder = storage.project_folder(job.project)
    packs = set(storage.names_in(f"{folder}/packs")) - set(job.project.packs.values_list("name", flat=True))
    pixels = set(storage.names_in(f"{folder}/pixels")) - set(job.project.chunks.values_list("pixels", flat=True))
    return _forget_own(job, packs) + _forget_own(job, pixels)


def _forget_own(job: ImportJob, names: Iterable[str]) -> int:
    """Delete what this job wrote and replaced itself: of a chunk that grows batch by batch there are many versions.

    What stood there before is left to services/leftovers.py, for backups; and a round that began meanwhile reads on.
    Kept for a day like that, the versions of one chunk of large photographs would take several GB.
    """
    own = {name for name in names if name.rpartition("/")[2].startswith(f"{job.pk}-")}
    if own and Round.objects.filter(project=job.project, state__in=UNFINISHED).exists():
        return 0
    for name in own:
        storage.delete(name)
    return len(own)


def _sort(batch: Batch, loaded: Sequence[Loaded], holdout_share: float) -> None:
    """Refused, litter, doubles within the batch; the rest is fresh, and drawn into the holdout or not."""
    draws = np.random.default_rng([batch.job.pk, batch.file.pk, batch.entries_done]).random(len(loaded))
    seen: dict[str, str] = {}
    for entry, draw in zip(loaded, draws, strict=True):
        if entry.result is None:
            batch.ignored += 1
        elif isinstance(entry.result, Refused):
            batch.rejected.append(_rejected(batch.job, entry.name, RejectedFile.Kind.REFUSED, entry.result.reason))
        elif entry.result.content_hash in seen:
            _reject_duplicate(batch, entry.name, seen[entry.result.content_hash])
        else:
            seen[entry.result.content_hash] = entry.name
            is_holdout = bool(draw < holdout_share)
            batch.fresh.append(Fresh(entry.name, entry.label, entry.result, float(draw), is_holdout, entry.row))


def _names_of_existing(project_id: int, fresh: Sequence[Fresh]) -> dict[str, str]:
    hashes = [item.image.content_hash for item in fresh]
    return dict(
        Image.objects.filter(project=project_id, content_hash__in=hashes).values_list("content_hash", "name").order_by()
    )


def _drop_duplicates(batch: Batch, existing: dict[str, str]) -> None:
    """The pack's offsets stay: bytes of a double that was found late lie in it unused."""
    for item in batch.fresh:
        if item.image.content_hash in existing:
            _reject_duplicate(batch, item.name, existing[item.image.content_hash])
    batch.fresh = [item for item in batch.fresh if item.image.content_hash not in existing]


def _leave_one_to_learn_from(project: Project, fresh: Sequence[Fresh]) -> None:
    """A holdout of all images measures a model that can never be: the image that was drawn last for it stays out."""
    if fresh and all(item.is_holdout for item in fresh) and not project.images.filter(is_holdout=False).exists():
        max(fresh, key=lambda item: item.draw).is_holdout = False


def _write_pack(job: ImportJob, fresh: list[Fresh]) -> tuple[str, int]:
    if not fresh:
        return "", 0
    offset = 0
    for item in fresh:
        item.offset = offset
        offset += len(item.image.data)
    name = storage.new_name(job.project, "packs", "pack", prefix=f"{job.pk}-")
    return name, storage.write_once(name, lambda file: file.writelines(item.image.data for item in fresh))


def _store(batch: Batch, pack_name: str, size: int, beat: Beat) -> None:
    project = Project.objects.get(pk=batch.job.project_id)
    last = project.chunks.order_by("-number").first()
    start = _end(last)
    # Images that another import added since were added behind `start`: the commit sees that and plans again.
    _drop_duplicates(batch, _names_of_existing(project.pk, batch.fresh))
    _leave_one_to_learn_from(project, batch.fresh)
    form = _format(project, batch.fresh)
    files = list(_write_chunks(batch, last, form)) if form else []
    try:
        mark_replaced(file.name_before for file in files if file.name_before)
        with transaction.atomic():
            _commit(batch, pack_name, size, start, form, files, beat)
    except BaseException:
        for file in files:
            storage.delete(file.name)
        raise
    _forget_own(batch.job, [file.name_before for file in files if file.name_before])


def _format(project: Project, fresh: Sequence[Fresh]) -> PixelFormat | None:
    if project.pixel_side and project.pixel_channels:
        return PixelFormat(project.pixel_side, project.pixel_channels)
    return choose_format([item.image for item in fresh]) if fresh else None


def _write_chunks(batch: Batch, last: Chunk | None, form: PixelFormat) -> Iterator[ChunkFile]:
    """A new file for each chunk that grows: what it had, then the new images."""
    start, done = _end(last), 0
    while done < len(batch.fresh):
        number, before = divmod(start + done, CHUNK_SIZE)
        items = batch.fresh[done : done + CHUNK_SIZE - before]
        pixels = np.empty((before + len(items), form.channels, form.side, form.side), dtype=np.uint8)
        grown = last if before else None
        if grown is not None:
            pixels[:before] = _read_pixels(grown)
        for index, item in enumerate(items, start=before):
            pixels[index] = to_pixels(item.image.small, form)
        name = storage.new_name(batch.job.project, "pixels", "npy", prefix=f"{batch.job.pk}-{number}-")
        _write_array(name, pixels)
        yield ChunkFile(number, len(pixels), before, name, grown.pixels if grown is not None else "")
        done += len(items)


def _commit(
    batch: Batch,
    pack_name: str,
    size: int,
    start: int,
    form: PixelFormat | None,
    files: Sequence[ChunkFile],
    beat: Beat,
) -> None:
    """All rows of the batch, in the caller's transaction; the claim is checked first, the positions under the lock."""
    refused, unlabelled = sum(row.kind == RejectedFile.Kind.REFUSED for row in batch.rejected), _unlabelled(batch)
    entries = len(batch.fresh) + len(batch.rejected) + batch.ignored
    has_labels = any(item.label or (item.row and item.row.answers) for item in batch.fresh)
    fields = {"has_offered_labels": True} if has_labels else {}
    beat.now(
        done=F("done") + entries,
        loading=0,
        added=F("added") + len(batch.fresh),
        refused=F("refused") + refused,
        duplicates=F("duplicates") + len(batch.rejected) - refused,
        unlabelled=F("unlabelled") + len(unlabelled),
        ignored=F("ignored") + batch.ignored,
        **fields,
    )
    # No key of it changes: answers, which refer to the project, do not wait for this lock.
    project = Project.objects.select_for_update(no_key=True).get(pk=batch.job.project_id)
    if batch.fresh:
        _check_plan(project, start, form)
        _count_kinds(project, batch.fresh)
        _add_images(batch, project, Pack.objects.create(project=project, name=pack_name, size=size), start)
        for file in files:
            Chunk.objects.update_or_create(
                project=project, number=file.number, defaults={"count": file.count, "pixels": file.name}
            )
    name_rejected(batch.job, [*batch.rejected, *unlabelled])
    ImportFile.objects.filter(pk=batch.file.pk).update(entries_done=batch.entries_done, last=batch.last)


def _check_plan(project: Project, start: int, form: PixelFormat | None) -> None:
    if _end(project.chunks.order_by("-number").first()) != start or form is None:
        raise StalePlan
    if project.pixel_side is None:
        project.pixel_side, project.pixel_channels = form.side, form.channels
        project.save(update_fields=["pixel_side", "pixel_channels"])
    elif (project.pixel_side, project.pixel_channels) != (form.side, form.channels):
        raise StalePlan


def _count_kinds(project: Project, fresh: Sequence[Fresh]) -> None:
    """The project is locked, and was read under the lock."""
    kinds = Counter(f"{kind_of(item.image)}_images" for item in fresh)
    for name, count in kinds.items():
        setattr(project, name, getattr(project, name) + count)
    project.save(update_fields=list(kinds))


def _add_images(batch: Batch, project: Project, pack: Pack, start: int) -> None:
    rows = [
        Image(
            project=project,
            position=position,
            content_hash=item.image.content_hash,
            name=item.name,
            width=item.image.width,
            height=item.image.height,
            pack=pack,
            offset=item.offset,
            length=len(item.image.data),
            media_type=item.image.media_type,
            is_holdout=item.is_holdout,
        )
        for position, item in enumerate(batch.fresh, start=start)
    ]
    images = Image.objects.bulk_create(rows, batch_size=1000)
    add_offered(
        project=project,
        images=images,
        labels=[item.label for item in batch.fresh],
        rows=[item.row for item in batch.fresh],
    )


def name_rejected(job: ImportJob, rows: Sequence[RejectedFile]) -> None:
    """Keeps as many of them as there is room for beside those that the import has named. They are counted already, in
    the same transaction."""
    if not rows:
        return
    counted = ImportJob.objects.values(*COUNTERS.values()).get(pk=job.pk)
    kept: list[RejectedFile] = []
    for kind, counter in COUNTERS.items():
        of_kind = [row for row in rows if row.kind == kind]
        kept += of_kind[: max(0, MOST_NAMED[kind] - (counted[counter] - len(of_kind)))]
    RejectedFile.objects.bulk_create(kept, batch_size=1000)


def _unlabelled(batch: Batch) -> list[RejectedFile]:
    """What has to be said of images that are in: why no label of theirs is offered."""
    kind = RejectedFile.Kind.UNLABELLED
    return [_rejected(batch.job, item.name, kind, item.row.note) for item in batch.fresh if item.row and item.row.note]


def _end(last: Chunk | None) -> int:
    return last.number * CHUNK_SIZE + last.count if last else 0


def _read_pixels(chunk: Chunk) -> Pixels:
    try:
        with storage.local_path(chunk.pixels) as path:
            pixels: Pixels = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        if not Chunk.objects.filter(pk=chunk.pk, pixels=chunk.pixels).exists():
            raise StalePlan from None  # another import replaced its own file since the plan was made
        raise storage.StorageError(
            told("The pixels of chunk %(number)s are missing in the storage.", number=str(chunk.number))
        ) from error
    return pixels


def _write_array(name: str, array: Pixels) -> None:
    storage.write_once(name, lambda file: np.save(file, array, allow_pickle=False))


def _reject_duplicate(batch: Batch, name: str, other: str) -> None:
    reason = told("The same picture as %(name)s.", name=printable(other)[-200:])
    batch.rejected.append(_rejected(batch.job, name, RejectedFile.Kind.DUPLICATE, reason))


def _rejected(job: ImportJob, name: str, kind: RejectedFile.Kind, reason: str) -> RejectedFile:
    return RejectedFile(job=job, kind=kind, name=printable(name)[:1000], reason=shown_reason(reason))


def shown_reason(reason: str) -> str:
    """Without what databases and terminals choke on."""
    return reason.with_texts(printable) if isinstance(reason, Told) else printable(reason)[:300]
