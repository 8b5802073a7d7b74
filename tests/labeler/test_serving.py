"""A round's model as a file: made by a worker, kept with the round, asked by the web process about new images."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as Picture

from labeler import storage, tasks
from labeler.imaging.decode import DecodedImage, decode
from labeler.models import JobState, ModelExport, PoolGraph, Round, RoundState, Trigger
from labeler.selectors import served
from labeler.selectors.scores import probabilities_at
from labeler.selectors.served import NotServed, export_of, predict_image, predict_pixels
from labeler.services import graphs, serving
from labeler.services.importing import import_limits
from labeler.services.rounds import RoundRefused, request_round, start_cold_round
from labeler.services.stops import give_back_work
from labeler.storage import round_folder
from labeler.workers import this_worker
from tests.labeler.rounds import answer, paint, tune

pytestmark = pytest.mark.django_db


@pytest.fixture
def fitted(project, make_images, annotator, settings):
    """A round that has learned three kinds of images; by likeness, if that is asked for."""
    settings.LEARNER_THREADS = 1

    def make(*, likeness: bool = False, **values) -> Round:
        make_images(project, 60)
        paint(project)
        tune(project, retrain_every=0, learns_from="likeness" if likeness else "images", **values)
        if likeness:
            job = graphs.request_graph(project=project)
            tasks.make_graph(job.pk)
        start_cold_round(project=project)
        answer(project, annotator, 12)
        round_ = request_round(project=project, trigger=Trigger.BUTTON, reason="a test")
        tasks.run_round(round_.pk)
        round_.refresh_from_db()
        assert (round_.state, round_.error) == (RoundState.DONE, "")
        return round_

    return make


def exported(round_: Round, by) -> ModelExport:
    job = serving.request_model_export(round_=round_, by=by)
    tasks.export_model(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error) == (JobState.DONE, "")
    return job


def pixels_at(project, positions) -> list[np.ndarray]:
    with storage.local_path(project.chunks.get().pixels) as path:
        return list(np.load(path)[positions])


@pytest.mark.parametrize("likeness", [False, True])
def test_the_file_says_of_the_pool_what_the_round_says(fitted, manager, likeness) -> None:
    round_ = fitted(likeness=likeness)
    job = exported(round_, manager)
    said = predict_pixels(job, pixels_at(round_.project, range(60)))
    means, stds = (np.array(each) for each in zip(*(probabilities_at(round_, at) for at in range(60)), strict=True))
    assert np.abs(said.mean - means).max() < (0.1 if likeness else 2e-3)
    assert np.abs(said.std - stds).max() < (0.1 if likeness else 2e-3)
    assert (said.mean.argmax(1) == means.argmax(1)).all()


def as_file(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Picture.fromarray(pixels[0]).save(out, "PNG")
    return out.getvalue()


def test_a_new_image_gets_bars_and_measures(fitted, manager) -> None:
    round_ = fitted()
    job = exported(round_, manager)
    decoded = decode(as_file(pixels_at(round_.project, [7])[0]), import_limits())
    assert isinstance(decoded, DecodedImage)
    said = predict_image(job, decoded)
    means, _ = probabilities_at(round_, 7)
    assert [bar.mean for bar in said.bars] == pytest.approx(sorted(means, reverse=True), abs=2e-3)
    assert {each.name for each in said.measures} >= {"predictive entropy", "mutual information"}
    assert all(0 <= each.percentile <= 100 for each in said.measures)


def test_who_asks_twice_asks_once(fitted, manager) -> None:
    round_ = fitted()
    first = serving.request_model_export(round_=round_, by=manager)
    assert serving.request_model_export(round_=round_, by=manager) == first
    tasks.export_model(first.pk)
    assert serving.request_model_export(round_=round_, by=manager) == first
    state = export_of(round_)
    assert (state.ready, state.made, state.failed, state.why_not) == (first, None, None, "")
    (round_folder(round_) / state.ready.file).unlink()
    assert serving.request_model_export(round_=round_, by=manager) != first


def test_a_round_without_a_model_is_refused_in_words(project, manager) -> None:
    round_ = Round.objects.create(project=project, number=1, trigger=Trigger.BUTTON, reason="", seed=0, state="done")
    with pytest.raises(RoundRefused, match="no model"):
        serving.request_model_export(round_=round_, by=manager)
    round_.folder = "rounds/none"
    with pytest.raises(RoundRefused, match="are gone"):
        serving.request_model_export(round_=round_, by=manager)


def test_of_a_graph_that_is_gone_it_says_so(fitted, manager) -> None:
    round_ = fitted(likeness=True)
    PoolGraph.objects.all().delete()
    job = serving.request_model_export(round_=round_, by=manager)
    tasks.export_model(job.pk)
    job.refresh_from_db()
    assert job.state == JobState.FAILED
    assert "found anew since round" in job.error
    assert export_of(round_).failed == job


def test_a_pool_that_has_grown_since_changes_nothing(fitted, manager, make_images) -> None:
    round_ = fitted(likeness=True)
    before = predict_pixels(exported(round_, manager), pixels_at(round_.project, range(60)))
    project = round_.project
    make_images(project, 9)
    paint(project)  # the same seed: the first images stay
    ModelExport.objects.all().delete()
    after = predict_pixels(exported(round_, manager), pixels_at(project, range(60)))
    assert np.abs(before.mean - after.mean).max() < 1e-5


def test_a_file_that_somebody_changed_is_not_loaded(fitted, manager) -> None:
    job = exported(fitted(), manager)
    served._opened.cache_clear()
    path = round_folder(job.round) / job.file
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(NotServed, match="made again"):
        predict_pixels(job, pixels_at(job.project, [0]))


def test_a_model_that_is_too_large_for_a_web_process_says_so(fitted, manager, settings) -> None:
    job = exported(fitted(), manager)
    settings.SERVED_MAX_BYTES = 1000
    with pytest.raises(NotServed, match="Download it"):
        predict_pixels(job, pixels_at(job.project, [0]))


def test_a_lost_message_and_a_worker_that_stops(fitted, manager, monkeypatch) -> None:
    round_ = fitted()
    job = serving.request_model_export(round_=round_, by=manager)
    ModelExport.objects.filter(pk=job.pk).update(state=JobState.RUNNING, claim=f"{this_worker()} x", attempts=1)
    give_back_work(worker=this_worker())
    job.refresh_from_db()
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)
    tasks.export_model(job.pk)
    tasks.export_model(job.pk)  # a message that comes twice
    job.refresh_from_db()
    assert (job.state, job.attempts) == (JobState.DONE, 1)
