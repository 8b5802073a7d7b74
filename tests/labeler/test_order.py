"""benchmarks/order.py in short: many people at once, and a checker that reads what the database logged."""

from __future__ import annotations

import pytest
from django.db import connection

from benchmarks import ledger, order
from labeler.services import lease


@pytest.fixture
def run(settings, transactional_db):
    settings.LEASE_SECONDS = 1

    def run(*, overlap: int, leases: int = 150, clients: int = 6) -> ledger.Findings:
        order.make_project(people=order.people_of(clients), images=400, overlap=overlap, budget=60)
        with order.logged():
            errors = order.in_threads(clients=clients, leases=leases, seed=overlap, every=0.6)
            entries = ledger.read(connection)
        assert errors == []
        return ledger.check(entries, overlap=overlap)

    return run


@pytest.mark.parametrize("overlap", [1, 3])
def test_every_lease_is_the_best_free_place(run, overlap) -> None:
    findings = run(overlap=overlap)
    assert findings.violations == []
    assert findings.leases > 50
    assert findings.places_compared > 0


@pytest.mark.parametrize(("ends", "is_too_many"), [("00:00:01", False), ("00:00:09", True)])
def test_a_place_given_back_by_an_undo_counts_who_is_there_then(ends, is_too_many) -> None:
    """Its `leased_at` is that of the first time, when others may have been there who are gone."""

    def entry(kind: str, row: int, person: int | None, state: str, until: str | None = None, **more) -> ledger.Entry:
        numbers.append(len(numbers) + 1)
        values = {"since": "00:00:00", "rank": row, "slot": 0, "round": 1, "wrote": "00:00:05"} | more
        return ledger.Entry(
            id=numbers[-1], kind=kind, row=row, image=1, person=person, state=state, until=until, **values
        )

    numbers: list[int] = []
    entries = [
        *(entry("place", row, None, "open") for row in (1, 2, 3)),
        entry("queue", 1, None, ""),
        entry("place", 1, 7, "open", "00:00:03"),
        entry("place", 1, None, "answered"),
        entry("answer", 1, 7, "label"),
        *(entry("place", row, person, "open", ends, since="00:00:00.5") for row, person in ((2, 8), (3, 9))),
        entry("answer", 1, 7, "label", "00:00:05"),
        entry("answer", 2, 7, "undo"),
        entry("place", 1, 7, "open", "00:00:08"),
    ]
    findings = ledger.check(entries, overlap=2)
    assert findings.undone == 1
    assert [words for words in findings.violations if "3 people" in words] == (
        ["entry 12: round 1, rank 1, slot 0 leased to 7: makes 3 people on one image"] if is_too_many else []
    )


@pytest.mark.parametrize(
    ("sound", "broken", "words"),
    [
        ("ORDER BY c.rank, c.slot", "ORDER BY c.rank DESC, c.slot", "is worse than"),
        ("c.leased_until <= %(now)s)", "c.leased_until <= %(until)s)", "was not free"),
        ("AND a.retracted_at IS NULL", "AND a.retracted_at IS NOT NULL", "was not for this person"),
    ],
)
def test_the_checker_finds_a_statement_that_is_wrong(run, monkeypatch, sound, broken, words) -> None:
    assert sound in lease.CLAIM
    monkeypatch.setattr(lease, "CLAIM", lease.CLAIM.replace(sound, broken))
    overlap = 3 if "retracted" in sound else 1
    assert any(words in violation for violation in run(overlap=overlap, leases=100, clients=4).violations)
