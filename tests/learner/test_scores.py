import numpy as np
import pytest

from learner.config import MEASURES, OWN_MEASURES
from learner.errors import ArtifactError, UnknownNameError
from learner.pool import CHUNK_SIZE
from learner.scores import columns_of, is_scored, opinion_of, read_scores, score_path, scores_at, write_scores


def columns(n, offset=0.0):
    values = {name: np.arange(n, dtype=np.float32) + offset for name in MEASURES}
    probs = np.full((n, 3), 0.25, np.float16)
    return {"mean_probs_N_C": probs, "std_probs_N_C": probs, **values}


@pytest.fixture
def scored(tmp_path):
    write_scores(tmp_path, 0, "model", columns(4))
    write_scores(tmp_path, 7, "model", columns(2, offset=100))
    return tmp_path


def test_columns_come_back_in_the_order_of_the_chunks(scored):
    assert read_scores(scored, [7, 0], "margin").tolist() == [100, 101, 0, 1, 2, 3]
    assert read_scores(scored, [0], "mean_probs_N_C").shape == (4, 3)
    assert read_scores(scored, [], "margin").shape == (0,)


def test_single_positions_across_chunks(scored):
    start = 7 * CHUNK_SIZE
    assert scores_at(scored, np.array([start + 1, 2, start, 0]), "margin").tolist() == [101, 2, 100, 0]
    assert scores_at(scored, np.array([start]), "std_probs_N_C").shape == (1, 3)
    with pytest.raises(ArtifactError, match="beyond the end"):
        scores_at(scored, np.array([4]), "margin")


def test_an_opinion_is_the_likeliest_class_and_the_probability_of_a_given_one(tmp_path):
    probs = np.random.default_rng(0).dirichlet(np.ones(3), 50).astype(np.float16)
    for chunk, part in ((0, probs[:30]), (2, probs[30:])):
        write_scores(tmp_path, chunk, "model", columns(len(part)) | {"mean_probs_N_C": part})
    positions = np.concatenate([np.arange(30), 2 * CHUNK_SIZE + np.arange(20)])
    classes = np.arange(50) % 3
    expected = probs[np.arange(50), classes]
    best, found = opinion_of(tmp_path, positions, classes)
    np.testing.assert_array_equal(best, probs.argmax(1))
    np.testing.assert_array_equal(found, expected)
    order = np.random.default_rng(1).permutation(50)
    best, found = opinion_of(tmp_path, positions[order], classes[order])
    np.testing.assert_array_equal(best, probs.argmax(1)[order])
    np.testing.assert_array_equal(found, expected[order])
    assert [len(each) for each in opinion_of(tmp_path, positions[:0], classes[:0])] == [0, 0]


def test_an_unknown_column_lists_the_known_ones(scored):
    with pytest.raises(UnknownNameError, match=r"known: .*margin"):
        read_scores(scored, [0], "entropy")


def test_a_chunk_that_has_not_been_scored(scored):
    with pytest.raises(ArtifactError, match="chunk 3 has not been scored"):
        read_scores(scored, [0, 3], "margin")


@pytest.mark.parametrize("keep", [0, 10, 300, 700])
def test_a_damaged_file_is_refused_and_counts_as_not_scored(scored, keep):
    path = score_path(scored, 0)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ArtifactError, match="damaged"):
        read_scores(scored, [0], "margin")
    assert not is_scored(scored, 0, "model", 4)


def test_a_flipped_bit_is_seen(scored):
    path = score_path(scored, 0)
    content = bytearray(path.read_bytes())
    content[content.index(np.arange(4, dtype=np.float32).tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="damaged"):
        read_scores(scored, [0], "predictive_entropy")


def test_a_measure_that_the_round_did_not_compute(tmp_path):
    values = columns(4)
    del values["epig"]
    write_scores(tmp_path, 0, "model", values)
    with pytest.raises(ArtifactError, match="chunk 0 was scored without epig"):
        read_scores(tmp_path, [0], "epig")
    assert is_scored(tmp_path, 0, "model", 4, columns_of(OWN_MEASURES))
    assert not is_scored(tmp_path, 0, "model", 4, columns_of(MEASURES))


def test_scores_belong_to_one_model(scored):
    assert is_scored(scored, 0, "model", 4)
    assert not is_scored(scored, 0, "another", 4)
    assert not is_scored(scored, 0, "model", 5)
    assert not is_scored(scored, 1, "model", 4)


def test_no_positions_have_no_scores(tmp_path):
    assert len(scores_at(tmp_path, np.empty(0, np.int64), "mean_probs_N_C")) == 0
