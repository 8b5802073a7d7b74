"""Exports by the API: cancelled, deleted, and the manifest."""

from __future__ import annotations

import pytest

from labeler.models import AuditEntry, ExportJob, JobState

EXPORTS = "/projects/signs/exports"


@pytest.fixture
def export(project, manager):
    manifest = {"rows": 3, "sha256": "ab"}
    return ExportJob.objects.create(
        project=project, created_by=manager, format="csv", state=JobState.DONE, manifest=manifest
    )


def test_the_manifest_of_one_that_is_done(as_manager, export):
    assert as_manager.get(f"{EXPORTS}/{export.pk}/manifest").json() == {"rows": 3, "sha256": "ab"}
    ExportJob.objects.update(state=JobState.RUNNING)
    reply = as_manager.get(f"{EXPORTS}/{export.pk}/manifest")
    assert reply.status_code == 409 and "no file yet" in reply.json()["detail"]


def test_one_that_waits_is_cancelled_and_then_deleted(as_manager, export):
    pk = as_manager.post(EXPORTS, {"format": "csv"}).json()["id"]
    refused = as_manager.send("DELETE", f"{EXPORTS}/{pk}")
    assert refused.status_code == 409 and "Cancel it first" in refused.json()["detail"]
    for _ in range(2):
        assert as_manager.post(f"{EXPORTS}/{pk}/cancel").json()["state"] == "cancelled"
    assert AuditEntry.objects.filter(words__startswith=f"stopped export {pk}").count() == 1
    assert as_manager.send("DELETE", f"{EXPORTS}/{pk}").status_code == 204
    assert as_manager.get(f"{EXPORTS}/{pk}").status_code == 404
    assert as_manager.post(f"{EXPORTS}/{export.pk}/cancel").json()["state"] == "done"
