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
from labeler.selectors.pool import PoolCounts, pool_counts
from labeler.services.rounds import newest_round
from labeler.services.triggers import (
    answers_for_a_round,
    answers_since,
    bounded_count,
    images_to_ask,
    is_changing,
    waits_for_likeness,
)


def next_round_words(project: Project) -> str:
    """`after 12 more answers, or at 02:00`; empty while a round is unfinished."""
    last = newest_round(project)
    if last is not None and last.is_unfinished:
        return ""
    parts = []
    if project.learning.retrain_every:
        parts.append(_after_answers_words(project, last))
    if (at := next_scheduled(project.learning)) is not None:
        parts.append(_("at %(time)s %(zone)s") % {"time": _clock(at), "zone": settings.TIME_ZONE})
    return _(", or ").join(parts) if parts else _("when a manager starts it")


def _after_answers_words(project: Project, last: Round | None) -> str:
    """Nothing that cannot come is promised: not more answers than there are images, nor a model of a single one."""
    likeness, counts = likeness_of(project), pool_counts(project)
    every = answers_for_a_round(project.learning, last.training_count if last else 0, likeness)
    missing = every - bounded_count(answers_since(project, last.last_annotation_id if last else 0), every)
    classes, left = learned_classes(project, most=2), images_to_ask(project, counts)
    if waits_for_likeness(project.learning, likeness):
        return _("once it is known which images look alike")
    if missing <= 0 and classes == 2:
        return _("in a moment")
    if last is not None and classes == 2 and is_changing(project, last):
        return _("in a moment, as classes or answers have changed")
    if left == 0:
        return _once_more(counts)
    if classes + counts.eligible < 2:
        return _("once there are more images to learn from")
    if missing <= 0:
        return _("as soon as two classes have labels")
    if missing <= left * project.learning.overlap:
        words = ngettext("after %(missing)s more answer", "after %(missing)s more answers", missing)
        return words % {"missing": numeral(missing)}
    is_failed = last is not None and last.state == RoundState.FAILED
    return _("once there are more images") if left == 1 or is_failed else _("when the queue is nearly empty")


def _once_more(counts: PoolCounts) -> str:
    """All that is to be asked has its answers."""
    words = _("once there are more images")
    if counts.holdout_waiting:
        more = ngettext(
            "or more holdout answers are wanted (%(images)s such image was not asked about)",
            "or more holdout answers are wanted (%(images)s such images were not asked about)",
            counts.holdout_waiting,
        )
        words = f"{words}, {more % {'images': numeral(counts.holdout_waiting)}}"
    if counts.disputed:
        settled = ngettext(
            "or the %(images)s disputed one is settled",
            "or the %(images)s disputed ones are settled",
            counts.disputed,
        )
        words = f"{words}, {settled % {'images': numeral(counts.disputed)}}"
    return words


def next_scheduled(learning: LearningConfig) -> datetime | None:
    schedule = learning.schedule
    if schedule is None or not schedule.enabled:
        return None
    now = clock.now()
    left: timedelta = schedule.schedule.remaining_estimate(schedule.last_run_at or now)
    half_a_minute = timedelta(seconds=30)  # schedules are in minutes, the estimate loses fractions of a second
    return (now + max(left, timedelta(0)) + half_a_minute).replace(second=0, microsecond=0)


def _clock(at: datetime) -> str:
    local, today = timezone.localtime(at), timezone.localdate(clock.now())
    return f"{local:%H:%M}" if local.date() - today <= timedelta(days=1) else date_format(local, "l H:i")
