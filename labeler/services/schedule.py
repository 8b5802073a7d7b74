"""Rounds by the clock: what a manager sets becomes rows of django-celery-beat, which beat reads within seconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils.dates import WEEKDAYS
from django.utils.translation import gettext as _
from django.utils.translation import override
from django_celery_beat.models import CrontabSchedule, PeriodicTask

from labeler.models import AuditKind, LearningConfig, Project, User
from labeler.services import audit

TASK = "labeler.scheduled_round"
DAYS = [WEEKDAYS[(day - 1) % 7] for day in range(7)]  # cron's 0 to 6: Sunday first
WEEK = [1, 2, 3, 4, 5, 6, 0]  # cron's numbers in the order that people read


@dataclass(frozen=True)
class Schedule:
    at: time
    days: tuple[int, ...]  # cron's numbers, in the order of WEEK


def schedule_of(config: LearningConfig) -> Schedule | None:
    task = config.schedule
    if task is None or task.crontab is None or not task.enabled:
        return None
    days = task.crontab.day_of_week
    chosen = set(WEEK) if days == "*" else {int(day) % 7 for day in days.split(",")}
    at = time(int(task.crontab.hour), int(task.crontab.minute))
    return Schedule(at, tuple(day for day in WEEK if day in chosen))


def schedule_words(config: LearningConfig) -> str:
    """`every day at 02:00`, `Monday and Friday at 02:00`, or nothing."""
    schedule = schedule_of(config)
    return _words(schedule) if schedule is not None else ""


def words_of_kept(kept: object) -> str:
    """Of what the record has kept of a schedule, in the reader's language."""
    if not isinstance(kept, dict):
        return ""
    return _words(Schedule(time.fromisoformat(kept["at"]), tuple(kept["days"])))


def _kept(config: LearningConfig) -> dict[str, Any] | None:
    schedule = schedule_of(config)
    return {"at": f"{schedule.at:%H:%M}", "days": list(schedule.days)} if schedule is not None else None


def _words(schedule: Schedule) -> str:
    names = [str(DAYS[day]) for day in schedule.days]
    if len(names) == len(WEEK):
        days = _("every day")
    elif schedule.days == (1, 2, 3, 4, 5):
        days = _("Monday to Friday")
    else:
        days = _(" and ").join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    return _("%(days)s at %(time)s %(zone)s") % {
        "days": days,
        "time": f"{schedule.at:%H:%M}",
        "zone": settings.TIME_ZONE,
    }


def _stored_words(config: LearningConfig) -> str:
    """The record is in one language, whoever writes it."""
    with override(settings.LANGUAGE_CODE):
        return schedule_words(config)


@transaction.atomic
def set_schedule(*, project: Project, at: time | None, days: Sequence[int], by: User | None = None) -> None:
    """A round on `days` (cron's numbers) at that time of the site's time zone; without a time, none. Repeatable."""
    config = LearningConfig.objects.select_for_update(of=("self",), no_key=True).get(project=project)
    before, former = _stored_words(config), _kept(config)
    _set(config, at, days)
    config = LearningConfig.objects.select_related("schedule__crontab").get(project=project)
    audit.record_changes(
        project=project,
        by=by,
        kind=AuditKind.SETTINGS,
        what="when a round starts",
        before={"schedule": before},
        after={"schedule": _stored_words(config)},
        former=former,
        schedule=_kept(config),
    )


def _set(config: LearningConfig, at: time | None, days: Sequence[int]) -> None:
    project = config.project
    task = config.schedule
    if at is None:
        if task is not None and task.crontab is not None:
            task.crontab.delete()  # takes the task along
        elif task is not None:
            task.delete()
        return
    chosen = [day for day in WEEK if day in days]
    if not chosen or len(chosen) != len(set(days)):
        raise ValueError(f"days are some of {WEEK}, not {list(days)}")
    crontab = (task.crontab if task is not None else None) or CrontabSchedule()
    crontab.minute, crontab.hour = str(at.minute), str(at.hour)
    crontab.day_of_week = "*" if len(chosen) == len(WEEK) else ",".join(map(str, sorted(chosen)))
    crontab.timezone = settings.TIME_ZONE
    crontab.save()
    task = task or PeriodicTask(task=TASK)
    task.name, task.crontab, task.enabled = f"Rounds of project {project.pk}", crontab, True
    task.args, task.description = json.dumps([project.pk]), f"Set by a manager of {project.name}"[:200]
    task.save()
    config.schedule = task
    config.save(update_fields=["schedule"])
