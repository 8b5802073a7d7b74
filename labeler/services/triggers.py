"""When the next round starts, and why, in words.

All counting is bounded: no statement reads more answers than the trigger asks for.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from labeler import clock
from labeler.models import (
    Annotation,
    Candidate,
    CandidateState,
    ClassChange,
    LearningConfig,
    Outcome,
    Project,
    Round,
    RoundState,
    Trigger,
)
from labeler.models.jobs import UNFINISHED_JOB
from labeler.models.rounds import UNFINISHED
from labeler.selectors.graphs import LIKENESS, Likeness, likeness_of, likeness_parameters
from labeler.selectors.pool import images_to_ask, pool_counts
from labeler.selectors.work_left import Stage, WorkLeft, is_more_to_queue, open_places, work_left
from labeler.services import notices
from labeler.services.last_round import is_last_round_due
from labeler.services.rounds import RoundRefused, newest_round, request_round, start_cold_round, why_not_trainable
from labeler.told import Told, ntold, told

logger = logging.getLogger(__name__)
FIRST_ANSWERS, GROWTH = 3, 0.2  # see `answers_for_a_round`
EDIT_QUIET_SECONDS = 20  # edits of what the model learned from wait until nobody has edited for so long


@dataclass(frozen=True)
class Due:
    trigger: str
    reason: str


# --- In the transaction of an answer --------------------------------------------------------------------------------


# Written out because every answer runs it: to build it by the ORM takes ten times as long as to run it. What is counted
# is bounded: no more new answers than start a round, and the nth open place is looked for in the order of an index.
DUE = """
SELECT r.state, r.training_count, r.state NOT IN ({unfinished}),
    CASE WHEN r.state NOT IN ({unfinished}) THEN (
        SELECT count(*) FROM (
            SELECT a.id FROM labeler_annotation a
            WHERE a.project_id = r.project_id AND a.id > r.last_annotation_id
              AND a.outcome = 'label' AND a.retracted_at IS NULL AND NOT a.is_grid
            ORDER BY a.id LIMIT %(every)s) new) END,
    CASE WHEN r.state NOT IN ({unfinished}) THEN (
        SELECT c.id FROM labeler_candidate c
        WHERE c.round_id = (SELECT p.queue_round_id FROM labeler_project p WHERE p.id = r.project_id)
          AND c.state = 'open' AND c.reason NOT IN ('relabel', 'gold', 'grid_check')
        ORDER BY c.rank, c.slot LIMIT 1 OFFSET %(few)s) END,
    CASE WHEN r.state NOT IN ({unfinished}) THEN {likeness} END
FROM labeler_round r WHERE r.project_id = %(project)s
  AND (r."trigger" <> 'comparison' OR r.state IN ({unfinished}))
ORDER BY r.number DESC LIMIT 1
"""
DUE = DUE.format(
    unfinished=", ".join(f"'{state}'" for state in UNFINISHED), likeness=LIKENESS.format(project="r.project_id")
)

NO_ROUND = (None, 0, False, 0, None, Likeness.UNKNOWN)


def answers_for_a_round(learning: LearningConfig, learned: int, likeness: Likeness) -> int:
    """So many new answers start a round: few at first, when each tells much, then a fifth of what is known, and never
    more than the settings say. By likeness alone, where a round takes seconds: until it is known which images look
    alike, a round goes by pixels and takes minutes.

    Args:
        learning: The project's settings.
        learned: Labels that the last round learned from.
        likeness: Whether a round could learn from it now.
    """
    if learning.learns_from != "likeness" or likeness != Likeness.KNOWN:
        return learning.retrain_every
    return min(learning.retrain_every, _much(learned))


def _much(learned: int) -> int:
    return max(FIRST_ANSWERS, round(GROWTH * learned))


def waits_for_likeness(learning: LearningConfig, likeness: Likeness) -> bool:
    """A round by pixels is not worth its minutes where one by likeness can be had soon: the answers are kept for it."""
    return learning.learns_from == "likeness" and likeness == Likeness.COMING


def note_answer(*, project: Project) -> None:
    """Ask for a round if this answer made one due: enough answers, or a queue that is nearly empty.

    One statement as a rule, and two while a round is due that no model could be fitted in. What depends on time (edits
    that have settled, a cool-down that is over) is the sweep's.
    """
    learning = project.learning
    if not learning.retrain_every:
        return
    counts = {"project": project.pk, "every": learning.retrain_every, "few": nearly_dry(learning) - 1}
    with connection.cursor() as cursor:
        cursor.execute(DUE, {**counts, **likeness_parameters()})
        state, learned, is_finished, new, place, likeness = cursor.fetchone() or NO_ROUND
    if not is_finished or waits_for_likeness(learning, likeness):
        return
    is_enough = new >= answers_for_a_round(learning, learned, likeness)
    is_dry = new and place is None and state != RoundState.FAILED
    if not (is_enough or is_dry) or why_not_trainable(project):
        return
    if is_enough:
        _request(project, Due(Trigger.ANSWERS, _answers(new)))
        return
    pool, target = pool_counts(project), learning.holdout_target
    is_worth_it = new >= _much(learned) or is_more_to_queue(project, pool, target)
    if is_worth_it and images_to_ask(pool, target):
        _request(project, Due(Trigger.QUEUE_DRY, told("the queue is nearly empty and there are new answers")))


# --- The sweep's part -----------------------------------------------------------------------------------------------


def start_due_rounds() -> int:
    """Start what is due, project by project: one that fails does not stop the others."""
    started = 0
    for project in _projects_to_look_at():
        try:
            started += start_if_due(project)
        except DatabaseError:
            logger.exception("Could not look after the rounds of project %s", project.pk)
    return started


def start_if_due(project: Project) -> bool:
    due = round_due(project)
    return due is not None and _start(project, due)


def round_due(project: Project) -> Due | None:
    """What would start a round now, or None."""
    last = newest_round(project)
    if last is None:
        return (
            Due(Trigger.COLD_START, told("there are images and no queue yet"))
            if project.queue_round_id is None
            else None
        )
    if last.is_unfinished:
        return None
    learning, likeness = project.learning, likeness_of(project)
    if learning.retrain_every and waits_for_likeness(learning, likeness):
        return _empty_while_waiting(project)
    every = answers_for_a_round(learning, last.training_count, likeness)
    if not every:
        return _dry_for_good(project)
    new = bounded_count(answers_since(project, last.last_annotation_id), every)
    due = _news(project, last, new, every)
    if due is not None and not why_not_trainable(project):
        return due
    return _dry(project, last, new)  # what cannot be learned from yet does not keep the queue from being filled


def _news(project: Project, last: Round, new: int, every: int) -> Due | None:
    """What there is to learn that the last round did not know."""
    if new >= every:
        return Due(Trigger.ANSWERS, _answers(every))
    if edits := settled_edits(project, last.last_annotation_id):
        return Due(Trigger.EDITS, _edited(edits))
    if words := settled_class_change(project, last):
        return Due(Trigger.EDITS, told("the classes changed: %(change)s", change=words))
    return None


def _dry_for_good(project: Project) -> Due | None:
    """Where only button and schedule start rounds, and no model could be fitted: nobody could fill the queue."""
    if open_places(project.queue_round_id).exists() or not why_not_trainable(project):
        return None
    return Due(Trigger.COLD_START, told("the queue is empty and no model can be fitted yet"))


def _empty_while_waiting(project: Project) -> Due | None:
    if open_places(project.queue_round_id).exists():
        return None
    return Due(Trigger.COLD_START, told("the queue is empty, and a worker is finding out which images look alike"))


def _dry(project: Project, last: Round, new: int) -> Due | None:
    """A queue that is (nearly) empty. An empty one is filled whatever happens, so that nobody waits for nothing."""
    few = nearly_dry(project.learning) * max(1, active_annotators(project))
    places = bounded_count(open_places(project.queue_round_id), min(few, max(1, project.learning.budget // 2)))
    if places == 0:
        if last.state == RoundState.FAILED or why_not_trainable(project):
            words = told("the queue is empty and no model can be fitted yet")
            if last.state == RoundState.FAILED:
                words = told("the queue is empty and round %(number)s failed", number=str(last.number))
            return Due(Trigger.COLD_START, words)
        return Due(Trigger.QUEUE_DRY, told("the queue is empty"))
    if new and places < few and last.state != RoundState.FAILED:
        return Due(Trigger.QUEUE_DRY, told("the queue is nearly empty and there are new answers"))
    return None


def _start(project: Project, due: Due) -> bool:
    if due.trigger in (Trigger.COLD_START, Trigger.QUEUE_DRY):
        left = work_left(project)
        if not images_to_ask(left.counts, left.target):
            _tell_end(project, left)
            return _start_last(project, left)
        if not is_more_to_queue(project, left.counts, left.target) and not _is_much_new(project):
            return False  # all that waits is in the queue or on a screen: a round could only put it there again
        if left.rest and left.stage != Stage.OTHERS:  # the end is near: a manager may want to stop here
            notices.note_left(project=project, left=left)
    if due.trigger == Trigger.COLD_START:
        return start_cold_round(project=project, reason=due.reason) is not None
    return _request(project, due)


def _start_last(project: Project, left: WorkLeft) -> bool:
    """So that the model in charge has learned from all answers, and is measured on them."""
    last, learning = newest_round(project), project.learning
    if last is None or not learning.retrain_every or waits_for_likeness(learning, likeness_of(project)):
        return False
    if not is_last_round_due(project=project, last=last, left=left) or why_not_trainable(project):
        return False
    return _request(project, Due(Trigger.QUEUE_DRY, told("no question is left, and there are new answers")))


def _is_much_new(project: Project) -> bool:
    last = newest_round(project)
    if last is None or last.state == RoundState.FAILED:
        return False
    much = _much(last.training_count)
    return bounded_count(answers_since(project, last.last_annotation_id), much) >= much


def _tell_end(project: Project, left: WorkLeft) -> None:
    """Once nobody is at the last images: until then one may come back."""
    if left.needs_manager and not open_places(project.queue_round_id).exists():
        notices.note_left(project=project, left=left)


def _request(project: Project, due: Due) -> bool:
    try:
        return request_round(project=project, trigger=due.trigger, reason=due.reason) is not None
    except RoundRefused as refused:
        logger.debug("No round of project %s: %s", project.pk, refused)
        return False


def _projects_to_look_at() -> Iterable[Project]:
    """Projects with images where no round is unfinished, and something is new or the queue is dry."""
    unfinished = Round.objects.filter(project=OuterRef("pk"), state__in=UNFINISHED)
    last = Round.objects.filter(project=OuterRef("project")).order_by("-number").values("last_annotation_id")[:1]
    new = Annotation.objects.filter(project=OuterRef("pk"), id__gt=Subquery(last))
    open_ = open_places(OuterRef("queue_round_id"))
    newest = Round.objects.filter(project=OuterRef("project")).order_by("-number")
    began = newest.values(at=Coalesce("started_at", "created_at"))[:1]
    changed = ClassChange.objects.filter(changes_since(Subquery(began)), project=OuterRef("pk"))
    return (
        Project.objects.select_related("learning")
        .filter(
            ~Exists(unfinished), Exists(new) | ~Exists(open_) | Exists(changed), chunks__count__gt=0, paused_at=None
        )
        .distinct()
        .iterator()
    )


def reason_at_snapshot(*, round_: Round, seen: int) -> str:
    """Why a round started, with all answers that it takes along: people went on while it waited for its turn."""
    if round_.trigger != Trigger.ANSWERS:
        return round_.reason
    former = Round.objects.filter(project=round_.project, number__lt=round_.number).order_by("-number").first()
    new = answers_since(round_.project, former.last_annotation_id if former else 0).filter(id__lte=seen)
    return _answers(new.count())


def scheduled_round(*, project: Project) -> Round | None:
    """A round if there is anything new to learn from; else a word on the schedule that there was not."""
    words = "nothing new to learn from"
    try:
        if has_news(project):
            return request_round(project=project, trigger=Trigger.SCHEDULE, reason=told("the schedule"))
    except RoundRefused as refused:
        words = str(refused)
    logger.info("Scheduled round of project %s left out: %s", project.pk, words)
    if project.learning.schedule_id is not None:
        description = f"{timezone.localtime(clock.now()):%Y-%m-%d %H:%M}: no round, {words}"
        PeriodicTask.objects.filter(pk=project.learning.schedule_id).update(description=description)
    return None


def has_news(project: Project) -> bool:
    """Whether a round by the clock would learn from anything that the last one did not."""
    since = last_seen(project)
    return answers_since(project, since).exists() or edits_since(project, since).exists()


# --- Counting -------------------------------------------------------------------------------------------------------


def answers_since(project: Project, annotation_id: int) -> QuerySet[Annotation]:
    return _standing(Annotation.objects.filter(project=project, id__gt=annotation_id))


def edits_since(project: Project, annotation_id: int) -> QuerySet[Annotation]:
    """Undone or corrected labels that the last round had learned from."""
    return Annotation.objects.filter(
        project=project,
        id__gt=annotation_id,
        retracts__id__lte=annotation_id,
        retracts__outcome=Outcome.LABEL,
        retracts__is_grid=False,
    )


def settled_edits(project: Project, annotation_id: int) -> int:
    edits = edits_since(project, annotation_id).order_by("-id")
    newest = edits.values_list("created_at", flat=True).first()
    if newest is None or newest > clock.now() - timedelta(seconds=EDIT_QUIET_SECONDS):
        return 0
    return bounded_count(edits, 1000)


def settled_class_change(project: Project, last: Round) -> str:
    """What was done to the classes since the round took its labels, if nobody has changed them again just now."""
    change = ClassChange.objects.filter(changes_since(last.started_at or last.created_at), project=project).first()
    if change is None or change.finished_at is None:
        return ""
    is_settled = change.finished_at <= clock.now() - timedelta(seconds=EDIT_QUIET_SECONDS)
    return change.words if is_settled else ""


def is_changing(project: Project, last: Round) -> bool:
    """Whether a round follows by itself because classes, or answers that it learned from, have changed: at once, or as
    soon as nobody has changed more for a while."""
    moment = last.started_at or last.created_at
    at_work = Q(state__in=UNFINISHED_JOB)
    changes = ClassChange.objects.filter(changes_since(moment) | at_work, project=project)
    return changes.exists() or edits_since(project, last.last_annotation_id).exists()


def changes_since(moment: Any) -> Q:
    return Q(changes_labels=True, finished_at__gt=moment)


def last_seen(project: Project) -> int:
    last = Round.objects.filter(project=project).order_by("-number").values_list("last_annotation_id", flat=True)
    return last.first() or 0


def nearly_dry(learning: LearningConfig) -> int:
    """Fewer open places than this a person are few: what one prefetches, but no more than half a queue."""
    return max(1, min(settings.LEASES_PER_ANNOTATOR, learning.budget // 2))


def active_annotators(project: Project) -> int:
    """People who hold places now."""
    held = Candidate.objects.filter(project=project, state=CandidateState.OPEN, leased_until__gt=clock.now())
    return held.filter(leased_to__isnull=False).values("leased_to").distinct().count()


def bounded_count(rows: QuerySet, most: int) -> int:  # type: ignore[type-arg]
    return len(rows.values_list("pk", flat=True)[:most])


def _standing(answers: QuerySet[Annotation]) -> QuerySet[Annotation]:
    """Those of a grid start no round: they may train nothing, and if they do, the next one takes them along."""
    return answers.filter(outcome=Outcome.LABEL, retracted_at__isnull=True, is_grid=False)


def _answers(number: int) -> Told:
    return ntold("%(count)s new answer", "%(count)s new answers", number)


def _edited(number: int) -> Told:
    return ntold(
        "%(count)s answer that the model learned from changed",
        "%(count)s answers that the model learned from changed",
        number,
    )
