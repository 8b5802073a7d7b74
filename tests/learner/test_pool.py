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
    assert np.array_equal(pool.pixels(positions), pixels[positions])
    assert pool.shape == (1, 2, 3)
    assert len(pool) == CHUNK_SIZE + 5
    assert pool.pixels([]).shape == (0, 1, 2, 3)


def test_a_chunk_of_one_image(make_chunks, pixels):
    assert np.array_equal(Pool(make_chunks(pixels[:1])).pixels([0]), pixels[:1])


@pytest.mark.parametrize("position", [-1, CHUNK_SIZE + 5, 10 * CHUNK_SIZE])
def test_positions_outside_are_refused(make_chunks, pixels, position):
    with pytest.raises(ChunkError):
        Pool(make_chunks(pixels)).pixels([position])


def test_a_missing_file(tmp_path):
    with pytest.raises(ChunkError, match="missing"):
        Pool([Chunk(0, tmp_path / "gone.npy", 3)]).pixels([0])


@pytest.mark.parametrize("keep", [0, 5, 60, 1000])
def test_a_truncated_file(make_chunks, pixels, keep):
    (chunk, *_) = make_chunks(pixels)
    chunk.path.write_bytes(chunk.path.read_bytes()[:keep])
    with pytest.raises(ChunkError, match="damaged"):
        Pool([chunk]).pixels([0])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 1, 2, 2), np.float32),
        np.zeros((3, 2, 2), np.uint8),
        np.zeros((4, 1, 2, 2), np.uint8),
        np.zeros((3, 1, 0, 2), np.uint8),
    ],
)
def test_a_file_of_another_form(tmp_path, array):
    path = write_array(tmp_path / "a.npy", array)
    with pytest.raises(ChunkError, match="expected uint8"):
        Pool([Chunk(0, path, 3)]).pixels([0])


def test_a_pickle_is_not_loaded(tmp_path):
    path = tmp_path / "evil.npy"
    with path.open("wb") as file:
        np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ChunkError, match="damaged"):
        Pool([Chunk(0, path, 1)]).pixels([0])


def test_chunks_of_different_shapes(tmp_path):
    chunks = [
        Chunk(0, write_array(tmp_path / "0.npy", np.zeros((2, 1, 4, 4), np.uint8)), 2),
        Chunk(1, write_array(tmp_path / "1.npy", np.zeros((2, 3, 4, 4), np.uint8)), 2),
    ]
    with pytest.raises(ChunkError, match="the pool has"):
        Pool(chunks).pixels([0, CHUNK_SIZE])


def test_no_chunk_twice_and_at_least_one(tmp_path):
    with pytest.raises(ChunkError, match="at least one"):
        Pool([])
    with pytest.raises(ChunkError, match="twice"):
        Pool([Chunk(0, tmp_path, 1), Chunk(0, tmp_path, 1)])
    with pytest.raises(ChunkError, match="expected 1 to"):
        Pool([Chunk(0, tmp_path, CHUNK_SIZE + 1)])
