"""Sentences that are kept are English to programs, and in the reader's language on pages."""

from __future__ import annotations

import copy
import pickle

import pytest
from django.template import Context, Template
from django.utils.translation import override

from labeler.models import AuditEntry, AuditKind, Project, Round, Trigger
from labeler.services import audit
from labeler.services.table_rows import read_rows, write_rows
from labeler.told import Told, amount, from_kept, keep, ntold, said, together, told, told_word


def german(words: str) -> str:
    with override("de"):
        return said(words)


def test_it_is_its_english_text_and_is_said_in_the_language_of_who_reads() -> None:
    words = ntold("%(count)s new answer", "%(count)s new answers", 1200)
    assert words == "1,200 new answers" and german(words) == "1.200 neue Antworten"
    assert german(ntold("%(count)s new answer", "%(count)s new answers", 1)) == "1 neue Antwort"
    with override("de"):
        assert ntold("%(count)s new answer", "%(count)s new answers", 1200) == "1,200 new answers"


def test_it_holds_other_sentences_lists_and_amounts() -> None:
    words = together(told("took back: %(change)s", change=told("archived “%(name)s”", name="owl")), told("Cancelled."))
    assert words == "took back: archived “owl” Cancelled."
    assert german(words) == "zurückgenommen: „owl“ archiviert Abgebrochen."
    size = told("It has more than %(most)s GiB.", most=amount(1234.56, 1))
    assert size == "It has more than 1,234.6 GiB." and "1.234,6" in german(size)
    assert told("added %(names)s", names=["a", "b"]) == "added a, b"


@pytest.mark.parametrize(
    "words",
    [
        told("archived “%(name)s”", name="owl"),
        ntold("%(count)s new answer", "%(count)s new answers", 7),
        together(told("Cancelled."), "plain"),
        told("It has more than %(most)s GiB.", most=amount(2.5, 1)),
        told("added %(names)s", names=[told("“%(name)s”", name="owl"), "x"]),
        told_word("skipped"),
        "plain words, {} and %",
    ],
)
def test_it_comes_back_from_where_it_was_kept(words: str) -> None:
    for again in (from_kept(keep(words)), copy.deepcopy(words), pickle.loads(pickle.dumps(words))):
        assert again == words and type(again) is type(words) and german(again) == german(words)


@pytest.mark.parametrize("typed", ["a\x1f", "a\x1f{", 'a\x1f{"id": "%(x)s"}', "a\x1f[]", 'a\x1f{"id": 3}', 'a\x1f"x"'])
def test_what_somebody_typed_is_never_taken_for_one(typed: str) -> None:
    assert isinstance(from_kept(typed), str)
    german(from_kept(typed))


def test_what_databases_refuse_does_not_get_into_it() -> None:
    words = told("archived “%(name)s”", name="a\0b\x1fc\ud800")
    assert words == "archived “a\ufffdb\ufffdc\ufffd”" and from_kept(keep(words)) == words


def test_an_exception_keeps_it() -> None:
    words = str(ValueError(told("archived “%(name)s”", name="owl")))
    assert isinstance(words, Told)


def test_a_template_says_it_escaped(db) -> None:
    words = told("archived “%(name)s”", name="<b>")
    template = Template("{{ words }}")
    assert template.render(Context({"words": words})) == "archived “&lt;b&gt;”"
    with override("de"):
        assert template.render(Context({"words": words})) == "„&lt;b&gt;“ archiviert"


def test_a_row_keeps_it_and_so_does_a_backup(project: Project) -> None:
    audit.record(project=project, by=None, kind=AuditKind.CLASSES, words=told("archived “%(name)s”", name="owl"))
    row = AuditEntry.objects.get(words__startswith="archived “owl”")
    assert row.words == "archived “owl”" and german(row.words) == "„owl“ archiviert"
    rows = list(read_rows(model=AuditEntry, using="default"))
    AuditEntry.objects.all()._raw_delete("default")
    write_rows(model=AuditEntry, rows=rows, using="default")
    assert german(AuditEntry.objects.get(pk=row.pk).words) == "„owl“ archiviert"
    reason = ntold("%(count)s new answer", "%(count)s new answers", 3)
    round_ = Round.objects.create(project=project, number=1, trigger=Trigger.ANSWERS, reason=reason, seed=0)
    Round.objects.filter(pk=round_.pk).update(error=told("Cancelled."))
    round_.refresh_from_db()
    assert (german(round_.reason), german(round_.error)) == ("3 neue Antworten", "Abgebrochen.")


def test_texts_in_sentences_within_sentences_are_changed_too() -> None:
    inner = told("No class is called %(name)s.", name="a\x07b")
    whole = told("Row %(number)s: %(why)s", number=2, why=inner)
    assert whole.with_texts(lambda text: text.replace("\x07", "?")) == "Row 2: No class is called a?b."
