"""When the next round starts, in words."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from labeler import clock
from labeler.models import LearningConfig, Project, Round, RoundState
from labeler.numerals import numeral
from labeler.selectors.graphs import likeness_of
from labeler.selectors.grid import learned_classes
from labeler.selectors.pool import images_to_ask
from labeler.selectors.work_left import Stage, WorkLeft, work_left
from labeler.services.last_round import unlearned
from labeler.services.rounds import newest_round
from labeler.services.triggers import (
    answers_for_a_round,
    answers_since,
    bounded_count,
    has_news,
    is_changing,
    waits_for_likeness,
)


def next_round_words(project: Project, left: WorkLeft | None = None) -> str:
    """`after 12 more answers, or at 02:00`; empty while a round is unfinished."""
    last = newest_round(project)
    if last is not None and last.is_unfinished:
        return ""
    parts = []
    if project.learning.retrain_every:
        parts.append(_after_answers_words(project, last, left or work_left(project)))
    if (at := next_scheduled(project.learning)) is not None:
        parts.append(_scheduled_words(project, at))
    return _(", or ").join(parts) if parts else _("when a manager starts it")


def _after_answers_words(project: Project, last: Round | None, work: WorkLeft) -> str:
    """Nothing that cannot come is promised: not more answers than there are images, nor a model of a single one."""
    likeness, counts = likeness_of(project), work.counts
    every = answers_for_a_round(project.learning, last.training_count if last else 0, likeness)
    missing = every - bounded_count(answers_since(project, last.last_annotation_id if last else 0), every)
    classes, left = learned_classes(project, most=2), images_to_ask(counts, work.target)
    if waits_for_likeness(project.learning, likeness):
        return _("once it is known which images look alike")
    if missing <= 0 and classes == 2:
        return _("in a moment")
    if last is not None and classes == 2 and is_changing(project, last):
        return _("in a moment, as classes or answers have changed")
    if left == 0:
        is_new = last is not None and classes == 2 and unlearned(project, last).exists()
        return _last_words(work) if is_new else _ended_words(work)
    if work.stage == Stage.OTHERS:
        return _("once somebody else answers")
    if classes + counts.eligible < 2:
        return _("once there are more images to learn from")
    if missing <= 0:
        return _("as soon as two classes have labels")
    if missing <= left * project.learning.overlap:
        words = ngettext("after %(missing)s more answer", "after %(missing)s more answers", missing)
        return words % {"missing": numeral(missing)}
    is_failed = last is not None and last.state == RoundState.FAILED
    return _("once there are more images") if left == 1 or is_failed else _("when the queue is nearly empty")


def _last_words(work: WorkLeft) -> str:
    """Of services/last_round.py."""
    if work.stage == Stage.AGAIN:
        return _("once enough disputed images have been answered again, or ten minutes after the last answer")
    return _("a minute after the last answer or decision, as no question is left")


def _ended_words(work: WorkLeft) -> str:
    if work.stage == Stage.AGAIN:
        return _("once enough disputed images have been answered again, or there are more images")
    if work.to_settle:
        return _("once enough disputed images are settled, or there are more images")
    return _("once there are more images")


def next_scheduled(learning: LearningConfig) -> datetime | None:
    schedule = learning.schedule
    if schedule is None or not schedule.enabled:
        return None
    now = clock.now()
    left: timedelta = schedule.schedule.remaining_estimate(schedule.last_run_at or now)
    half_a_minute = timedelta(seconds=30)  # schedules are in minutes, the estimate loses fractions of a second
    return (now + max(left, timedelta(0)) + half_a_minute).replace(second=0, microsecond=0)


def _scheduled_words(project: Project, at: datetime) -> str:
    """A round that would be left out, as things are now, is promised under its condition alone."""
    when = {"when": scheduled_words(at)}
    if not has_news(project):
        return _("%(when)s, if there is something new to learn from by then") % when
    if learned_classes(project, most=2) < 2:
        return _("%(when)s, if two classes have labels by then") % when
    return when["when"]


def scheduled_words(at: datetime) -> str:
    """With the day, where it is not this one: a time alone is read as the next that comes, or as one that is over."""
    local, today = timezone.localtime(at), timezone.localdate(clock.now())
    parts = {"time": f"{local:%H:%M}", "zone": settings.TIME_ZONE}
    if local.date() == today:
        return _("at %(time)s %(zone)s") % parts
    if local.date() == today + timedelta(days=1):
        return _("tomorrow at %(time)s %(zone)s") % parts
    parts["day"] = f"{date_format(local, 'l')}, {date_format(local, 'MONTH_DAY_FORMAT')}"
    return _("on %(day)s, at %(time)s %(zone)s") % parts
