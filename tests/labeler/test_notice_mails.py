"""Notices by mail, over a real connection: what a server does with them, and what people are told then."""

from __future__ import annotations

import socket
import time
from datetime import timedelta

import pytest
from django.urls import reverse

from labeler import clock
from labeler.models import Membership, Notice, NoticeKind, NoticeMail, Role
from labeler.services import notice_mails
from labeler.services.notices import choose_mail, notify
from tests.mail_server import MailServer, Mood, mail_server

State = NoticeMail.State
TIMEOUT = 0.5


@pytest.fixture
def server():
    with mail_server() as server:
        yield server


@pytest.fixture
def mailing(settings, project, manager, server):
    settings.MAIL_IS_ON, settings.SITE_URL = True, "https://label.example.org/"
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
    settings.EMAIL_USE_TLS, settings.EMAIL_TIMEOUT = False, TIMEOUT
    choose_mail(project=project, user=manager, gets_mail=True, address="mia@example.org")
    return project


def note(project, key: str = "1") -> Notice:
    notice = notify(project=project, kind=NoticeKind.ROUND_FAILED, key=key, words="Round 1 failed. Größe: 5 µm.")
    assert notice is not None
    return notice


def due_again() -> None:
    NoticeMail.objects.filter(state=State.WAITING).update(not_before=clock.now() - timedelta(seconds=1))


def page_of(client) -> str:
    return client.get(reverse("notices", args=["signs"])).content.decode()


def test_it_arrives_once_and_can_be_read(mailing, server, client_of, manager) -> None:
    notice = note(mailing)
    assert notice_mails.send_mails() == 1
    assert notice_mails.send_mails() == 0
    (letter,) = server.received
    assert (letter["To"], letter["Subject"]) == ("mia@example.org", "Signs: a round failed")
    assert "Größe: 5 µm." in letter.get_content()
    assert "https://label.example.org/p/signs/" in letter.get_content()
    assert letter["Message-ID"].startswith(f"<notice-{notice.pk}-")
    assert "mail sent" in page_of(client_of(manager))


@pytest.mark.parametrize(
    ("mood", "words"),
    [
        (Mood.NO_SUCH_PERSON, "takes no mail for mia@example.org: 550 no such mailbox here"),
        (Mood.REFUSES_DATA, "refused it: 554 it looks like spam"),
        (Mood.BUSY, "refused it: 421 too many connections"),
        (Mood.HANGS_UP, "ended the connection in the middle."),
        (Mood.SILENT, "did not answer within 0.5 seconds."),
        (Mood.SILENT_AFTER_DATA, "did not answer within 0.5 seconds."),
    ],
)
def test_what_goes_wrong_is_said_and_nothing_is_lost(mailing, server, client_of, manager, mood, words) -> None:
    server.mood = mood
    note(mailing)
    started = time.monotonic()
    assert notice_mails.send_mails() == 0
    assert time.monotonic() - started < 20 * TIMEOUT
    row = NoticeMail.objects.get()
    assert (row.state, row.attempts, row.not_before > clock.now()) == (State.WAITING, 1, True)
    html = page_of(client_of(manager))
    assert "Round 1 failed. Größe: 5 µm." in html
    assert f"The mail server (127.0.0.1) {words}" in html
    server.mood = Mood.TAKES
    assert notice_mails.send_mails() == 0  # not yet due
    due_again()
    assert notice_mails.send_mails() == 1
    assert len(server.received) == 1
    row.refresh_from_db()
    assert (row.state, row.error) == (State.SENT, "")


def test_a_server_that_is_not_there_is_named(mailing, settings, client_of, manager) -> None:
    with socket.socket() as probe:  # bound, but nobody listens
        probe.bind(("127.0.0.1", 0))
        settings.EMAIL_PORT = probe.getsockname()[1]
        note(mailing)
        assert notice_mails.send_mails() == 0
    assert "The mail server (127.0.0.1) cannot be reached: " in page_of(client_of(manager))
    assert NoticeMail.objects.get().state == State.WAITING


def several(project, make_user, count: int) -> None:
    for number in range(count):
        user = make_user(f"m{number}", email=f"m{number}@example.org")
        Membership.objects.create(project=project, user=user, role=Role.MANAGER, gets_mail=True)


@pytest.mark.parametrize("mood", [Mood.SILENT, Mood.HANGS_UP, Mood.BUSY])
def test_one_that_hangs_is_asked_once_and_the_others_wait(mailing, server, make_user, mood) -> None:
    several(mailing, make_user, 4)
    server.mood = mood
    note(mailing)
    assert notice_mails.send_mails() == 0
    assert server.connections == 1
    assert notice_mails.sweep_mails() == 0
    assert sorted(NoticeMail.objects.values_list("attempts", flat=True)) == [0, 0, 0, 0, 1]
    server.mood = Mood.TAKES
    due_again()
    assert notice_mails.send_mails() == 5
    assert {letter["To"] for letter in server.received} >= {"mia@example.org", "m0@example.org", "m3@example.org"}


def test_a_refusal_of_one_address_holds_up_nobody(mailing, server: MailServer, make_user) -> None:
    several(mailing, make_user, 2)
    server.mood = Mood.NO_SUCH_PERSON
    note(mailing)
    assert notice_mails.send_mails() == 0
    assert server.connections == 3
    assert sorted(NoticeMail.objects.values_list("attempts", flat=True)) == [1, 1, 1]


def test_given_up_after_the_last_attempt_the_notice_still_stands(mailing, server, client_of, manager) -> None:
    server.mood = Mood.REFUSES_DATA
    note(mailing)
    for _ in range(len(notice_mails.PAUSES) + 2):
        due_again()
        notice_mails.send_mails()
    row = NoticeMail.objects.get()
    assert (row.state, row.attempts) == (State.FAILED, len(notice_mails.PAUSES) + 1)
    html = page_of(client_of(manager))
    assert "mail not sent: The mail server (127.0.0.1) refused it: 554 it looks like spam" in html
    assert "Round 1 failed." in html
