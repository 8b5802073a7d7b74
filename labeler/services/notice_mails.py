"""Notices by mail, sent by a worker where the site has a mail server.

A row is claimed by a conditional UPDATE before anything is sent. What the server refuses, or cannot be reached for, is
tried again later; where it cannot be reached all others wait, too, so that one that hangs holds no worker for long.
Where the worker died between handing a mail over and writing that down, nobody knows whether it was sent: it is not
sent again. A missing mail costs little, the notice stands in the page; two of each would cost trust.
"""

from __future__ import annotations

import smtplib
import time
from datetime import timedelta

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import F, Q
from django.urls import reverse

from labeler import clock
from labeler.models import NoticeMail
from labeler.services.notices import SEND_MAILS
from labeler.told import told
from labeler.wake import wake

State = NoticeMail.State
PAUSES = [60, 300, 1800, 7200, 21_600]  # seconds before each further attempt
LOST = timedelta(minutes=10)  # a mail that was begun so long ago has no worker any more
AT_ONCE = 50
TURN_SECONDS = 15.0
TRIED_AGAIN = 60  # seconds until a server that could not be reached is asked again
UNKNOWN = told("A worker was lost while it sent this, so it may have arrived; it is not sent again.")


def sweep_mails() -> int:
    """Wake a worker for mails that are due; those whose worker was lost are given up. Returns how many are due."""
    now = clock.now()
    lost = NoticeMail.objects.filter(state=State.SENDING, began_at__lt=now - LOST)
    lost.update(state=State.UNKNOWN, error=UNKNOWN)
    due = NoticeMail.objects.filter(state=State.WAITING, not_before__lte=now)[:AT_ONCE].count()
    if due and settings.MAIL_IS_ON:
        wake(SEND_MAILS)
    return due


def send_mails() -> int:
    """The task: send what is due, one after the other, for TURN_SECONDS. Returns how many were sent."""
    if not settings.MAIL_IS_ON:
        return 0
    due, sent = NoticeMail.objects.filter(state=State.WAITING, not_before__lte=clock.now()), 0
    until = time.monotonic() + TURN_SECONDS
    for pk in list(due.order_by("not_before", "pk").values_list("pk", flat=True)[:AT_ONCE]):
        if time.monotonic() > until:
            wake(SEND_MAILS)  # behind the webhooks that wait meanwhile
            break
        try:
            sent += _send(pk)
        except _ServerAway:
            due.update(not_before=clock.now() + timedelta(seconds=TRIED_AGAIN))
            break
    return sent


REFUSALS = (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused, smtplib.SMTPDataError)


class _ServerAway(Exception):
    """It cannot be reached, or says nothing: so it will be with the next mail."""


def _send(pk: int) -> bool:
    now = clock.now()
    free = NoticeMail.objects.filter(pk=pk, state=State.WAITING, not_before__lte=now)
    if not free.update(state=State.SENDING, began_at=now, attempts=F("attempts") + 1):
        return False  # another worker was first
    mail = NoticeMail.objects.select_related("notice__project", "user").get(pk=pk)
    mine = NoticeMail.objects.filter(pk=pk, state=State.SENDING, attempts=mail.attempts)
    if why := _why_not(mail):
        mine.update(state=State.FAILED, error=why)
        return False
    try:
        _message(mail).send()
    except (OSError, smtplib.SMTPException) as error:
        _try_later(mail, _why_refused(error, mail.user.email))
        if not isinstance(error, REFUSALS):
            raise _ServerAway from error
        return False
    return bool(mine.update(state=State.SENT, sent_at=clock.now(), error=""))


def _why_not(mail: NoticeMail) -> str:
    """Somebody who was shut out or changed their mind since gets none."""
    if not mail.user.is_active or not mail.user.email:
        return told("There is no address any more.")
    still = mail.user.memberships.filter(
        Q(project=mail.notice.project_id, role="manager", gets_mail=True, deactivated_at__isnull=True)
    )
    return "" if still.exists() else told("They no longer want mail of this project.")


def _why_refused(error: Exception, address: str) -> str:
    """What happened, for who reads the notice in the page."""
    host = settings.EMAIL_HOST
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        why = _said(error.recipients.get(address, (0, b"")))
        words = told(
            "The mail server (%(host)s) takes no mail for %(address)s: %(why)s", host=host, address=address, why=why
        )
    elif isinstance(error, smtplib.SMTPAuthenticationError):
        why = _said((error.smtp_code, error.smtp_error))
        words = told("The mail server (%(host)s) does not know the user or the password: %(why)s", host=host, why=why)
    elif isinstance(error, smtplib.SMTPResponseException):
        words = told(
            "The mail server (%(host)s) refused it: %(why)s",
            host=host, why=_said((error.smtp_code, error.smtp_error)),
        )  # fmt: skip
    elif isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):  # smtplib: disconnected
        seconds = settings.EMAIL_TIMEOUT
        words = told(
            "The mail server (%(host)s) did not answer within %(seconds)s seconds.", host=host, seconds=seconds
        )
    elif isinstance(error, smtplib.SMTPServerDisconnected):
        words = told("The mail server (%(host)s) ended the connection in the middle.", host=host)
    else:
        words = told("The mail server (%(host)s) cannot be reached: %(why)s", host=host, why=str(error))
    return words


def _said(answer: tuple[int, bytes | str]) -> str:
    code, text = answer
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return " ".join(f"{code} {words}".split())


def _message(mail: NoticeMail) -> EmailMessage:
    notice, project = mail.notice, mail.notice.project
    where = reverse("monitor", args=[project.slug])
    if notice.round is not None:
        where = reverse("round", args=[project.slug, notice.round.number])
    site, choice = settings.SITE_URL.rstrip("/"), reverse("notices", args=[project.slug])
    lines = [notice.words, ""]
    if site:
        lines += [f"{site}{where}", "", f"You chose to get this by mail. To change that: {site}{choice}"]
    else:
        lines += [f"See {where} of PlusMinus. You chose to get this by mail; the Notices page takes it back."]
    subject = " ".join(f"{project.name}: {notice.get_kind_display()}".split())
    headers = {"Message-ID": f"<notice-{notice.pk}-{mail.user_id}-{notice.created_at:%Y%m%d%H%M%S}@plusminus>"}
    return EmailMessage(subject, "\n".join(lines), None, [mail.user.email], headers=headers)


def _try_later(mail: NoticeMail, error: str) -> None:
    mine = NoticeMail.objects.filter(pk=mail.pk, state=State.SENDING, attempts=mail.attempts)
    if mail.attempts > len(PAUSES):
        mine.update(state=State.FAILED, error=error)
        return
    later = clock.now() + timedelta(seconds=PAUSES[mail.attempts - 1])
    mine.update(state=State.WAITING, not_before=later, error=error)
