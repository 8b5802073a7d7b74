"""A page of tiles accepted at once, the draw of those that are looked at singly, and the undo of the whole page.

Locks are taken as answers take them: class, places, images, the queue last. The project comes first, as for publishing:
pages of one project are accepted one after another.
"""

from __future__ import annotations

import logging
import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

from django.core.cache import cache
from django.db.models import Q
from django.utils.translation import gettext as _
from redis.exceptions import RedisError

from labeler import clock
from labeler.models import (
    Annotation,
    AuditKind,
    Candidate,
    CandidateState,
    GridCheck,
    GridPage,
    Image,
    LabelClass,
    Outcome,
    Project,
    Reason,
    Round,
    Shown,
    User,
)
from labeler.selectors.grid import TILES, open_images, shown_key, why_no_grid
from labeler.services import audit
from labeler.services.consensus import settle_first_labels
from labeler.services.named_classes import hold_class
from labeler.services.races import again_if_raced, lock_queue, not_in_work
from labeler.services.settling import settle_images
from labeler.told import Told, ntold, together, told

logger = logging.getLogger(__name__)

CHECK_SHARE, LEAST_CHECKS = 0.1, 2  # of each page, rounded up
CHECK_SLOT = 1000  # slots from here on are of checks, beside the ranks of a round
SHOWN_SECONDS = 600  # so long a page that was opened is taken to be looked at
_chance = random.SystemRandom()  # nobody can tell beforehand which tile is checked


class GridRefused(Exception):
    """Why, in words for people."""


@dataclass(frozen=True)
class Tiles:
    """What somebody said of a page, see `accept_page`."""

    class_id: int
    round_id: int
    accepted: Sequence[int]
    corrected: Mapping[int, int]
    left_out: Sequence[int]
    key: UUID


@dataclass(frozen=True)
class Accepted:
    page: GridPage
    accepted: int
    corrected: int
    checks: int
    missed: int  # held or answered by somebody else meanwhile

    @property
    def words(self) -> Told:
        taken_out = len(self.page.left_out)
        sentences = [
            (1, ntold(
                "%(count)s tile accepted as “%(name)s”.", "%(count)s tiles accepted as “%(name)s”.", self.accepted,
                name=self.page.label_class,
            )),
            (self.corrected, ntold(
                "%(count)s tile given another class.", "%(count)s tiles given another class.", self.corrected
            )),
            (taken_out, ntold(
                "%(count)s tile taken out: the queue asks about it.",
                "%(count)s tiles taken out: the queue asks about them.",
                taken_out,
            )),
            (self.missed, ntold(
                "%(count)s tile left out: somebody else has or had it meanwhile.",
                "%(count)s tiles left out: somebody else has or had them meanwhile.",
                self.missed,
            )),
            (self.checks, told("%(count)s of them will be looked at singly.", count=self.checks)),
        ]  # fmt: skip
        return together(*(words for number, words in sentences if number))


def accept_page(
    *,
    project: Project,
    by: User,
    class_id: int,
    round_id: int,
    accepted: Sequence[int],
    corrected: Mapping[int, int],
    left_out: Sequence[int],
    key: UUID,
) -> Accepted:
    """Keep the answers of a page. The same key again returns what the first did.

    Args:
        accepted: Ids of the images that are all of the class.
        corrected: Class ids by image id, of tiles that are something else. Who says so has looked at the one image.
        left_out: Ids of images that get no answer here.
        round_id: The round by which the page was sorted.

    Raises:
        GridRefused: In words, for a class that is not offered any more or a project that asks several people.
        ValidationError: For a class of another project.
    """
    tiles = Tiles(class_id, round_id, accepted, corrected, left_out, key)
    shown = [*accepted, *corrected, *left_out]
    if not shown or len(shown) > TILES or len(set(shown)) < len(shown):
        raise GridRefused(_("A page has 1 to %(most)s tiles, each once. Nothing was saved.") % {"most": TILES})
    if words := why_no_grid(project):
        raise GridRefused(words)
    return again_if_raced(lambda: _accept(project, by, tiles))


def remember_shown(*, project: Project, person: User, image_ids: Sequence[int]) -> None:
    """That the person has this page open, instead of the former one: others are shown its tiles last for a while.

    With the cache in memory (no REDIS_URL) each web process knows of its own pages alone. Without its Redis people may
    get the same tiles, as two who open the page in the same moment do: whoever accepts first labels them."""
    try:
        cache.set(shown_key(project, person.pk), list(image_ids), timeout=SHOWN_SECONDS)
    except RedisError as error:
        logger.warning("What the grid has shown is not remembered: %s", error)


def undo_page(*, project: Project, by: User, page_id: int) -> int:
    """Take back all answers of an own page that nobody has touched since. Returns how many; undoing twice is harmless.

    Raises GridRefused if there is no such page.
    """

    return again_if_raced(lambda: _undo(project, by, page_id))


def _undo(project: Project, by: User, page_id: int) -> int:
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    page = GridPage.objects.select_for_update(no_key=True).filter(pk=page_id, project=project, by=by).first()
    if page is None:
        raise GridRefused(_("There is no such page of yours. Nothing was changed."))
    if page.undone_at is not None:
        return 0
    answers, now = _untouched(page), clock.now()
    images = [row.image_id for row in answers]
    Annotation.objects.filter(pk__in=[row.pk for row in answers]).update(retracted_at=now)
    Annotation.objects.bulk_create(
        Annotation(
            project=project, annotator=by, image_id=row.image_id, outcome=Outcome.UNDO, retracts=row,
            key=uuid5(page.key, f"undo {row.image_id}"), grid_page=page,
        )
        for row in answers
    )  # fmt: skip
    GridCheck.objects.filter(accepted__in=answers).delete()
    checks = Candidate.objects.filter(image__in=images, state=CandidateState.OPEN, reason=Reason.GRID_CHECK)
    not_in_work(checks.filter(leased_to__isnull=True)).update(state=CandidateState.SUPERSEDED)
    settle_images(project=project, image_ids=images)
    GridPage.objects.filter(pk=page.pk).update(undone_at=now)
    words = ntold(
        "took a page of the grid back: %(count)s answer",
        "took a page of the grid back: %(count)s answers",
        len(answers),
    )
    audit.record(project=project, by=by, kind=AuditKind.GRID, words=words, page=page.pk)
    return len(answers)


def _accept(project: Project, by: User, tiles: Tiles) -> Accepted:
    given = [*tiles.accepted, *tiles.corrected]
    sent_before = GridPage.objects.filter(by=by, key=tiles.key).select_related("label_class").first()
    if sent_before is not None:
        return _again(sent_before, len(given) + len(tiles.left_out))
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    label_class = _held_class(project, by, tiles.class_id)
    for other in sorted(set(tiles.corrected.values())):
        _held_class(project, by, other)
    free = _free_images(project, given)
    here = set(Image.objects.filter(project=project, pk__in=tiles.left_out).values_list("pk", flat=True))
    page = GridPage.objects.create(
        project=project,
        by=by,
        label_class=label_class,
        round=Round.objects.filter(pk=tiles.round_id, project=project).first(),
        key=tiles.key,
        left_out=[pk for pk in tiles.left_out if pk in here],
    )
    together = {pk for pk in tiles.accepted if pk in free}
    said = dict.fromkeys(together, tiles.class_id) | {pk: to for pk, to in tiles.corrected.items() if pk in free}
    _save(page, said, together=together)
    checks = _draw_checks(page)
    result = Accepted(page, len(together), len(said) - len(together), checks, len(given) - len(said))
    audit.record(
        project=project, by=by, kind=AuditKind.GRID, words=told("grid: %(what)s", what=result.words), page=page.pk
    )
    return result


def _again(page: GridPage, tiles: int) -> Accepted:
    answers = Annotation.objects.filter(grid_page=page).exclude(outcome=Outcome.UNDO)
    together = answers.filter(is_grid=True).count()
    corrected = answers.filter(is_grid=False).count()
    missed = tiles - together - corrected - len(page.left_out)
    return Accepted(page, together, corrected, page.checks.count(), max(0, missed))


def _held_class(project: Project, by: User, class_id: int) -> LabelClass:
    """Until the transaction ends it means what it means now."""
    answer = Annotation(project=project, annotator=by, outcome=Outcome.LABEL, label_class_id=class_id)
    is_there = hold_class(answer)
    if not is_there or answer.label_class is None or answer.label_class.is_archived:
        raise GridRefused(_("That class is not offered any more. Nothing was saved."))
    return answer.label_class


def _free_images(project: Project, image_ids: Sequence[int]) -> set[int]:
    """Those that still wait and are nobody's; locked, so that they stay so until the transaction ends.

    Their open places are locked before them, as answers do. One that somebody is just taking, answering or giving back
    is passed over. Who undid an answer meanwhile may hold its image again: it is looked at once more in the end.
    """
    places = Candidate.objects.filter(project=project, image__in=image_ids, state=CandidateState.OPEN)
    there = dict(places.values_list("pk", "image_id"))
    for pk in list(not_in_work(places).values_list("pk", flat=True)):
        there.pop(pk, None)
    wanted = set(image_ids) - set(there.values())
    locked = Image.objects.select_for_update(no_key=True).filter(project=project, pk__in=wanted).order_by("pk")
    ids = list(locked.values_list("pk", flat=True))
    return set(open_images(project).filter(pk__in=ids).values_list("pk", flat=True))


def _save(page: GridPage, said: Mapping[int, int], *, together: set[int]) -> None:
    Annotation.objects.bulk_create(
        Annotation(
            project_id=page.project_id, annotator_id=page.by_id, image_id=image_id, outcome=Outcome.LABEL,
            label_class_id=label_id, key=uuid5(page.key, str(image_id)), grid_page=page, is_grid=image_id in together,
            suggestion=Shown.BEFORE,
        )
        for image_id, label_id in said.items()
    )  # fmt: skip
    by_class: dict[int, list[int]] = defaultdict(list)
    for image_id, label_id in said.items():
        by_class[label_id].append(image_id)
    for label_id, images in by_class.items():
        settle_first_labels(images, label_id)


def _draw_checks(page: GridPage) -> int:
    """Some of the accepted tiles, at random, each with a place somewhere in what is left of the queue."""
    answers = list(page.answers.filter(is_grid=True))
    count = min(len(answers), max(LEAST_CHECKS, math.ceil(CHECK_SHARE * len(answers))))
    drawn = _chance.sample(answers, count)
    GridCheck.objects.bulk_create(
        GridCheck(project_id=page.project_id, page=page, image_id=row.image_id, accepted=row) for row in drawn
    )
    queue = Project.objects.values_list("queue_round", flat=True).get(pk=page.project_id)
    if queue is not None:
        lock_queue(page.project_id)
        places = Candidate.objects.filter(round=queue)
        ranks = list(places.filter(state=CandidateState.OPEN).order_by().values_list("rank", flat=True).distinct())
        slot = CHECK_SLOT + places.filter(slot__gte=CHECK_SLOT).count()
        Candidate.objects.bulk_create(
            Candidate(
                project_id=page.project_id, round_id=queue, image_id=row.image_id, reason=Reason.GRID_CHECK,
                rank=_chance.choice(ranks or [1]), slot=slot + number,
            )
            for number, row in enumerate(drawn)
        )  # fmt: skip
    return count


def _untouched(page: GridPage) -> list[Annotation]:
    """Live answers of the page on images that nobody has answered otherwise or called gold; the images are locked."""
    live = Annotation.objects.filter(grid_page=page, retracted_at__isnull=True).exclude(outcome=Outcome.UNDO)
    ids = list(live.values_list("image_id", flat=True))
    locked = Image.objects.select_for_update(of=("self",), no_key=True).filter(pk__in=ids, gold__isnull=True)
    images = set(locked.order_by("pk").values_list("pk", flat=True))
    others = Annotation.objects.filter(image__in=images, retracted_at__isnull=True).exclude(outcome=Outcome.UNDO)
    touched = set(others.filter(~Q(grid_page=page) | Q(grid_page__isnull=True)).values_list("image_id", flat=True))
    return [row for row in live.order_by("image_id") if row.image_id in images - touched]
