"""What managers hear of: once, in the page until they have read it, and by mail if they chose so; never twice."""

from __future__ import annotations

import re
import smtplib
from datetime import timedelta

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.db import transaction
from django.urls import reverse

from labeler import clock, tasks
from labeler.models import (
    Image,
    ImageState,
    Membership,
    Notice,
    NoticeKind,
    NoticeMail,
    Project,
    Role,
    Round,
    RoundState,
    Standing,
    Trigger,
)
from labeler.selectors.work_left import work_left
from labeler.services import claims, notice_mails
from labeler.services.notices import SEND_MAILS, choose_mail, note_left, note_target, notify
from labeler.services.projects import set_target
from labeler.services.triggers import start_due_rounds
from tests.labeler.judged import judged, loses_owls, measured_pool
from tests.labeler.monitored import METRICS
from tests.labeler.queues import fresh

pytestmark = pytest.mark.django_db
State = NoticeMail.State


@pytest.fixture
def mailing(settings, project, manager):
    """A site with mail, and its manager wants it."""
    settings.MAIL_IS_ON, settings.SITE_URL = True, "https://label.example.org/"
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    manager.email = "mia@example.org"
    manager.save()
    choose_mail(project=project, user=manager, gets_mail=True, address="")
    return project


def failing_round(project: Project, number: int = 1, **fields) -> Round:
    return Round.objects.create(
        **{"project": project, "number": number, "trigger": Trigger.ANSWERS, "reason": "", "seed": 0,
           "state": RoundState.FITTING, "claim": "mine", **fields}
    )  # fmt: skip


def note(project: Project, key: str = "1") -> Notice:
    notice = notify(project=project, kind=NoticeKind.ROUND_FAILED, key=key, words="Round 1 failed. It broke.")
    assert notice is not None
    return notice


# --- What is told -----------------------------------------------------------------------------------------------------


def test_a_round_that_fails(project) -> None:
    round_ = failing_round(project)
    assert claims.fail_round(round_id=round_.pk, claim="mine", words="It broke.")
    notice = Notice.objects.get()
    assert (notice.kind, notice.round) == (NoticeKind.ROUND_FAILED, round_)
    assert notice.words == "Round 1 failed. It broke. The queue and the last model stay as they were."
    assert not claims.fail_round(round_id=round_.pk, claim="mine", words="It broke again.")
    assert Notice.objects.count() == 1


def test_a_round_whose_workers_are_lost(project, settings) -> None:
    long_ago = clock.now() - timedelta(hours=1)
    failing_round(project, attempts=settings.ROUND_ATTEMPTS, heartbeat_at=long_ago)
    claims.give_up_stalled()
    assert "worker was lost" in Notice.objects.get().words


def test_what_did_not_happen_is_not_told(project) -> None:
    round_ = failing_round(project)
    with pytest.raises(RuntimeError), transaction.atomic():
        claims.fail_round(round_id=round_.pk, claim="mine", words="It broke.")
        raise RuntimeError
    assert not Notice.objects.exists()
    assert not claims.fail_round(round_id=round_.pk, claim="another", words="It broke.")
    assert not Notice.objects.exists()


def test_a_cancelled_round_is_no_news(project) -> None:
    round_ = failing_round(project)
    claims.end_round(claims.Q(pk=round_.pk), RoundState.CANCELLED, "Cancelled by mia.")
    assert not Notice.objects.exists()


def test_a_refused_model(project, make_images) -> None:
    pool = measured_pool(project, make_images)
    judged(pool)
    assert not Notice.objects.exists()
    refused = judged(pool, loses_owls)
    assert refused.standing == Standing.REFUSED
    notice = Notice.objects.get()
    assert (notice.kind, notice.round) == (NoticeKind.MODEL_REFUSED, refused)


def test_a_target_that_is_met_with_its_whole_interval(project, make_images, manager) -> None:
    pool = measured_pool(project, make_images)
    set_target(project=pool, target=0.8, by=manager)
    round_ = judged(fresh(pool))  # right about all 30: the interval begins at 88.6 %
    notice = Notice.objects.get()
    assert (notice.kind, notice.round) == (NoticeKind.TARGET_MET, round_)
    assert "100.0 % right on 30 holdout images" in notice.words and "the target is 80 %" in notice.words
    judged(fresh(pool))
    assert Notice.objects.count() == 1  # once a target
    set_target(project=pool, target=0.95, by=manager)  # the point is above it, the interval is not
    assert Notice.objects.count() == 1
    set_target(project=pool, target=0.85, by=manager)  # met already: said at once
    assert Notice.objects.count() == 2


def test_a_target_says_nothing_of_too_few_images(project, manager) -> None:
    round_ = failing_round(project, state=RoundState.DONE, metrics={**METRICS, "n": 9})
    project.target_accuracy = 0.5
    assert note_target(project=project, round_=round_) is None


def test_a_queue_that_runs_dry_once_for_each_import(project, make_images) -> None:
    make_images(project, 5, state=ImageState.LABELLED, label=project.classes.first())
    for _ in range(3):
        assert start_due_rounds() == 0
    notice = Notice.objects.get()
    assert notice.kind == NoticeKind.QUEUE_DRY
    assert notice.words == (
        "All 5 images have been asked about: no question is left. Import more, or export the labels."
    )
    make_images(project, 2)
    assert start_due_rounds() == 1
    assert Notice.objects.count() == 1
    Image.objects.update(state=ImageState.LABELLED, label=project.classes.first())
    project.refresh_from_db()
    project.queue_round.candidates.update(state="answered")
    start_due_rounds()
    assert Notice.objects.filter(kind=NoticeKind.QUEUE_DRY).count() == 2


def test_the_same_event_twice_is_one_notice(project, make_images) -> None:
    make_images(project, 7, state=ImageState.LABELLED, label=project.classes.first())
    left = work_left(project)
    assert note_left(project=project, left=left) is not None
    assert note_left(project=project, left=left) is None
    assert Notice.objects.count() == 1


# --- In the page ------------------------------------------------------------------------------------------------------


def test_each_manager_dismisses_for_themselves(project, manager, make_user, client_of) -> None:
    other = make_user("otto")
    Membership.objects.create(project=project, user=other, role=Role.MANAGER)
    notice = note(project)
    mine, theirs = client_of(manager), client_of(other)
    page = reverse("monitor", args=["signs"])
    for client in (mine, theirs):
        assert "Round 1 failed. It broke." in client.get(page).content.decode()
    for _ in range(2):
        assert mine.post(reverse("notice-dismiss", args=["signs", notice.pk])).status_code == 302
    assert "It broke." not in mine.get(page).content.decode()
    assert "It broke." in theirs.get(page).content.decode()
    assert "It broke." in mine.get(reverse("notices", args=["signs"])).content.decode()
    note(project, "2")
    mine.post(reverse("notices-dismiss", args=["signs"]), {"next": reverse("notices", args=["signs"])})
    assert "unread" not in mine.get(page).content.decode()


def test_a_manager_who_came_later_and_an_annotator_see_none(project, make_user, annotator, client_of) -> None:
    note(project)
    late = make_user("lena")
    Membership.objects.create(project=project, user=late, role=Role.MANAGER)
    html = client_of(late).get(reverse("monitor", args=["signs"])).content.decode()
    assert "It broke." not in html
    for page in (html, client_of(annotator).get(reverse("label", args=["signs"])).content.decode()):
        assert not re.search(r'class="count"(?! hidden)', page)  # the menu of tabs has one for what is in it


def test_it_leads_nowhere_else(project, manager, client_of) -> None:
    notice = note(project)
    url = reverse("notice-dismiss", args=["signs", notice.pk])
    for there in ("https://evil.example/", "//evil.example/", "javascript:alert(1)"):
        assert client_of(manager).post(url, {"next": there}).headers["Location"] == "/p/signs/"


def test_a_notice_of_another_project_is_not_found(project, manager, make_user, client_of) -> None:
    other = Project.objects.create(name="Other", slug="other")
    notice = note(other)
    assert client_of(manager).post(reverse("notice-dismiss", args=["signs", notice.pk])).status_code == 404


def test_queries_do_not_grow_with_the_notices(project, manager, client_of, django_assert_max_num_queries) -> None:
    for number in range(40):
        note(project, str(number))
    client = client_of(manager)
    with django_assert_max_num_queries(8):
        client.get(reverse("notices", args=["signs"]))


# --- By mail ----------------------------------------------------------------------------------------------------------


def test_who_chose_so_gets_one_mail(mailing, make_user, sent, django_capture_on_commit_callbacks) -> None:
    without = make_user("otto", email="otto@example.org")
    Membership.objects.create(project=mailing, user=without, role=Role.MANAGER)
    with django_capture_on_commit_callbacks(execute=True):
        note(mailing)
    assert sent[-1] == (SEND_MAILS,)
    for _ in range(2):
        tasks.send_notice_mails()
    (message,) = mail.outbox
    assert message.to == ["mia@example.org"]
    assert message.subject == "Signs: a round failed"
    assert "It broke." in message.body and "https://label.example.org/p/signs/notices/" in message.body
    assert NoticeMail.objects.get().state == State.SENT


def test_without_a_mail_server_nothing_is_written_or_offered(project, manager, client_of, settings) -> None:
    settings.MAIL_IS_ON = False
    choose_mail(project=project, user=manager, gets_mail=True, address="mia@example.org")
    note(project)
    assert not NoticeMail.objects.exists()
    html = client_of(manager).get(reverse("notices", args=["signs"])).content.decode()
    assert "This site sends no mail" in html and 'name="gets_mail"' not in html


class Away(EmailBackend):
    """A server that cannot be reached as often as a test says."""

    times = 0

    def send_messages(self, messages):
        if Away.times:
            Away.times -= 1
            raise smtplib.SMTPServerDisconnected("gone")
        return super().send_messages(messages)


def test_it_is_tried_again_later_and_then_given_up(mailing, settings, monkeypatch) -> None:
    settings.EMAIL_BACKEND = f"{__name__}.Away"
    Away.times = 1
    note(mailing)
    assert notice_mails.send_mails() == 0
    row = NoticeMail.objects.get()
    assert (row.state, row.attempts) == (State.WAITING, 1)
    assert notice_mails.send_mails() == 0  # not yet due
    NoticeMail.objects.update(not_before=clock.now())
    assert notice_mails.sweep_mails() == 1
    assert notice_mails.send_mails() == 1
    assert len(mail.outbox) == 1
    Away.times = 100
    note(mailing, "2")
    for _ in range(len(notice_mails.PAUSES) + 3):
        NoticeMail.objects.filter(state=State.WAITING).update(not_before=clock.now())
        notice_mails.send_mails()
    assert NoticeMail.objects.get(notice__key="2").state == State.FAILED
    assert NoticeMail.objects.get(notice__key="2").attempts == len(notice_mails.PAUSES) + 1


def test_a_mail_whose_worker_died_in_the_middle_is_never_sent_twice(mailing, monkeypatch) -> None:
    note(mailing)

    def die(self, fail_silently=False):
        EmailBackend().send_messages([self])  # handed over, and then killed
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr("labeler.services.notice_mails.EmailMessage.send", die)
        notice_mails.send_mails()
    assert NoticeMail.objects.get().state == State.SENDING
    notice_mails.sweep_mails()
    assert NoticeMail.objects.get().state == State.SENDING  # it may still be at it
    NoticeMail.objects.update(began_at=clock.now() - timedelta(hours=1))
    notice_mails.sweep_mails()
    assert notice_mails.send_mails() == 0
    assert NoticeMail.objects.get().state == State.UNKNOWN
    assert len(mail.outbox) == 1


def test_two_workers_send_one(mailing, monkeypatch) -> None:
    """The second comes while the first sends."""
    note(mailing)
    send = notice_mails.EmailMessage.send

    def meanwhile(self, fail_silently=False):
        assert notice_mails.send_mails() == 0
        assert not notice_mails._send(NoticeMail.objects.get().pk)
        return send(self)

    monkeypatch.setattr("labeler.services.notice_mails.EmailMessage.send", meanwhile)
    assert notice_mails.send_mails() == 1
    assert len(mail.outbox) == 1


def test_who_changed_their_mind_or_left_gets_none(mailing, manager) -> None:
    note(mailing)
    choose_mail(project=mailing, user=manager, gets_mail=False, address="")
    assert notice_mails.send_mails() == 0
    assert NoticeMail.objects.get().state == State.FAILED
    note(mailing, "2")
    assert NoticeMail.objects.count() == 1


def test_a_name_with_a_line_break_makes_no_header(mailing) -> None:
    Project.objects.filter(pk=mailing.pk).update(name="Signs\nBcc: all@example.org")
    note(fresh(mailing))
    notice_mails.send_mails()
    assert mail.outbox[0].subject == "Signs Bcc: all@example.org: a round failed"
    assert mail.outbox[0].recipients() == ["mia@example.org"]


def test_a_manager_chooses_on_the_page(project, manager, client_of, settings) -> None:
    settings.MAIL_IS_ON = True
    client, page = client_of(manager), reverse("notices", args=["signs"])
    assert "Where to?" in client.post(page, {"gets_mail": "on"}).content.decode()
    assert "An address such as" in client.post(page, {"gets_mail": "on", "address": "nobody"}).content.decode()
    client.post(page, {"gets_mail": "on", "address": "mia@example.org"})
    manager.refresh_from_db()
    assert manager.email == "mia@example.org"
    assert Membership.objects.get(user=manager, project=project).gets_mail
    assert "checked" in client.get(page).content.decode()
    client.post(page, {"address": "mia@example.org"})
    assert not Membership.objects.get(user=manager, project=project).gets_mail
