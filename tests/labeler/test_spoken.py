"""What people meet most of the learner's sentences is known in German; the patterns are held to its own words."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gpytorch
import numpy as np
import pytest
import torch
from django.utils.translation import override

from labeler.learning.spoken import NOTES, PATTERNS, compared_by, note, sentence
from labeler.told import Told, from_kept, keep, said
from learner import training_set as learned_from
from learner.backbones import read_weights
from learner.config import Recipe, RoundConfig, RoundRequest, ignore
from learner.doubt import Trial
from learner.errors import BackboneError, LabelError, LearnerError
from learner.estimators.gaussian_process import find_kernel
from learner.fit import diverged
from learner.folder import write_chunks
from learner.graph.pool_graph import PoolGraph, make_pool_graph
from learner.graph.representation import represent
from learner.pool import Chunk, Pool
from learner.round import fit


def german(words: str) -> str:
    with override("de"):
        return said(words)


@pytest.mark.parametrize(
    ("what", "expected"), [("loss is", "Der Verlust ist"), ("the weights are", "Die Gewichte sind")]
)
def test_a_fit_that_diverged(what: str, expected: str) -> None:
    words = sentence(f"{diverged(12, what)} (laplace of mlp)")
    assert words.startswith("The fit diverged at step 12: ") and words.endswith("in the settings (laplace of mlp).")
    assert expected in german(words) and german(words).endswith("ein anderes Netz (laplace of mlp).")


def test_files_of_weights(tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(b"nothing")
    for name, expected in (("none.pt", "Es gibt keine Datei none.pt."), ("bad.pt", "bad.pt ist beschädigt")):
        with pytest.raises(BackboneError) as refused:
            read_weights(tmp_path / name)
        assert expected in german(sentence(str(refused.value)))


@pytest.mark.parametrize(
    ("n", "expected"), [(1, "Es gibt ein Label, aus dem zu lernen wäre: "), (6, "Alle 6 Labels, aus denen zu lernen ")]
)
def test_labels_of_one_class(request_, n, expected) -> None:
    with pytest.raises(LabelError) as refused:
        replace(request_, train_positions=np.arange(n), train_labels=np.zeros(n, np.int64))
    words = sentence(str(refused.value))
    assert words[1:] == f"{refused.value}."[1:]
    assert expected in german(words) and german(words).endswith(f"({request_.config.model}).")


@pytest.mark.parametrize(
    ("estimator", "limit", "expected"),
    [
        ("gaussian_process", "gaussian_process.MOST_FLOATS", "Gauß-Prozess: 7 Posterior-Stichproben von 3 Klassen "),
        ("swag", "swag.MOST_SAMPLED_FLOATS", "SWAG: 7 Posterior-Stichproben des Kopfs brauchen "),
    ],
)
def test_samples_that_would_not_fit(request_, monkeypatch, estimator, limit, expected) -> None:
    monkeypatch.setattr(f"learner.estimators.{limit}", 50)
    with pytest.raises(LearnerError) as refused:
        notes_of(request_, estimator=estimator)
    words = sentence(str(refused.value))
    assert words == f"{refused.value}."
    assert expected in german(words) and f"Posterior ({estimator} of mlp)." in german(words)


def test_what_is_not_known_stays_as_it_is() -> None:
    assert sentence("all of one class") == "All of one class." == german(sentence("all of one class"))


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8)])
def test_by_what_images_are_compared(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "chunk.npy"
    np.save(path, np.random.default_rng(0).integers(0, 255, (30, *shape), np.uint8))
    found, _ = represent((Chunk(0, path, 30),))
    words = compared_by(found.reason, "")
    assert isinstance(words, Told) and words == found.reason
    assert "verglichen nach ihren" in german(words)


def test_by_whose_features_they_are_compared(tmp_path: Path) -> None:
    path = tmp_path / "chunk.npy"
    np.save(path, np.random.default_rng(0).normal(size=(30, 16)).astype(np.float16))
    words = compared_by(represent((Chunk(0, path, 30),))[0].reason, "efficientnet_lite0")
    assert words == "features of efficientnet_lite0, vectors of 16 features, compared by direction"
    assert german(words) == "Merkmale von efficientnet_lite0, Vektoren aus 16 Merkmalen, verglichen nach der Richtung"


def test_that_they_are_compared_in_two_ways(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    features = write_chunks(rng.normal(size=(30, 16)).astype(np.float16), tmp_path / "features")
    pixels = write_chunks(rng.integers(0, 255, (30, 1, 8, 8), np.uint8), tmp_path / "pixels")
    words = compared_by(make_pool_graph(features, (), seed=0, beside=pixels).pool_graph.reason, "network 3")
    assert (
        words == "features of network 3, vectors of 16 features, compared by direction, and neighbours by pixels beside"
    )
    assert german(words).endswith("verglichen nach der Richtung, dazu Nachbarn nach Pixeln")


ENGLISH = re.compile(r"\b(the|of|and|is|are|has|have|it|its|from|that|images?|labels?)\b")


def check_notes(*pairs: tuple[str, str]) -> None:
    """Each is known to the letter, outlives the database, and has this German."""
    for words, expected in pairs:
        known = note(words)
        assert isinstance(known, Told) and known == words
        assert german(from_kept(keep(known))) == german(known)
        assert expected in german(known) and not ENGLISH.search(german(known).replace("Labels", ""))


@pytest.fixture
def request_(tmp_path: Path) -> RoundRequest:
    path = tmp_path / "chunk.npy"
    np.save(path, np.random.default_rng(0).integers(0, 255, (60, 1, 8, 8), np.uint8))
    config = RoundConfig(
        n_classes=3, architecture="mlp", posterior_samples=7, device="cpu", recipe=Recipe(steps=3), seed=1
    )
    return RoundRequest((Chunk(0, path, 60),), np.arange(60), np.arange(60) % 3, config, tmp_path / "round")


def notes_of(request: RoundRequest, **changes: object) -> tuple[str, ...]:
    return fit(replace(request, config=replace(request.config, **changes)), ignore).notes


@pytest.mark.parametrize(
    ("classes", "labels", "expected"),
    [
        (10, [0, 1, 1], ("8 von 10 Klassen haben noch kein Label", "1 von 10 Klassen hat ein einziges Label")),
        (3, [0, 1], ("1 von 3 Klassen hat noch kein Label", "2 von 3 Klassen haben ein einziges Label")),
        (1200, [0, 1], ("1.198 von 1.200 Klassen haben noch kein Label", "2 von 1.200 Klassen haben ein einziges")),
    ],
)
def test_which_classes_lack_labels(request_, classes, labels, expected) -> None:
    few = replace(request_, train_positions=np.arange(len(labels)), train_labels=np.array(labels))
    check_notes(*zip(notes_of(few, n_classes=classes), expected, strict=True))


@pytest.mark.parametrize(
    ("passed_on", "alike", "rejected", "expected"),
    [
        (0, 0, 0, ["es lernte allein aus Antworten: Bilder, die sich ähneln"]),
        (1, 1, 1, ["außerdem aus 1 Bild, das", "1 Bild ähnelt schlechten Bildern (1)"]),
        (2000, 1200, 30, ["außerdem aus 2.000 Bildern, die", "1.200 Bilder ähneln schlechten Bildern (30)"]),
    ],
)
def test_what_the_graph_passed_on(request_, monkeypatch, passed_on, alike, rejected, expected) -> None:
    found = SimpleNamespace(positions=np.arange(passed_on) + 60, labels=np.zeros(passed_on, np.int64), n_rejected=alike)
    monkeypatch.setattr(PoolGraph, "load", lambda _: SimpleNamespace(n_coordinates=0, graph=None))
    monkeypatch.setattr("learner.teachers.propagate", lambda *_, **__: found)
    request = replace(request_, graph=Path("x"), rejected=np.arange(rejected) + 5000)
    notes = learned_from.training_set(request, Pool(request.chunks), ignore).notes
    check_notes(*zip(notes, expected, strict=True))


@pytest.fixture
def notes_of_vectors(request_, tmp_path, monkeypatch):
    """What is said of a round on vectors: by who teaches, how answers came out, and how many images got a label."""

    def say(*, is_cohesive: bool, trials: list[Trial | None], passed_on: int) -> tuple[str, ...]:
        path = tmp_path / "vectors.npy"
        np.save(path, np.zeros((60, 5), np.float32))
        graph = SimpleNamespace(n_coordinates=0, graph=None, is_cohesive=is_cohesive)
        found = SimpleNamespace(positions=np.arange(passed_on) + 60, labels=np.zeros(passed_on, np.int64))
        monkeypatch.setattr(PoolGraph, "load", lambda _: graph)
        monkeypatch.setattr(learned_from, "_try", lambda *_: trials.pop(0))
        monkeypatch.setattr("learner.teachers.ByPool.pass_on", lambda _: found)
        request = replace(request_, graph=Path("x"), chunks=(Chunk(0, path, 60),))
        return learned_from.training_set(request, Pool(request.chunks), ignore).notes

    return say


MISLED = Trial(n=80, told_right=20, vectors_right=60, only_told=0, only_vectors=40)


def test_that_the_graph_misleads(notes_of_vectors) -> None:
    notes = notes_of_vectors(is_cohesive=True, trials=[MISLED, None], passed_on=1)
    check_notes(
        (notes[0], "führen irre: Von 80 Antworten, die reihum zurückgehalten wurden, verrieten sie 20"),
        (notes[1], "es lernte außerdem aus 1 Bild, dessen Klasse"),
    )
    assert len(notes) == 2 and german(note(notes[0])).endswith(" 60")


@pytest.mark.parametrize(
    ("trial", "passed_on", "expected"),
    [
        (None, 1200, "es lernte außerdem aus 1.200 Bildern, deren Klasse"),
        (None, 0, "es lernte allein aus Antworten: Antworten und Vorrat zusammen machen kein anderes Bild klar"),
        (MISLED, 5, "verrieten Antworten und Vorrat zusammen 20, Antworten allein 60"),
    ],
)
def test_what_answers_and_pool_together_made_clear(notes_of_vectors, trial, passed_on, expected) -> None:
    (words,) = notes_of_vectors(is_cohesive=False, trials=[trial], passed_on=passed_on)
    check_notes((words, expected))


@pytest.mark.parametrize(
    ("estimator", "limit", "expected"),
    [
        ("laplace", "laplace.MOST_PARAMETERS", "nur die letzte Schicht hat eine Verteilung: 7 Stichproben aller "),
        ("gaussian_process", "gaussian_process.EXACT_LABELS", "näherungsweise: 60 Labels wirken durch 50 von ihnen"),
    ],
)
def test_what_a_posterior_leaves_out(request_, monkeypatch, estimator, limit, expected) -> None:
    monkeypatch.setattr(f"learner.estimators.{limit}", 50)
    (words,) = notes_of(request_, estimator=estimator)
    check_notes((words, expected))


def test_what_the_search_for_a_kernel_leaves_out(monkeypatch) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand((60, 4), generator=generator, dtype=torch.float64)
    _, _, notes = find_kernel(x, torch.arange(60) % 30, 1200, generator, ignore)
    check_notes((notes[0], "näherungsweise: Der Kern wird mit 20 von 1.200 Klassen gefunden"))
    monkeypatch.setattr("learner.estimators.gaussian_process.CONCENTRATION", 1e25)  # equal images have equal values
    with gpytorch.settings.min_fixed_noise(double_value=1e-30):
        _, _, notes = find_kernel(torch.ones((40, 2)).double(), torch.arange(40) % 2, 2, generator, ignore)
    known = note(notes[0])  # what warns is not the learner's own
    assert known == notes[0] and german(known).startswith("die Suche nach dem Kern endete mit einer Warnung: ")


def test_a_note_that_is_not_known_stays_as_it_is() -> None:
    assert note("it was a fine day") == "it was a fine day" == german(note("it was a fine day"))
    assert set(NOTES) <= set(PATTERNS)
