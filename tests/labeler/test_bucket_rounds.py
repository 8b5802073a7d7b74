"""What people and workers do, on machines that share a database and a bucket alone, with empty folders."""

from __future__ import annotations

import hashlib
import io
import zipfile
from datetime import timedelta

import numpy as np
import pytest
from django.urls import reverse

from labeler import learning, storage, tasks
from labeler.learning.rounds import forget_leftovers
from labeler.models import ExportJob, ImportJob, JobState, Round, RoundState, Trigger
from labeler.round_files import hand_on
from labeler.selectors.charge import why_not_in_charge
from labeler.selectors.reruns import why_no_rerun
from labeler.selectors.scores import prediction_of, summary_of
from labeler.services import claims, leftovers
from labeler.services.exporting import create_export, run_export
from labeler.services.importing import run_import
from labeler.services.rounds import request_round
from labeler.services.uploads import add_part, create_import, finish_upload
from labeler.storage import round_folder
from tests.labeler.bucket_storage import endpoint, on_machine, place
from tests.labeler.imports import check_whole, make_zip, png
from tests.labeler.rounds import answer, begun, open_places
from tests.labeler.scored import five
from tests.labeler.served_models import tiny_export

__all__ = ["endpoint", "on_machine", "place"]  # fixtures
pytestmark = pytest.mark.django_db(transaction=True)


def imported(project, manager, tmp_path, on_machine, count: int = 6) -> ImportJob:
    """Parts come to two web processes, a worker takes them in."""
    data = make_zip(tmp_path / "a.zip", {f"{n}.png": png(n) for n in range(count)}).read_bytes()
    job = create_import(project=project, by=manager)
    for machine, offset, stop in (("web one", 0, 100), ("web two", 100, len(data))):
        on_machine(machine)
        add_part(job=job, name="a.zip", size=len(data), offset=offset, data=data[offset:stop])
    finish_upload(job=job)
    on_machine("worker")
    run_import(job_id=job.pk)
    job.refresh_from_db()
    project.refresh_from_db()
    assert (job.state, job.added, job.error) == (JobState.DONE, count, "")
    return job


def test_an_upload_to_one_machine_is_taken_in_by_another_and_seen_on_a_third(
    project, manager, tmp_path, on_machine, client_of
):
    imported(project, manager, tmp_path, on_machine)
    on_machine("worker two")
    check_whole(project)
    on_machine("web three")
    image = project.images.first()
    url = reverse("media", args=[project.slug, image.pk])
    reply = client_of(manager).get(url)
    assert reply.status_code == 200 and reply.content[:4] == b"\x89PNG"
    assert client_of(manager).get(url, headers={"If-None-Match": reply["ETag"]}).status_code == 304


def test_a_chunk_that_another_machine_began_goes_on(project, manager, tmp_path, on_machine):
    imported(project, manager, tmp_path, on_machine)
    data = make_zip(tmp_path / "b.zip", {f"{n}.png": png(n) for n in range(4, 9)}).read_bytes()
    job = create_import(project=project, by=manager)
    add_part(job=job, name="b.zip", size=len(data), offset=0, data=data)
    finish_upload(job=job)
    on_machine("worker two")
    run_import(job_id=job.pk)
    job.refresh_from_db()
    assert (job.added, job.duplicates) == (3, 2)
    project.refresh_from_db()
    check_whole(project)


def test_a_storage_that_is_away_is_said_on_the_page_and_by_the_api(
    project, manager, tmp_path, on_machine, client_of, settings
):
    imported(project, manager, tmp_path, on_machine)
    on_machine("web")
    settings.STORAGE = settings.STORAGE.__class__("pool", "x", "http://127.0.0.1:9")
    storage._bucket.cache_clear()
    client = client_of(manager)
    client.raise_request_exception = False
    reply = client.get(reverse("media", args=[project.slug, project.images.first().pk]))
    assert reply.status_code == 503 and "storage is away" in reply.content.decode()


def test_an_export_is_served_in_ranges_by_a_machine_that_never_saw_it(
    project, manager, tmp_path, on_machine, client_of
):
    imported(project, manager, tmp_path, on_machine)
    job: ExportJob = create_export(project=project, by=manager, file_format="everything", includes_unlabelled=True)
    run_export(job_id=job.pk)
    job.refresh_from_db()
    assert job.state == JobState.DONE, job.error
    folder = on_machine("web two")
    url = reverse("export-file", args=[project.slug, job.pk])
    whole = b"".join(client_of(manager).get(url).streaming_content)
    assert hashlib.sha256(whole).hexdigest() == job.manifest["sha256"]
    assert len([name for name in zipfile.ZipFile(io.BytesIO(whole)).namelist() if name.endswith(".png")]) == 6
    reply = client_of(manager).get(url, headers={"Range": "bytes=10-19"})
    assert reply.status_code == 206 and b"".join(reply.streaming_content) == whole[10:20]
    assert not [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def pool(project, make_images, on_machine):
    return begun(project, make_images)


def test_each_step_of_a_round_on_a_machine_of_its_own(pool, annotator, sent, on_machine, client_of, manager):
    answer(pool, annotator, 30)
    for number in (1, 2):
        round_ = Round.objects.filter(project=pool, state=RoundState.QUEUED).first() or request_round(
            project=pool, trigger=Trigger.BUTTON, reason="test"
        )
        Round.objects.filter(pk=round_.pk).update(not_before=round_.created_at)
        on_machine(f"fits {number}")
        claim = claims.new_claim("fits")
        learning.fit(round_=claims.claim_fit(round_id=round_.pk, claim=claim))
        on_machine(f"scores {number}")
        round_.refresh_from_db()
        assert learning.score(round_=round_, claim=claims.new_claim("scores")) == 1
        on_machine(f"chooses {number}")
        choosing = claims.claim_acquire(round_id=round_.pk, claim=claims.new_claim("chooses"))
        assert learning.choose(round_=choosing)
        answer(pool, annotator, 6)
    round_.refresh_from_db()
    assert round_.state == RoundState.DONE and round_.verdict["basis"] in ("compared", "too_few")
    assert open_places(pool)
    on_machine("web")
    assert len(summary_of(round_)) == 90
    on_machine("web two")  # the summary is read as the first has written it
    assert len(summary_of(round_)) == 90 and not (round_folder(round_) / "scores").exists()
    assert sum(prediction_of(round_, 3).means) == pytest.approx(1, abs=0.01)
    assert why_not_in_charge(round_) == why_no_rerun(round_) == ""
    page = client_of(manager).get(reverse("round", args=[pool.slug, round_.number]))
    assert page.status_code == 200
    on_machine("again")
    again = learning.rerun.__globals__["run_again"](round_, lambda *_: None)
    assert again["is_equal"], again


def test_a_round_whose_storage_is_away_is_left_to_another(pool, annotator, on_machine, settings):
    answer(pool, annotator, 30)
    round_ = Round.objects.filter(project=pool, state=RoundState.QUEUED).first() or request_round(
        project=pool, trigger=Trigger.BUTTON, reason="test"
    )
    Round.objects.filter(pk=round_.pk).update(not_before=round_.created_at)
    on_machine("cut off")
    there, settings.STORAGE = settings.STORAGE, settings.STORAGE.__class__("pool", "x", "http://127.0.0.1:9")
    tasks.run_round(round_.pk)
    round_.refresh_from_db()
    assert (round_.state, round_.error) == (RoundState.FITTING, "")
    settings.STORAGE = there
    Round.objects.filter(pk=round_.pk).update(heartbeat_at=round_.created_at - timedelta(hours=1))
    claims.give_up_stalled()
    Round.objects.filter(pk=round_.pk).update(not_before=round_.created_at)
    on_machine("another")
    tasks.run_round(round_.pk)
    round_.refresh_from_db()
    assert (round_.state, round_.error) == (RoundState.DONE, "")


def test_files_of_attempts_that_came_to_nothing_go_a_day_later(pool, on_machine, monkeypatch):
    round_ = five_images(pool)
    lost = Round.objects.create(
        project=pool, number=90, trigger=Trigger.BUTTON, reason="test", seed=1, state=RoundState.FAILED,
        folder="rounds/000090-lost",
    )  # fmt: skip
    for each in (round_, lost):
        folder = round_folder(each)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.json").write_text("{}")
        hand_on(each)
    forget_leftovers(pool)
    names = {name for name, _ in storage.every_file()}
    assert any("lost" in name for name in names)
    monkeypatch.setattr("labeler.learning.rounds.KEPT", timedelta(days=-1))
    monkeypatch.setattr(leftovers, "KEPT", timedelta(days=-1))
    forget_leftovers(pool)
    left = {name for name, _ in storage.every_file()}
    assert not any("lost" in name for name in left)
    assert any(round_.folder in name for name in left)


def five_images(pool) -> Round:
    return Round.objects.create(
        project=pool, number=80, trigger=Trigger.BUTTON, reason="test", seed=1, state=RoundState.DONE,
        folder="rounds/000080-kept",
    )  # fmt: skip


def test_scores_that_nobody_handed_on_are_missed_in_words(project, make_images, on_machine):
    make_images(project, 5)
    round_ = five(project)
    on_machine("web")
    from labeler.selectors.scores import NoScores

    with pytest.raises(NoScores, match="cannot be read"):
        summary_of(round_)


def test_a_model_for_new_images_is_asked_where_it_was_not_made(project, make_images, manager, on_machine, client_of):
    export = tiny_export(project, make_images, manager)
    hand_on(export.round)
    on_machine("web")
    from labeler.selectors.served import answering, export_of, open_served

    assert answering(project).export == export and export_of(export.round).ready == export
    said = open_served(export).predict([np.full((12, 12), 255, np.uint8)[None]])
    assert said.mean[0][0] > 0.9
    from labeler.selectors.model_files import model_archive

    on_machine("web two")
    names = zipfile.ZipFile(model_archive(export.round)).namelist()
    assert {"model.json", "model.safetensors", "model.onnx", "arrays.safetensors"} <= set(names)
