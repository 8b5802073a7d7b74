"""Images for pages: a window by position (never a count or a scan of the whole pool), one image, and its bytes."""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from django.db import connection
from django.db.models import Exists, OuterRef, Prefetch, Q, QuerySet
from django.db.models.fields.json import KeyTransform

from labeler.models import (
    Annotation,
    Candidate,
    Chunk,
    GoldImage,
    Image,
    ImageMetadata,
    ImageState,
    Outcome,
    Project,
    User,
)
from labeler.models.images import CHUNK_SIZE

# Written out because every picture runs it: to build it by the ORM takes several times as long as to run it.
STORED = """
SELECT k.name, i."offset", i.length, i.media_type, i.content_hash
FROM labeler_image i
JOIN labeler_project p ON p.id = i.project_id
JOIN labeler_pack k ON k.id = i.pack_id
WHERE i.id = %(image)s AND p.slug = %(slug)s
  AND (%(is_admin)s OR EXISTS (
      SELECT 1 FROM labeler_membership m
      WHERE m.project_id = p.id AND m.user_id = %(person)s AND m.deactivated_at IS NULL))
"""

PAGE = 60
RARE = {ImageState.DISPUTED, ImageState.SET_ASIDE, ImageState.BAD}
MOST_COLUMNS = 200
FILTERS = ("state", "class", "holdout", "name", "column", "value")  # as addresses have them
WINDOW = 200_000  # positions that one page of a filtered list looks at, at most


@dataclass(frozen=True)
class ImageFilter:
    """What the list is narrowed to; only these keys and values are taken from an address.

    `annotator`: the id of who looks, if that is no manager. A name is looked for in the file's own alone, not in its
    folders, and a gold image that the person has not been asked about is found among those that wait, and nowhere else.
    """

    state: str = ""
    label_id: int | None = None
    is_holdout: bool | None = None
    name: str = ""
    annotator: int | None = None
    column: str = ""  # of the metadata, with the value that it has to have
    value: str = ""

    @property
    def is_active(self) -> bool:
        return self != ImageFilter(annotator=self.annotator)


@dataclass(frozen=True)
class ImagePage:
    """`start` of the next page, `before` of the previous one, as positions; None: there is none.
    `looked_until`: a filtered page that ended at its window without being full."""

    images: list[Image]
    start: int | None
    before: int | None
    looked_until: int | None


@dataclass(frozen=True)
class StoredImage:
    pack: str
    offset: int
    length: int
    media_type: str
    content_hash: str


def filter_from(query: Mapping[str, str], *, annotator: int | None) -> ImageFilter:
    is_manager = annotator is None
    label, holdout = query.get("class", ""), query.get("holdout", "") if is_manager else ""
    column = query.get("column", "").replace("\x00", "")[:100] if is_manager else ""
    return ImageFilter(
        state=query.get("state", "") if query.get("state") in ImageState.values else "",
        label_id=int(label) if label.isascii() and label.isdecimal() and len(label) < 16 else None,
        is_holdout={"yes": True, "no": False}.get(holdout),
        name=query.get("name", "").replace("\x00", "")[:100].strip(),
        annotator=annotator,
        column=column,
        value=query.get("value", "").replace("\x00", "")[:1000].strip() if column else "",
    )


def metadata_columns(project: Project) -> list[str]:
    """What tables said of images beside their labels, over all imports, in the order in which they came."""
    lists = project.imports.exclude(columns=[]).order_by("pk").values_list("columns", flat=True)
    return list(dict.fromkeys(name for names in lists for name in names))[:MOST_COLUMNS]


def image_count(project: Project) -> int:
    """From the last chunk: positions are dense."""
    last = Chunk.objects.filter(project=project).order_by("-number").first()
    return last.number * CHUNK_SIZE + last.count if last else 0


def matching_count(project: Project, wanted: ImageFilter) -> int | None:
    """How many images fit a filter; None where the pool is too large to count them for a page."""
    return _narrowed(project, wanted).order_by().count() if image_count(project) <= WINDOW else None


def matching_images(project: Project, wanted: ImageFilter) -> QuerySet[Image]:
    return _narrowed(project, wanted)


def image_page(project: Project, wanted: ImageFilter, *, start: int = 0, before: int | None = None) -> ImagePage:
    """The images from position `start` on, or those right before `before`, in order of position."""
    images = _narrowed(project, wanted)
    if wanted.state in RARE:
        return _rare_page(images, start, before)
    if before is not None:
        low = max(0, before - WINDOW)
        rows = list(images.filter(position__lt=before, position__gte=low).order_by("-position")[: PAGE + 1])
        is_full = len(rows) > PAGE
        rows = rows[:PAGE][::-1]
        earlier = rows[0].position if is_full else low or None
        return ImagePage(rows, before, earlier, None)
    end = start + WINDOW
    rows = list(images.filter(position__gte=start, position__lt=end).order_by("position")[: PAGE + 1])
    is_full = len(rows) > PAGE
    is_cut = not is_full and end < image_count(project)
    following = rows[PAGE].position if is_full else end if is_cut else None
    return ImagePage(rows[:PAGE], following, start or None, end if is_cut else None)


def _rare_page(images: QuerySet[Image], start: int, before: int | None) -> ImagePage:
    """States that few images are in: their positions come from the index of what left the pool, whatever its size."""
    positions = sorted(images.exclude(state=ImageState.POOL).order_by().values_list("position", flat=True))
    at = bisect_left(positions, start) if before is None else max(0, bisect_left(positions, before) - PAGE)
    shown, behind = positions[at : at + PAGE], positions[at + PAGE :]
    rows = list(images.filter(position__in=shown).order_by("position"))
    return ImagePage(rows, behind[0] if behind else None, shown[0] if at and shown else None, None)


def image_with_history(project: Project, image_id: int, *, answers_of: User | None = None) -> Image | None:
    """The image with its answers (all, or one person's: what others said would sway who answers next)."""
    answers = Annotation.objects.select_related("annotator", "label_class__merged_into", "candidate__round").order_by(
        "-pk"
    )
    if answers_of is not None:
        answers = answers.filter(annotator=answers_of)
    candidates = Candidate.objects.select_related("round", "leased_to").order_by("-round__number", "slot")
    return (
        Image.objects.filter(project=project, pk=image_id)
        .select_related("label", "doubted_label", "offered", "kept_metadata")
        .prefetch_related(Prefetch("annotations", answers), Prefetch("candidates", candidates))
        .first()
    )


def untold_gold(project: Project, user: User, image_ids: Iterable[int]) -> set[int]:
    """Those of the images that are gold and that the person has not answered: to them they wait like any other."""
    of_these = _untold(project, user.pk).filter(image__in=list(image_ids))
    return set(of_these.order_by().values_list("image_id", flat=True))


def _untold(project: Project, person: int) -> QuerySet[GoldImage]:
    own = Annotation.objects.filter(image=OuterRef("image"), annotator=person, retracted_at__isnull=True)
    return GoldImage.objects.filter(~Exists(own.exclude(outcome=Outcome.UNDO)), project=project)


def neighbours(image: Image) -> tuple[int | None, int | None]:
    """The ids of the images before and behind it."""
    around = Image.objects.filter(project=image.project_id).values_list("pk", flat=True)
    return around.filter(position=image.position - 1).first(), around.filter(position=image.position + 1).first()


def stored_image(user: User, slug: str, image_id: int) -> StoredImage | None:
    """Where the image's bytes lie, if the person may see it: permission and image in one query."""
    with connection.cursor() as cursor:
        cursor.execute(STORED, {"image": image_id, "slug": slug, "person": user.pk, "is_admin": user.is_superuser})
        row = cursor.fetchone()
    return StoredImage(*row) if row else None


def _narrowed(project: Project, wanted: ImageFilter) -> QuerySet[Image]:
    where = Q(state=wanted.state) if wanted.state else Q()
    if wanted.label_id is not None:
        where &= Q(label=wanted.label_id)
    if wanted.annotator is not None and where:
        untold = Q(pk__in=_untold(project, wanted.annotator).order_by().values("image"))
        is_of_those_that_wait = wanted.state == ImageState.POOL and wanted.label_id is None
        where = where | untold if is_of_those_that_wait else where & ~untold
    if wanted.is_holdout is not None:
        where &= Q(is_holdout=wanted.is_holdout)
    if wanted.name and wanted.annotator is not None:
        where &= Q(name__iregex=re.escape(wanted.name) + "[^/]*$")
    elif wanted.name:
        where &= Q(name__icontains=wanted.name)
    if wanted.column:
        where &= _has_value(wanted.column, wanted.value)
    return Image.objects.filter(where, project=project).select_related("label")


def _has_value(column: str, text: str) -> Q:
    """Whether the column says what is written so: as text, a number or truth; without a text, whether it says anything.

    There is no index of values: a page looks at a window of positions, as it does for names."""
    if not text:
        return Q(kept_metadata__values__has_key=column)
    same: list[object] = [text]
    with suppress(ValueError):
        same.append(int(text) if len(text) < 20 else text)
    with suppress(ValueError):
        number = float(text)
        same += [number] if math.isfinite(number) else []
    same += [{"true": True, "false": False}[text.lower()]] if text.lower() in ("true", "false") else []
    held = KeyTransform(column, "values")
    found = ImageMetadata.objects.filter(image=OuterRef("pk")).annotate(held=held)
    return Q(Exists(found.filter(held__in=same)))
