import numpy as np
import pytest

from learner.errors import ChunkError
from learner.pool import CHUNK_SIZE, Chunk, Pool, write_array


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (CHUNK_SIZE + 5, 1, 2, 3), dtype=np.uint8)


def test_pixels_come_in_the_order_asked_for_across_chunks_with_repeats(make_chunks, pixels):
    pool = Pool(make_chunks(pixels))
    positions = [CHUNK_SIZE + 4, 0, CHUNK_SIZE - 1, CHUNK_SIZE, 0]
    assert np.array_equal(pool.inputs(positions), pixels[positions])
    assert pool.shape == (1, 2, 3)
    assert len(pool) == CHUNK_SIZE + 5
    assert pool.inputs([]).shape == (0, 1, 2, 3)


def test_a_chunk_of_one_image(make_chunks, pixels):
    assert np.array_equal(Pool(make_chunks(pixels[:1])).inputs([0]), pixels[:1])


@pytest.mark.parametrize("position", [-1, CHUNK_SIZE + 5, 10 * CHUNK_SIZE])
def test_positions_outside_are_refused(make_chunks, pixels, position):
    with pytest.raises(ChunkError):
        Pool(make_chunks(pixels)).inputs([position])


def test_a_missing_file(tmp_path):
    with pytest.raises(ChunkError, match="missing"):
        Pool([Chunk(0, tmp_path / "gone.npy", 3)]).inputs([0])


@pytest.mark.parametrize("keep", [0, 5, 60, 1000])
def test_a_truncated_file(make_chunks, pixels, keep):
    (chunk, *_) = make_chunks(pixels)
    chunk.path.write_bytes(chunk.path.read_bytes()[:keep])
    with pytest.raises(ChunkError, match="damaged"):
        Pool([chunk]).inputs([0])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 1, 2, 2), np.float32),
        np.zeros((3, 2), np.uint8),
        np.zeros((3, 2), np.float64),
        np.zeros((4, 2), np.float32),
        np.zeros((3, 0), np.float32),
        np.zeros((3, 2, 2), np.uint8),
        np.zeros((4, 1, 2, 2), np.uint8),
        np.zeros((3, 1, 0, 2), np.uint8),
    ],
)
def test_a_file_of_another_form(tmp_path, array):
    path = write_array(tmp_path / "a.npy", array)
    with pytest.raises(ChunkError, match="expected pixels, uint8"):
        Pool([Chunk(0, path, 3)]).inputs([0])


def test_a_pickle_is_not_loaded(tmp_path):
    path = tmp_path / "evil.npy"
    with path.open("wb") as file:
        np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ChunkError, match="damaged"):
        Pool([Chunk(0, path, 1)]).inputs([0])


def test_chunks_of_different_shapes(tmp_path):
    chunks = [
        Chunk(0, write_array(tmp_path / "0.npy", np.zeros((2, 1, 4, 4), np.uint8)), 2),
        Chunk(1, write_array(tmp_path / "1.npy", np.zeros((2, 3, 4, 4), np.uint8)), 2),
    ]
    with pytest.raises(ChunkError, match="the pool has"):
        Pool(chunks).inputs([0, CHUNK_SIZE])


def test_no_chunk_twice_and_at_least_one(tmp_path):
    with pytest.raises(ChunkError, match="at least one"):
        Pool([])
    with pytest.raises(ChunkError, match="twice"):
        Pool([Chunk(0, tmp_path, 1), Chunk(0, tmp_path, 1)])
    with pytest.raises(ChunkError, match="expected 1 to"):
        Pool([Chunk(0, tmp_path, CHUNK_SIZE + 1)])


@pytest.fixture
def write(tmp_path):
    """An array as a chunk file of some number."""
    return lambda number, array: Chunk(number, write_array(tmp_path / f"{number}.npy", array), len(array))


def test_features_come_as_float32_whatever_they_are_kept_in(write):
    values = np.random.default_rng(0).normal(size=(CHUNK_SIZE + 3, 5)).astype(np.float16)
    pool = Pool([write(0, values[:CHUNK_SIZE]), write(1, values[CHUNK_SIZE:].astype(np.float32))])
    positions = [CHUNK_SIZE + 2, 0, 7, 7]
    got = pool.inputs(positions)
    assert got.dtype == np.float32
    assert np.array_equal(got, values[positions].astype(np.float32))
    assert pool.shape == (5,)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_features_that_are_not_finite_are_refused_and_named(write, value, dtype):
    values = np.zeros((4, 3), dtype)
    values[2, 1] = value
    with pytest.raises(ChunkError, match=f"1 of 4 vectors hold NaN or infinite .* at position {CHUNK_SIZE + 2};"):
        Pool([write(1, values)]).inputs([CHUNK_SIZE])


def test_chunks_of_different_kinds_or_lengths(write):
    pixels, features, longer = np.zeros((2, 1, 4, 4), np.uint8), np.zeros((2, 16), np.float32), np.zeros((2, 17), "f4")
    with pytest.raises(ChunkError, match=r"chunk 1: vectors of 16 features, the pool has images of shape \[1, 4, 4\]"):
        Pool([write(0, pixels), write(1, features)]).inputs([0, CHUNK_SIZE])
    with pytest.raises(ChunkError, match="chunk 3: vectors of 17 features, the pool has vectors of 16 features"):
        Pool([write(2, features), write(3, longer)]).inputs([2 * CHUNK_SIZE, 3 * CHUNK_SIZE])


def test_a_chunk_may_be_some_rows_of_a_file_of_all(tmp_path):
    path = tmp_path / "all.npy"
    vectors = np.random.default_rng(0).normal(size=(CHUNK_SIZE + 30, 4)).astype(np.float16)
    np.save(path, vectors)
    pool = Pool([Chunk(0, path, CHUNK_SIZE, row=0), Chunk(1, path, 30, row=CHUNK_SIZE)])
    positions = [5, CHUNK_SIZE, CHUNK_SIZE + 29]
    np.testing.assert_array_equal(pool.inputs(positions), vectors[positions].astype(np.float32))


def test_rows_past_the_end_of_a_file_are_refused(tmp_path):
    path = tmp_path / "all.npy"
    np.save(path, np.zeros((20, 4), np.float16))
    with pytest.raises(ChunkError, match="expected pixels"):
        Pool([Chunk(0, path, 15, row=10)]).inputs([0])
