"""A round run again: the same bytes on a CPU, or what differs and what is gone, in words."""

from __future__ import annotations

import os

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from labeler import clock, learning, storage, tasks
from labeler.learning.files import CannotLearn
from labeler.models import Candidate, Image, JobState, LabelClass, PoolGraph, Rerun, Round, RoundState, Trigger, Worker
from labeler.selectors.reruns import TRAINING, rerun_state
from labeler.selectors.verdicts import rerun_words
from labeler.services.leftovers import KEPT, forget_unnamed_files
from labeler.services.reruns import request_rerun
from labeler.services.rounds import RoundRefused, request_round, start_cold_round
from labeler.services.stops import give_back_work
from labeler.storage import round_folder
from tests.labeler.rounds import answer, paint, tune

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def one_thread(settings) -> None:
    settings.LEARNER_THREADS = 1


@pytest.fixture
def pool(project, make_images):
    make_images(project, 60)
    make_images(project, 20, is_holdout=True)
    paint(project)
    tune(project)
    start_cold_round(project=project)
    return project


@pytest.fixture
def round_(pool, annotator) -> Round:
    return done_round(pool, annotator)


def done_round(pool, annotator, **changes: object) -> Round:
    tune(pool, **changes)
    answer(pool, annotator, 9)
    Round.objects.exclude(state=RoundState.DONE).delete()
    Candidate.objects.update(leased_until=None, leased_to=None)
    made = request_round(project=pool, trigger=Trigger.BUTTON, reason="test")
    assert made is not None
    tasks.run_round(made.pk)
    made.refresh_from_db()
    assert (made.state, made.error) == (RoundState.DONE, "")
    return made


def again(round_: Round) -> dict:
    return learning.run_again(Round.objects.select_related("project").get(pk=round_.pk), lambda *_: None)


@pytest.mark.parametrize(
    "changes",
    [{}, {"estimator": "ensemble", "members": 2}, {"estimator": "laplace"}, {"acquisition": "top_epig"}],
    ids=["dropout", "ensemble", "laplace", "epig"],
)
def test_it_comes_out_the_same_to_the_last_bit(pool, annotator, changes) -> None:
    round_ = done_round(pool, annotator, **changes)
    found = again(round_)
    assert found["is_equal"], found["differing"]
    assert (found["differing"], found["scores"], found["largest"]) == ([], 1, 0.0)
    assert found["digest"] == round_.metrics["fit"]["model_digest"]
    assert "Equal, bit for bit" in rerun_words(found)[0]


def test_what_was_answered_named_and_imported_since_does_not_matter(pool, round_, annotator, make_images) -> None:
    """The chunk has grown, and has another file; the old one is gone."""
    old = round_.chunks.get().pixels
    Image.objects.filter(project=pool, is_holdout=False, position__lt=30).update(
        state="labelled", label=pool.classes.last()
    )
    LabelClass.objects.create(project=pool, name="fox", colour="#000000", order=0)
    chunk = pool.chunks.get()
    with storage.local_path(chunk.pixels) as path:
        pixels = np.load(path)
    make_images(pool, 15)
    chunk.refresh_from_db()
    chunk.pixels = storage.new_name(pool, "pixels", "npy")
    grown = np.concatenate([pixels, pixels[:15]])
    storage.write_once(chunk.pixels, lambda file: np.save(file, grown, allow_pickle=False))
    chunk.save()
    storage.delete(old)
    found = again(round_)
    assert found["is_equal"], found


def test_another_training_file_is_told_and_nothing_is_run(round_) -> None:
    path = round_folder(round_) / TRAINING
    arrays = dict(np.load(path))
    arrays["labels"][0] = next(pk for pk in round_.classes if pk != arrays["labels"][0])
    np.savez(path, **arrays)
    found = again(round_)
    assert found == {"is_equal": False, "training": False}
    assert "what the round learned from is not what it was" in rerun_words(found)[0]


def test_images_that_a_label_could_be_passed_on_to_are_part_of_it(round_) -> None:
    path = round_folder(round_) / TRAINING
    arrays = dict(np.load(path))
    arrays["open"][0] ^= 1
    np.savez(path, **arrays)
    assert again(round_)["training"] is False


def test_pixels_that_are_others_now_make_another_model_and_it_says_so(pool, round_) -> None:
    name = round_.chunks.get().pixels
    with storage.local_path(name) as path:
        pixels = np.load(path)
        pixels[:, :, 0] ^= 255
        np.save(path, pixels)
    found = again(round_)
    assert not found["is_equal"] and not found["images"]
    assert found["digest"] != found["digest_then"]
    words = " ".join(rerun_words(found))
    assert "Different:" in words and "scores/000000.npz" in words
    assert "The images that it learned from, as the learner sees them, are not those of then." in words
    assert found["largest"] > 0


def test_a_score_file_that_was_changed_is_found_alone(round_) -> None:
    path = round_folder(round_) / "scores" / "000000.npz"
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    found = again(round_)
    assert (found["is_equal"], found["differing"]) == (False, ["scores/000000.npz"])
    assert "The model itself is the same." in rerun_words(found)


def test_what_is_gone_is_named(pool, round_) -> None:
    name = round_.chunks.get().pixels
    storage.delete(name)
    with pytest.raises(CannotLearn, match=f"The pixels of chunk 0 as round {round_.number} read them are gone"):
        again(round_)
    (round_folder(round_) / TRAINING).write_bytes(b"no zip")
    with pytest.raises(CannotLearn, match="is damaged"):
        again(round_)
    (round_folder(round_) / TRAINING).unlink()
    with pytest.raises(CannotLearn, match="is missing"):
        again(round_)
    assert "was not kept" in rerun_state(round_).why_not
    with pytest.raises(RoundRefused):
        request_rerun(round_=round_, by=round_.project.created_by)


def test_a_round_that_learned_from_likeness_needs_its_graph(pool, annotator) -> None:
    graph = learned_graph(pool)
    round_ = done_round(pool, annotator, learns_from="likeness", propagation=True)
    assert round_.config["has_likeness"] and round_.config["graph"] == graph.pk
    found = again(round_)
    assert found["is_equal"], found
    newer = learned_graph(pool)
    assert PoolGraph.objects.filter(pk=graph.pk).exists()  # the model in charge learned from it
    Round.objects.filter(pk=round_.pk).update(standing="")
    pool.model_round = None
    pool.save()
    newest = learned_graph(pool)
    assert list(PoolGraph.objects.values_list("pk", flat=True)) == [newest.pk] != [newer.pk]
    with pytest.raises(CannotLearn, match="Which images look alike has been found anew since"):
        again(round_)


def learned_graph(pool) -> PoolGraph:
    job = PoolGraph.objects.create(project=pool, images=80)
    tasks.make_graph(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error) == (JobState.DONE, "")
    return job


def test_the_files_that_the_model_in_charge_read_are_kept(pool, round_) -> None:
    old, unnamed = (storage.new_name(pool, "pixels", "npy") for _ in range(2))
    for name in (old, unnamed):
        storage.write_once(name, b"pixels")
    round_.chunks.update(pixels=old)  # the chunk has grown since
    Round.objects.filter(pk=round_.pk).update(finished_at=round_.finished_at - 2 * KEPT)
    for name in (old, unnamed):
        long_ago = (clock.now() - 2 * KEPT).timestamp()
        os.utime(storage.default_storage.path(name), (long_ago, long_ago))
    assert forget_unnamed_files(pool) == 1
    assert storage.names_in(f"projects/{pool.pk}/pixels") == [old]
    pool.model_round = None
    pool.save()
    assert forget_unnamed_files(pool) == 1


class TestJob:
    def test_a_worker_runs_it_and_the_page_says_what_came_of_it(
        self, round_, manager, client_of, sent, django_capture_on_commit_callbacks
    ) -> None:
        client, url = client_of(manager), f"/p/signs/rounds/{round_.number}/"
        assert "Run again and compare" in client.get(url).content.decode()
        sent.clear()
        with django_capture_on_commit_callbacks(execute=True):
            assert client.post(url + "rerun/").headers["Location"] == url + "#rerun"
        assert client.post(url + "rerun/").status_code == 302  # the second click finds it under way
        job = Rerun.objects.get()
        assert ("background.rerun", job.pk) in sent
        page = client.get(url).content.decode()
        assert "It waits for a worker." in page and "Run again and compare" not in page
        assert "every 2s" in page
        Worker.objects.create(name="background@here", queues="background", doing="training a network")
        assert "It waits for a worker, which is training a network just now." in client.get(url).content.decode()
        Worker.objects.update(doing="fitting round 7 of Secret cats")
        page = client.get(url).content.decode()
        assert "which is working on something else just now." in page and "Secret" not in page
        tasks.rerun(job.pk)
        job.refresh_from_db()
        assert (job.state, job.error) == (JobState.DONE, "")
        page = client.get(url).content.decode()
        assert "Equal, bit for bit" in page and "mia had it run again" in page
        assert "every 2s" not in page

    def test_it_can_be_stopped_and_given_back(self, round_, manager, client_of) -> None:
        job = request_rerun(round_=round_, by=manager)
        assert request_rerun(round_=round_, by=manager) is None
        Rerun.objects.filter(pk=job.pk).update(state=JobState.RUNNING, claim="background@here x", attempts=1)
        assert give_back_work(worker="background@here") == 1
        job.refresh_from_db()
        assert (job.state, job.attempts) == (JobState.QUEUED, 0)
        client_of(manager).post(f"/p/signs/rounds/{round_.number}/rerun/stop/")
        job.refresh_from_db()
        assert job.state == JobState.CANCELLED

    def test_what_is_gone_stands_on_the_page(self, round_, manager, client_of) -> None:
        storage.delete(round_.chunks.get().pixels)
        job = request_rerun(round_=round_, by=manager)
        tasks.rerun(job.pk)
        page = client_of(manager).get(f"/p/signs/rounds/{round_.number}/").content.decode()
        assert "It could not be run again. The pixels of chunk 0" in page
        assert "Run again and compare" in page

    def test_a_newer_result_takes_the_place_of_the_older(self, round_, manager) -> None:
        for _ in range(2):
            tasks.rerun(request_rerun(round_=round_, by=manager).pk)
        assert Rerun.objects.count() == 1


class TestCommand:
    def test_it_says_that_all_is_equal(self, round_, capsys) -> None:
        call_command("rerun", "signs", round_.number)
        assert "Equal, bit for bit" in capsys.readouterr().out

    def test_it_fails_where_something_differs_or_is_not_there(self, round_) -> None:
        path = round_folder(round_) / "scores" / "000000.npz"
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(CommandError, match="Different: 1 of"):
            call_command("rerun", "signs", round_.number)
        with pytest.raises(CommandError, match="There is no round 99"):
            call_command("rerun", "signs", 99)
        with pytest.raises(CommandError, match="no model to run again"):
            call_command("rerun", "signs", 1)
        storage.delete(round_.chunks.get().pixels)
        with pytest.raises(CommandError, match="are gone"):
            call_command("rerun", "signs", round_.number)
