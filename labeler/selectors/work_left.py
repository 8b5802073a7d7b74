"""What is left to answer, and what becomes of it: one rule, by which the Label page, the Monitor and notices speak."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.db.models import Count, Exists, OuterRef, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from labeler.models import Annotation, Candidate, CandidateState, ImageState, LabelClass, Outcome, Project, Round
from labeler.models.rounds import NOT_OF_THE_POOL, UNFINISHED
from labeler.numerals import numeral
from labeler.selectors.disputes import (
    NOBODY,
    NOBODY_AWAY,
    Again,
    Away,
    active_people,
    again_of,
    answered_by,
    asks_again,
    away_of,
    not_there,
    still_open,
)
from labeler.selectors.pool import PoolCounts, holdout_to_ask, images_to_ask, pool_counts


class Stage(StrEnum):
    """In the order in which somebody can do something about it."""

    PAUSED = "paused"
    NO_IMAGES = "no_images"
    NO_CLASSES = "no_classes"
    MAKING = "making"  # a round is choosing what to ask
    QUEUED = "queued"
    OTHERS = "others"  # as QUEUED, where whoever answers here has answered all of it
    COMING = "coming"  # nothing is queued, and the sweep makes the next queue
    BY_HAND = "by_hand"  # as COMING, where only a person or a schedule starts rounds
    AGAIN = "again"  # all have been asked about; disputed ones, or labels in doubt, are asked of another person
    DISPUTED = "disputed"  # all have been asked about; people disagree, and a manager has to decide
    DONE = "done"


NAMED = 5  # of people, in a sentence
ENDED = (Stage.DISPUTED, Stage.DONE)  # nobody has anything to answer until somebody does something


@dataclass(frozen=True)
class WorkLeft:
    """`again`: what somebody can still be asked about though all has its answers, `away`: who else would be asked about
    what is left, if they came. `target`: holdout answers wanted.
    `asks_again`: whether the settings have disputed images that are no holdout asked about again."""

    stage: Stage
    counts: PoolCounts
    target: int
    again: Again = NOBODY
    away: Away = NOBODY_AWAY
    asks_again: bool = True
    round_number: int | None = None
    for_others: int = 0  # images that wait for an answer of somebody else

    @property
    def rest(self) -> int:
        """Holdout images past the target, where no other image waits: people are asked about these last of all."""
        waiting = self.counts.holdout_waiting
        past = self.counts.holdout_labelled + waiting - self.target
        return max(0, min(waiting, past)) if not self.counts.eligible else 0

    @property
    def to_settle(self) -> int:
        """Images that people disagree about and that only a manager's word can settle."""
        return self.disputed - self.again.disputed

    @property
    def disputed(self) -> int:
        return self.counts.disputed + self.counts.holdout_disputed

    @property
    def set_aside(self) -> int:
        return self.counts.set_aside + self.counts.holdout_set_aside

    @property
    def facts(self) -> dict[str, Any]:
        """What a notice keeps, to be worded in each reader's language; empty where there is nothing to tell."""
        is_rest = self.rest and self.stage in (Stage.MAKING, Stage.QUEUED, Stage.COMING)
        worded = (*ENDED, Stage.AGAIN, Stage.BY_HAND, Stage.OTHERS)
        told = "rest" if is_rest else str(self.stage) if self.stage in worded else ""
        if not told:
            return {}
        return {
            "told": told,
            "images": self.counts.total if self.stage != Stage.OTHERS else self.for_others,
            "rest": self.rest,
            "target": self.target,
            "again": self.again.disputed,
            "others": self.again.others,
            "to_settle": self.to_settle if self.is_all_asked else 0,
            "asks_again": self.asks_again,
            "away": [*self.away.people],
            "for_away": self.away.images,
            "away_before": self.away.have_answered,
            "set_aside": self.set_aside,
        }

    @property
    def is_over(self) -> bool:
        return self.stage in ENDED

    @property
    def is_all_asked(self) -> bool:
        """Whether every image has been asked about; then it is known who can still be asked about what is disputed."""
        return self.stage in (*ENDED, Stage.AGAIN)

    @property
    def can_settle(self) -> bool:
        """Whether a manager may settle at once what people disagree about, without waiting for others."""
        return self.is_all_asked and self.disputed > 0

    @property
    def needs_manager(self) -> bool:
        """Whether all has been asked about, and what is left, or a part of it, is nobody else's."""
        return self.is_over or (self.stage == Stage.AGAIN and self.to_settle > 0)

    @property
    def notice_key(self) -> str:
        """Of the notice that is true now; empty if there is nothing to tell. For each number of images there is one."""
        told, images = self.facts.get("told"), self.counts.total
        if told in ("rest", Stage.OTHERS):
            return f"{images} {told}"
        return str(images) if self.needs_manager else ""

    @property
    def words(self) -> str:
        """For a manager, where the end is near or there; else empty."""
        return words_of(self.facts)


def work_left(project: Project, counts: PoolCounts | None = None) -> WorkLeft:
    """At most fourteen statements; their cost grows with what was answered, the holdout and what is disputed."""
    counts, target = counts or pool_counts(project), project.learning.holdout_target
    if project.paused_at is not None:
        return WorkLeft(Stage.PAUSED, counts, target)
    if not counts.total:
        return WorkLeft(Stage.NO_IMAGES, counts, target)
    if not LabelClass.objects.filter(project=project, is_archived=False).exists():
        return WorkLeft(Stage.NO_CLASSES, counts, target)
    if not images_to_ask(counts, target):
        return _ended(project, counts, target)
    unfinished = project.rounds.filter(state__in=UNFINISHED).order_by("-number").values_list("number", flat=True)
    if (number := unfinished.first()) is not None:
        return WorkLeft(Stage.MAKING, counts, target, round_number=number)
    places = open_places(project.queue_round_id)
    if places.exists():
        if others := for_others(project, places):
            away = Away(not_there(project, others))
            return WorkLeft(Stage.OTHERS, counts, target, away=away, for_others=len(others))
        return WorkLeft(Stage.QUEUED, counts, target)
    by_hand = project.learning.retrain_every == 0 and Round.objects.filter(project=project).exists()
    return WorkLeft(Stage.BY_HAND if by_hand else Stage.COMING, counts, target)


def _ended(project: Project, counts: PoolCounts, target: int) -> WorkLeft:
    open_ = still_open(project)
    again = again_of(project, open_)
    is_settled = counts.disputed + counts.holdout_disputed == 0
    stage = Stage.AGAIN if again != NOBODY else Stage.DONE if is_settled else Stage.DISPUTED
    is_stuck = counts.disputed + counts.holdout_disputed > again.disputed
    away = away_of(project, open_, again) if is_stuck else NOBODY_AWAY
    return WorkLeft(stage, counts, target, again=again, away=away, asks_again=asks_again(project.learning))


def open_places(round_id: Any) -> QuerySet[Candidate]:
    """Of images that wait for answers: nobody waits for the others, and some people may not get them."""
    places = Candidate.objects.filter(round_id=round_id, state=CandidateState.OPEN)
    return places.exclude(reason__in=NOT_OF_THE_POOL)


def for_others(project: Project, places: QuerySet[Candidate]) -> set[int]:
    """The images that these places are of, if all people who answer here have answered each of them; else none."""
    live = Annotation.objects.filter(image=OuterRef("image"), retracted_at__isnull=True).exclude(outcome=Outcome.UNDO)
    if places.filter(~Exists(live)).exists():
        return set()  # as a rule
    images, people = set(places.order_by().values_list("image_id", flat=True)), active_people(project)
    answered = answered_by(images)
    return images if all(people <= answered[pk] for pk in images) else set()


def is_more_to_queue(project: Project, counts: PoolCounts, target: int) -> bool:
    """Whether an image waits that is in no queue and on no screen: without one, a new queue is the old one again."""
    open_ = Candidate.objects.filter(project=project, state=CandidateState.OPEN, image__state=ImageState.POOL)
    images = open_.exclude(reason__in=NOT_OF_THE_POOL).order_by().values_list("image__is_holdout")
    queued: dict[bool, int] = dict(images.annotate(Count("image", distinct=True)))
    return counts.eligible > queued.get(False, 0) or holdout_to_ask(counts, target) > queued.get(True, 0)


# --- In words ---------------------------------------------------------------------------------------------------------


def words_of(facts: Mapping[str, Any]) -> str:
    """Whole sentences, one after another. Empty facts, no words."""
    if not facts:
        return ""
    if facts["told"] == Stage.BY_HAND:
        return _("The queue is empty, and rounds start only by button or schedule: nobody is asked until one has run.")
    if facts["told"] == Stage.OTHERS:
        return _others_words(facts)
    parts = [_rest_words(facts)] if facts["told"] == "rest" else [_asked_words(facts["images"])]
    parts += [*_again_words(facts), *_settle_words(facts)]
    if facts["set_aside"]:
        words = ngettext(
            "%(images)s image is set aside: people skipped it or were unsure.",
            "%(images)s images are set aside: people skipped them or were unsure.",
            facts["set_aside"],
        )
        parts.append(words % {"images": numeral(facts["set_aside"])})
    if facts["told"] == Stage.DONE:
        parts.append(_("Import more, or export the labels."))
    return " ".join(parts)


def _others_words(facts: Mapping[str, Any]) -> str:
    if facts["away"]:
        words = ngettext(
            "%(images)s image waits for an answer of somebody else: whoever answers here has answered it. Who "
            "answers nothing here now (%(people)s) is asked about it on opening Label.",
            "%(images)s images wait for an answer of somebody else: whoever answers here has answered them. Who "
            "answers nothing here now (%(people)s) is asked about them on opening Label.",
            facts["images"],
        )
        return words % {"images": numeral(facts["images"]), "people": _shown(facts["away"])}
    words = ngettext(
        "%(images)s image waits for an answer of somebody else: whoever answers here has answered it. Invite "
        "another person, or lower the answers an image in the settings.",
        "%(images)s images wait for an answer of somebody else: whoever answers here has answered them. Invite "
        "another person, or lower the answers an image in the settings.",
        facts["images"],
    )
    return words % {"images": numeral(facts["images"])}


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (" …" if len(names) > NAMED else "")


def _again_words(facts: Mapping[str, Any]) -> Iterator[str]:
    """`others` is missing in notices of former versions."""
    if facts["again"]:
        words = ngettext(
            "%(images)s disputed image is asked of another person.",
            "%(images)s disputed images are asked of another person.",
            facts["again"],
        )
        yield words % {"images": numeral(facts["again"])}
    if others := facts.get("others"):
        words = ngettext(
            "%(images)s image whose label is in doubt is asked of another person.",
            "%(images)s images whose labels are in doubt are asked of another person.",
            others,
        )
        yield words % {"images": numeral(others)}


def _settle_words(facts: Mapping[str, Any]) -> Iterator[str]:
    """What a manager has to decide, and who else could, or why nobody can."""
    if facts["to_settle"]:
        words = ngettext(
            "People disagree about %(images)s image: a manager has to decide.",
            "People disagree about %(images)s images: a manager has to decide.",
            facts["to_settle"],
        )
        yield words % {"images": numeral(facts["to_settle"])}
        if facts.get("away"):
            yield _away_words(facts)
        elif facts.get("asks_again", True):
            yield _("No annotator is left who could be asked: all have answered, or there are answers enough.")
        else:
            yield _("The settings have nobody else asked about them.")


def _away_words(facts: Mapping[str, Any]) -> str:
    if facts["away_before"]:
        words = ngettext(
            "Or somebody else does: who has not answered here lately (%(people)s) is asked about %(images)s image on "
            "opening Label.",
            "Or somebody else does: who has not answered here lately (%(people)s) is asked about %(images)s images on "
            "opening Label.",
            facts["for_away"],
        )
    else:
        words = ngettext(
            "Or somebody else does: who has not answered here yet (%(people)s) is asked about %(images)s image on "
            "opening Label.",
            "Or somebody else does: who has not answered here yet (%(people)s) is asked about %(images)s images on "
            "opening Label.",
            facts["for_away"],
        )
    return words % {"people": _shown(facts["away"]), "images": numeral(facts["for_away"])}


def _asked_words(images: int) -> str:
    words = ngettext(
        "The only image has been asked about: no question is left.",
        "All %(images)s images have been asked about: no question is left.",
        images,
    )
    return words % {"images": numeral(images)}


def _rest_words(facts: Mapping[str, Any]) -> str:
    words = ngettext(
        "Only holdout images wait now, %(images)s past the holdout answers wanted (%(target)s). People are asked about "
        "it last of all; it makes the measured accuracy surer. Pause the project if that is not worth the answer.",
        "Only holdout images wait now, %(images)s past the holdout answers wanted (%(target)s). People are asked about "
        "them last of all; they make the measured accuracy surer. Pause the project if that is not worth the answers.",
        facts["rest"],
    )
    return words % {"images": numeral(facts["rest"]), "target": numeral(facts["target"])}
