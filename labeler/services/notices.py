"""What managers should hear of: written in the transaction of what happened, once, and mailed to who wants that."""

from __future__ import annotations

from datetime import timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils.translation import override

from labeler import clock
from labeler.models import (
    Annotation,
    AuditKind,
    Membership,
    Notice,
    NoticeDismissal,
    NoticeKind,
    NoticeMail,
    Outcome,
    Project,
    Role,
    Round,
    Standing,
    Trigger,
    User,
    WebhookEvent,
)
from labeler.selectors.left_out import left_out_of
from labeler.selectors.pool import shown_accuracy
from labeler.selectors.work_left import Stage, WorkLeft, open_places, work_left
from labeler.services import audit, webhooks
from labeler.services.last_round import QUIET_SECONDS
from labeler.told import amount, together, told
from labeler.wake import wake

SEND_MAILS = "messages.send_notice_mails"
MOST_WORDS = 500


@transaction.atomic
def notify(
    *,
    project: Project,
    kind: str,
    key: str,
    words: str,
    round_: Round | None = None,
    facts: dict[str, Any] | None = None,
) -> Notice | None:
    """Write a notice, and a mail to each manager who wants mail. None: this event has its notice already.

    It ends in the caller's transaction: what did not happen is not told. Of two that find the same at once, the
    database lets one write.
    """
    if Notice.objects.filter(project=project, kind=kind, key=key).exists():
        return None
    row = Notice(project=project, kind=kind, key=key, words=audit.shortened(words, MOST_WORDS), round=round_)
    row.facts = facts or {}
    Notice.objects.bulk_create([row], ignore_conflicts=True)
    notice = Notice.objects.get(project=project, kind=kind, key=key)
    if settings.MAIL_IS_ON:
        readers = Membership.objects.filter(
            project=project, role=Role.MANAGER, deactivated_at__isnull=True, gets_mail=True, user__is_active=True
        ).exclude(user__email="")
        mails = [NoticeMail(notice=notice, user_id=pk) for pk in readers.values_list("user", flat=True)]
        NoticeMail.objects.bulk_create(mails, ignore_conflicts=True)
        if mails:
            wake(SEND_MAILS)
    return notice


def note_failure(*, round_: Round, error: str) -> None:
    """A round has just failed; in its transaction."""
    parts = {"number": str(round_.number), "error": error}
    words = told("Round %(number)s failed. %(error)s The queue and the last model stay as they were.", **parts)
    if round_.trigger == Trigger.COMPARISON:
        words = told(
            "The comparison in round %(number)s failed. %(error)s The queue and the last model stay as they were.",
            **parts,
        )
    notify(project=round_.project, kind=NoticeKind.ROUND_FAILED, key=str(round_.number), words=words, round_=round_)
    webhooks.tell_round(round_=round_, event=WebhookEvent.ROUND_FAILED, words=words)


def note_published(*, project: Project, round_: Round, standing: str) -> None:
    """A round has just been published and judged: its model was refused, or met the target.

    Met is a target when the whole 95 % interval lies above it: the point alone would be there by chance sooner or
    later, round after round.
    """
    if standing == Standing.REFUSED:
        words = told(
            "The model of round %(number)s was refused: it is worse than the one in charge, which goes on choosing the "
            "questions. The round’s page says by how much.",
            number=str(round_.number),
        )
        notify(project=project, kind=NoticeKind.MODEL_REFUSED, key=str(round_.number), words=words, round_=round_)
    if standing in (Standing.ACCEPTED, Standing.CHOSEN):
        note_target(project=project, round_=round_)


def note_target(*, project: Project, round_: Round) -> Notice | None:
    """Say once of each target that the model in charge has met it."""
    target, accuracy = project.target_accuracy, shown_accuracy(round_.metrics)
    if target is None or accuracy is None or accuracy["low"] < target:
        return None
    words = told(
        "The target is met: the model of round %(number)s is %(value)s %% right on %(images)s holdout images, and the "
        "95 %% interval begins at %(low)s %%; the target is %(target)s %%.",
        number=str(round_.number),
        value=amount(100 * accuracy["value"], 1),
        images=round_.metrics["n"],
        low=amount(100 * accuracy["low"], 1),
        target=amount(100 * target, _digits(100 * target)),
    )
    words = together(words, left_out_of(round_.metrics).sentence)
    found = notify(project=project, kind=NoticeKind.TARGET_MET, key=f"{target:.6g}", words=words, round_=round_)
    if found is not None:
        data = {"round": round_.number, "target": target, "accuracy": accuracy, "words": words}
        webhooks.tell(project=project, event=WebhookEvent.TARGET_MET, key=f"target {target:.6g}", data=data)
    return found


def note_left(*, project: Project, left: WorkLeft) -> Notice | None:
    """Nothing is left to ask, nothing but holdout images past their target, or nothing for those who answer here: each
    once for each number of images, so that it is said again after another import. It keeps the facts, and is worded for
    each reader."""
    key = left.notice_key
    if not key:
        return None
    kind = NoticeKind.SOMEBODY_ELSE if left.stage == Stage.OTHERS else NoticeKind.QUEUE_DRY
    over = Notice.objects.filter(project=project, kind=kind, key=key, over_at__isnull=False)
    if over.update(over_at=None, facts=left.facts, words=_english(left), created_at=clock.now()):
        return None  # it is so again; nobody is mailed twice
    return notify(project=project, kind=kind, key=key, words=_english(left), facts=left.facts)


def note_others() -> int:
    """For the sweep: say where all that waits has been answered by everybody who answers there. Only once nobody has
    answered for a while: until then the next round may be about to bring something. Returns how many were told."""
    live = Annotation.objects.filter(image=OuterRef("image"), retracted_at__isnull=True).exclude(outcome=Outcome.UNDO)
    new = open_places(OuterRef("queue_round_id")).filter(~Exists(live))
    told_now = Notice.objects.filter(project=OuterRef("pk"), kind=NoticeKind.SOMEBODY_ELSE, over_at__isnull=True)
    stood = Project.objects.filter(
        Exists(open_places(OuterRef("queue_round_id"))), ~Exists(new), ~Exists(told_now), paused_at__isnull=True
    )
    count, since = 0, clock.now() - timedelta(seconds=QUIET_SECONDS)
    for project in stood.select_related("learning"):
        newest = Annotation.objects.filter(project=project).order_by("-id").values_list("created_at", flat=True).first()
        if newest is not None and newest > since:
            continue
        left = work_left(project)
        count += left.stage == Stage.OTHERS and note_left(project=project, left=left) is not None
    return count


def _english(left: WorkLeft) -> str:
    """As all that is stored."""
    with override("en"):
        return audit.shortened(left.words, MOST_WORDS)


def refresh_left() -> int:
    """For the sweep: notices of what is left to answer say what is so now, and one that is true no more is over, until
    it is true again (`note_left`). Returns how many changed."""
    changed = 0
    kinds = [NoticeKind.QUEUE_DRY, NoticeKind.SOMEBODY_ELSE]
    live = Notice.objects.filter(kind__in=kinds, over_at__isnull=True, project__paused_at__isnull=True)
    rows = live.exclude(facts={}).order_by("project").select_related("project__learning")
    for project, notices in groupby(rows, key=attrgetter("project")):
        changed += _refresh(project, list(notices))
    return changed


def _refresh(project: Project, notices: list[Notice]) -> int:
    left, changed = work_left(project), 0
    key, facts = left.notice_key, left.facts
    for notice in notices:
        row = Notice.objects.filter(pk=notice.pk)
        if notice.key != key:
            changed += row.update(over_at=clock.now())
        elif notice.facts != facts:
            changed += row.update(facts=facts, words=_english(left))
    return changed


def _digits(number: float) -> int:
    """As many as `number` was given with, two at most."""
    return next((digits for digits in (0, 1) if round(number, digits) == round(number, 2)), 2)


def dismiss_notices(*, user: User, notices: list[Notice]) -> None:
    """For this person; others go on seeing them. Repeatable."""
    rows = [NoticeDismissal(notice=notice, user=user) for notice in notices]
    NoticeDismissal.objects.bulk_create(rows, ignore_conflicts=True)


@transaction.atomic
def choose_mail(*, project: Project, user: User, gets_mail: bool, address: str) -> bool:
    """A manager's own choice for this project. False: without a membership (a superuser) there is none to make."""
    members = Membership.objects.filter(project=project, user=user, role=Role.MANAGER)
    before = members.values_list("gets_mail", flat=True).first()
    if before is None:
        return False
    members.update(gets_mail=gets_mail)
    if address and address != user.email:
        User.objects.filter(pk=user.pk).update(email=address)
    if before != gets_mail:
        wanted, ended = told("chose to get notices by mail"), told("chose to get no more notices by mail")
        words = wanted if gets_mail else ended
        audit.record(project=project, by=user, kind=AuditKind.PEOPLE, words=words)
    return True
