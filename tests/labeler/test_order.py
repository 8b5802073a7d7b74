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
