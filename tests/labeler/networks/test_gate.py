"""A network that takes over or is refused, and the way back."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from django.core.files.storage import default_storage
from django.urls import reverse
from django.utils.translation import override

from labeler import clock, storage, tasks
from labeler.learning.pool import is_taught
from labeler.models import (
    Chunk,
    ChunkFeatures,
    Image,
    ImageState,
    JobState,
    LabelClass,
    PoolFeatures,
    PoolGraph,
    PoolNetwork,
    Round,
    RoundState,
    Trigger,
)
from labeler.selectors import networks as selected
from labeler.selectors.features import ready_features, wanted_representation
from labeler.selectors.graphs import current_graph
from labeler.services import features, graphs, networks
from labeler.services.leftovers import forget_unnamed_files
from labeler.services.projects import change_learning
from labeler.told import said
from learner import gate, trial
from tests.labeler.networks.conftest import N, asked, files, label, page, trained
from tests.labeler.queues import fresh
from tests.labeler.rounds import paint

pytestmark = pytest.mark.django_db

BESIDE_PIXELS = "neighbours by pixels beside"


def test_one_that_is_accepted_takes_over_whole(
    pool, manager, client_of, sent, django_capture_on_commit_callbacks
) -> None:
    label(pool, range(40, 46))
    before = current_graph(pool)
    with django_capture_on_commit_callbacks(execute=True):
        job = asked(pool)
        label(pool, range(60, 64))  # while it is being trained
        tasks.train_network(job.pk)
    job.refresh_from_db()
    assert job.is_accepted is True, job.evidence
    assert (job.answers, job.evidence["holdout"], job.evidence["since"], job.evidence["n"]) == (21, 12, 4, 16)
    assert job.evidence["new_right"] == 16 and job.evidence["agreement"]["value"] > 0.97
    pool = fresh(pool)
    assert wanted_representation(pool).network == job.pk
    used, graph = ready_features(pool), current_graph(pool)
    assert used.network == job and graph.features == used and graph != before
    assert graph.reason.startswith(f"features of network {job.pk}, vectors of 128 features")
    assert BESIDE_PIXELS in graph.reason
    with override("de"):
        assert said(graph.reason).startswith(f"Merkmale von Netz {job.pk}, Vektoren aus 128 Merkmalen")
    with storage.local_path(ChunkFeatures.objects.get().file) as path:
        assert np.load(path, allow_pickle=False).shape == (N + 12, 128)
    assert graphs.sweep_graphs() == features.sweep_features() == 0  # it is all there
    round_ = Round.objects.first()
    assert (round_.trigger, round_.reason) == (Trigger.NETWORK, "a network has taken over")
    tasks.run_round(round_.pk)
    round_.refresh_from_db()
    assert (round_.state, round_.config["features"]) == (RoundState.DONE, f"network {job.pk}"), round_.error
    text = page(client_of(manager))
    assert f"seen by <strong>network {job.pk}</strong>, trained on 21 labels" in text
    assert f"Network {job.pk} was accepted" in text
    assert "(12 of the holdout, 4 answered after it began), it is right about 16, the model before about 16" in text
    monitor = client_of(manager).get(reverse("monitor", args=["signs"])).content.decode()
    assert f"network {job.pk} was accepted" in monitor and "images that look alike" not in monitor
    assert not files(pool, "networks") - {job.file}


def test_one_that_is_refused_changes_nothing_and_says_why(pool, worse, manager, client_of) -> None:
    before, kept = current_graph(pool), files(pool, "features", "graphs", "networks")
    job = trained(pool)
    assert job.is_accepted is False
    assert job.evidence["objections"] == ["fewer_right", "disagrees", "forgets", "shifted"]
    pool = fresh(pool)
    assert current_graph(pool) == before and pool.learning.network is None
    assert not ChunkFeatures.objects.exists() and not PoolFeatures.objects.exists()
    assert files(pool, "features", "graphs", "networks") == kept
    assert Round.objects.filter(trigger=Trigger.NETWORK).count() == 0
    text = page(client_of(manager))
    names = list(pool.classes.values_list("name", flat=True))
    assert f"Network {job.pk} was <strong>refused</strong>: it is right about 4 of 12 measured images" in text
    assert f"it hardly ever says {names[1]}, {names[2]}" in text
    assert "difference of <span" in text and "kept back from it, it gives" in text


def test_photographs_are_learned_without_a_graph_and_judged_by_answers_that_were_kept_back(
    photographs, manager, client_of, monkeypatch
) -> None:
    """Of the images that were answered, the present model is made to be wrong about all."""
    pool = photographs
    predict = trial.predict_classes

    def predict_classes(request, positions, **kwargs):
        found = predict(request, positions, **kwargs)
        return (found + 1) % 3 if request.directory.name == "present" else found

    monkeypatch.setattr(trial, "predict_classes", predict_classes)
    job = trained(pool)
    assert (job.evidence["kept"], job.evidence["holdout"], job.evidence["n"]) == (8, 0, 8)
    assert job.evidence["teaches_itself"] and job.evidence["agreement"] is None
    assert job.is_accepted and job.evidence["is_proven"], job.evidence
    assert BESIDE_PIXELS not in current_graph(pool).reason  # pixels of photographs say little
    text = page(client_of(manager))
    assert "(0 of the holdout, 8 kept back, 0 answered after it began)" in text
    assert "and what it is sure of itself" in text and "leave little doubt and were kept back" not in text
    monkeypatch.setattr(trial, "predict_classes", predict)
    label(pool, range(40, 60))
    again = trained(fresh(pool))
    assert again.is_accepted is False and "unproven" in again.evidence["objections"]
    assert "the answers that can prove it, of the holdout and kept back, do not show yet that it is better" in page(
        client_of(manager)
    )


def test_one_that_does_not_know_a_class_which_people_found_meanwhile_is_refused(pool, manager, client_of) -> None:
    """It took the images of that class for others, and its features with them."""
    third = LabelClass.objects.filter(project=pool)[2]
    Image.objects.filter(label=third).update(state=ImageState.POOL, label=None)
    job = asked(pool)
    Image.objects.filter(position=2).update(state=ImageState.LABELLED, label=third)
    tasks.train_network(job.pk)
    job.refresh_from_db()
    assert job.is_accepted is False and job.evidence["newer"] == [third.pk]
    assert f"people have found {third.name}, which it does not know" in page(client_of(manager))
    assert selected.answers_for_next(fresh(pool)) == job.answers + 1  # the next one does not wait


def test_of_few_images_no_difference_is_told(pool, manager, client_of) -> None:
    """Two images of which both are right about two: 0.0 points ± 69.3."""
    evidence = {"n": 2, "holdout": 1, "kept": 0, "since": 1, "new_right": 2, "old_right": 2, "is_proven": False,
                "difference": {"value": 0.0, "low": -0.693, "high": 0.693, "n": 2}, "agreement": None}  # fmt: skip
    job = asked(pool)
    changed = PoolNetwork.objects.filter(pk=job.pk)
    changed.update(state=JobState.DONE, is_accepted=True, evidence=evidence)
    client = client_of(manager)
    text = page(client)
    assert "Of 2 images whose labels nobody had learned from (1 of the holdout, 1 answered after it began)" in text
    assert ") it is right about 2, the model before about 2: too few to say which is better." in text
    assert "a difference of" not in text and "69.3" not in text
    changed.update(evidence=evidence | {"is_proven": True})  # so few, and yet all on one side
    assert "a difference of" in page(client) and "too few to say" not in page(client)
    changed.update(evidence=evidence | {"n": 10})
    assert "a difference of" in page(client) and "too few to say" not in page(client)


def test_every_objection_has_words() -> None:
    evidence = {
        "objections": [*gate.OBJECTIONS, "outdated"],
        "newer": [1],
        "n": 9,
        "old_right": 8,
        "new_right": 7,
        "forgotten": [3],
        "shift": 0.2,
    }
    words = selected.objections_in_words(evidence, {3: "owl"})
    assert len(words) == len(gate.OBJECTIONS) + 1
    assert "right about 7 of 9 measured images, the present model about 8" in words[0] and "owl" in " ".join(words)


def test_without_any_label_to_measure_by_the_rest_decides(pool) -> None:
    Image.objects.filter(is_holdout=True).update(state=ImageState.POOL, label=None)
    job = trained(pool)
    assert job.is_accepted is True
    assert (job.evidence["n"], job.evidence["difference"]) == (0, None)


def test_a_manager_goes_back_and_takes_it_again(pool, manager, client_of) -> None:
    client, job = client_of(manager), trained(pool)
    assert "Go back to pixels" in page(client)
    client.post(reverse("network-leave", args=["signs"]))
    pool = fresh(pool)
    assert pool.learning.network is None and not pool.learning.trains_network
    assert graphs.sweep_graphs() == 1
    tasks.make_graph(PoolGraph.objects.first().pk)
    assert current_graph(pool).features is None and BESIDE_PIXELS not in current_graph(pool).reason
    assert networks.sweep_networks() == 0
    assert f"Use network {job.pk} again" in page(client)
    client.post(reverse("network-take", args=["signs", job.pk]))
    pool = fresh(pool)
    assert graphs.sweep_graphs() == 1
    tasks.make_graph(PoolGraph.objects.first().pk)
    assert current_graph(pool).features.network == job and BESIDE_PIXELS in current_graph(pool).reason
    refused = asked(pool)
    client.post(reverse("network-take", args=["signs", refused.pk]))
    assert fresh(pool).learning.network == job


def test_pixels_are_beside_features_of_the_network_in_use_alone(pool) -> None:
    job = trained(pool)
    pool = fresh(pool)
    assert is_taught(pool, ready_features(pool)) and ready_features(pool).network == job
    assert not is_taught(pool, PoolFeatures(project=pool, backbone="efficientnet_lite0"))  # until its own are there
    assert not is_taught(pool, None)


def test_who_chooses_what_images_are_seen_by_leaves_the_network(pool) -> None:
    trained(pool)
    change_learning(project=fresh(pool), values={"budget": 9, "representation": "auto"})
    assert fresh(pool).learning.network is not None
    change_learning(project=fresh(pool), values={"representation": "pixels"})
    assert fresh(pool).learning.network is None


def test_images_that_come_later_are_seen_by_the_network_too(pool, make_images) -> None:
    job = trained(pool)
    make_images(pool, 8)
    Chunk.objects.update(count=N + 20)
    paint(pool)
    assert features.sweep_features() == 1
    tasks.compute_features(PoolFeatures.objects.first().pk)
    made = PoolFeatures.objects.get()
    assert (made.state, made.images, made.network) == (JobState.DONE, N + 20, job), made.error
    assert ChunkFeatures.objects.get().count == N + 20
    default_storage.delete(job.file)
    made.delete()
    ChunkFeatures.objects.all().delete()
    tasks.compute_features(features.request_features(project=fresh(pool)).pk)
    assert "was lost. Have another one trained" in PoolFeatures.objects.get().error


def test_files_of_networks_that_are_not_used_any_more_go_a_day_later(pool) -> None:
    first, second, third = (trained(pool) for _ in range(3))
    assert third.former == second
    assert set(PoolNetwork.objects.all()) == {second, third}
    assert set(ChunkFeatures.objects.values_list("backbone", flat=True)) == {second.key, third.key}
    assert forget_unnamed_files(pool) == 0 and default_storage.exists(first.file)
    later = clock.now() + timedelta(days=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "now", lambda: later)
        forget_unnamed_files(pool)
    assert files(pool, "networks") == {second.file, third.file}
    assert files(pool, "features") == set(ChunkFeatures.objects.values_list("file", flat=True))
