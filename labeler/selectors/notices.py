"""What a manager has not read yet, and what there was."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext as _

from labeler.models import Membership, Notice, NoticeDismissal, NoticeMail, Project, User
from labeler.selectors.work_left import words_of
from labeler.told import said

SHOWN = 5  # on the Monitor; all of them stand on their page
PAGE = 100


@dataclass(frozen=True)
class NoticeRow:
    notice: Notice
    is_read: bool
    mail: str  # what became of the person's own mail, in words; empty: there was none


def unread_notices(project: Project, user: User) -> list[Notice]:
    """Newest first. One statement."""
    return [_worded(notice) for notice in _unread(project, user).select_related("round").order_by("-id")[:SHOWN]]


def notice_rows(project: Project, user: User) -> list[NoticeRow]:
    notices = Notice.objects.filter(project=project).select_related("round").order_by("-id")[:PAGE]
    unread = set(_unread(project, user).values_list("pk", flat=True))
    mails = {
        mail.notice_id: mail_words(mail)
        for mail in NoticeMail.objects.filter(user=user, notice__project=project).order_by("-id")[:PAGE]
    }
    return [NoticeRow(_worded(notice), notice.pk not in unread, mails.get(notice.pk, "")) for notice in notices]


def _worded(notice: Notice) -> Notice:
    """In the reader's language, where the notice kept of what it is made."""
    notice.words = words_of(notice.facts) or notice.words
    return notice


def mail_words(mail: NoticeMail) -> str:
    words = str(mail.get_state_display())
    state = _("mail %(state)s") % {"state": words}
    return f"{state}: {said(mail.error)}" if mail.error else state


def own_choice(project: Project, user: User) -> bool | None:
    """Whether this manager gets mail; None: who is no member (a superuser) gets none."""
    return Membership.objects.filter(project=project, user=user).values_list("gets_mail", flat=True).first()


def _unread(project: Project, user: User) -> QuerySet[Notice]:
    return unread_of(user).filter(project=project)


def unread_of(user: User) -> QuerySet[Notice]:
    """Of all projects. Not what was before the person came, what they have dismissed, nor what is over."""
    read = NoticeDismissal.objects.filter(notice=OuterRef("pk"), user=user)
    since = Membership.objects.filter(user=user, project=OuterRef("project"), created_at__lte=OuterRef("created_at"))
    return Notice.objects.filter(~Exists(read), Exists(since), over_at__isnull=True)
