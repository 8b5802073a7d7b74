"""A round's scores in a few bytes an image: exact up to their rounding, damaged files told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from learner.config import MEASURES
from learner.errors import ArtifactError
from learner.pool import CHUNK_SIZE
from learner.scores import score_path, write_scores
from learner.summary import FILE, FULL, MAX_STD, score_row, summary

COUNTS = (CHUNK_SIZE, 100)


@pytest.fixture
def columns(tmp_path: Path) -> dict[str, np.ndarray]:
    rng, n = np.random.default_rng(0), sum(COUNTS)
    columns = {
        "mean_probs_N_C": rng.dirichlet(np.ones(4), n).astype(np.float16),
        "std_probs_N_C": rng.uniform(0, 0.5, (n, 4)).astype(np.float16),
        **{name: rng.exponential(size=n).astype(np.float32) for name in MEASURES},
    }
    for number, count in enumerate(COUNTS):
        part = slice(number * CHUNK_SIZE, number * CHUNK_SIZE + count)
        write_scores(tmp_path, number, "a model", {name: column[part] for name, column in columns.items()})
    return columns


def test_it_keeps_the_predicted_class_its_probability_and_its_spread(tmp_path: Path, columns) -> None:
    found = summary(tmp_path, COUNTS)
    best, rows = columns["mean_probs_N_C"].argmax(1), np.arange(sum(COUNTS))
    assert found.predicted_N.dtype == np.uint8 and (found.predicted_N == best).all()
    assert np.allclose(found.probability_N / FULL, columns["mean_probs_N_C"][rows, best].astype(float), atol=1e-5)
    assert np.allclose(found.spread_N / FULL * MAX_STD, columns["std_probs_N_C"][rows, best].astype(float), atol=1e-5)


def test_percentiles_are_those_of_the_whole_pool(tmp_path: Path, columns) -> None:
    found = summary(tmp_path, COUNTS)
    for name in MEASURES:
        for value in columns[name][::500].tolist():
            share = 100 * (columns[name] < value).mean()
            assert share - 1e-9 <= found.percentile(name, value) <= share + 0.05
        assert found.percentile(name, -1.0) == 0
        assert found.percentile(name, 1e9) == 100


def test_a_column_of_equal_scores_is_more_unsure_than_nothing(tmp_path: Path, columns) -> None:
    flat = {**columns, "margin": np.zeros(sum(COUNTS), np.float32)}
    for number, count in enumerate(COUNTS):
        part = slice(number * CHUNK_SIZE, number * CHUNK_SIZE + count)
        write_scores(tmp_path, number, "a model", {name: column[part] for name, column in flat.items()})
    assert summary(tmp_path, COUNTS).percentile("margin", 0.0) == 0


def test_a_measure_that_the_round_was_not_scored_with_is_left_out(tmp_path: Path, columns, monkeypatch) -> None:
    monkeypatch.setattr("learner.summary.MEASURES", (*MEASURES, "a newer one"))
    assert tuple(summary(tmp_path, COUNTS).quantiles) == MEASURES


def test_it_is_written_once_and_read_again(tmp_path: Path, columns) -> None:
    first = summary(tmp_path, COUNTS)
    score_path(tmp_path, 0).unlink()
    again = summary(tmp_path, COUNTS)
    assert (again.probability_N == first.probability_N).all()


def test_a_row_is_that_of_the_columns(tmp_path: Path, columns) -> None:
    for position in (0, CHUNK_SIZE - 1, CHUNK_SIZE + 99):
        row = score_row(tmp_path, position, list(columns))
        assert all(np.array_equal(row[name], column[position]) for name, column in columns.items())
    with pytest.raises(ArtifactError, match="position"):
        score_row(tmp_path, CHUNK_SIZE + 100, ["margin"])
    with pytest.raises(ArtifactError, match="has not been scored"):
        score_row(tmp_path, 9 * CHUNK_SIZE, ["margin"])


def test_missing_damaged_and_unfit_files_are_errors(tmp_path: Path, columns) -> None:
    with pytest.raises(ArtifactError, match="scores for 90 images"):
        summary(tmp_path, (CHUNK_SIZE, 90))
    with pytest.raises(ArtifactError, match="chunk 0 has not been scored"):
        summary(tmp_path / "nothing", (5,))
    with pytest.raises(ArtifactError, match="chunk 0 has 100 images, and is not the last"):
        summary(tmp_path, (100, 100))
    (tmp_path / FILE).write_bytes(b"PK no")
    with pytest.raises(ArtifactError, match="is damaged"):
        summary(tmp_path, COUNTS)
