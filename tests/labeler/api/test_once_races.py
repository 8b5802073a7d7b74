"""The same request from several threads at the same moment, on the real database."""

from __future__ import annotations

import pytest

from labeler.models import ApiReply, AuditEntry, LabelClass
from tests.labeler.test_people_races import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def test_of_one_key_sent_at_once_one_does_it_and_all_hear_the_same(project, as_manager):
    def work() -> tuple[int, bytes]:
        reply = as_manager.post("/projects/signs/classes", {"names": ["elk", "fox"]}, Idempotency_Key="one")
        return reply.status_code, reply.content

    results = at_once(*[work] * 5)
    assert set(results) == {results[0]} and results[0][0] == 201, results
    assert LabelClass.objects.filter(name__in=["elk", "fox"]).count() == 2
    assert AuditEntry.objects.count() == ApiReply.objects.count() == 1


def test_of_two_requests_with_one_key_one_is_refused(project, as_manager):
    def work(name: str) -> int:
        return as_manager.post("/projects/signs/classes", {"names": [name]}, Idempotency_Key="two").status_code

    assert sorted(at_once(lambda: work("elk"), lambda: work("fox"))) == [201, 409]
    assert LabelClass.objects.filter(name__in=["elk", "fox"]).count() == 1
