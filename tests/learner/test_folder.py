import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from learner.config import ignore
from learner.errors import LearnerError
from learner.folder import UNKNOWN, read_answers, read_collection, write_chunks
from learner.pool import CHUNK_SIZE, Pool


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "images"
    for name, size, mode in [
        ("cat/a.png", (20, 10), "RGB"),
        ("cat/b.JPG", (10, 20), "L"),
        ("dog/c.png", (9, 9), "RGBA"),
        ("dog/d.png", (8, 8), "P"),
        ("loose.png", (1, 1), "1"),
    ]:
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size, 1).save(path)
    (source / "dog" / "broken.png").write_bytes(b"\x89PNG broken")
    (source / "dog" / "notes.txt").write_text("no image")
    return source


def check(collection):
    assert collection.names == ("cat/a.png", "cat/b.JPG", "dog/c.png", "dog/d.png", "loose.png")
    assert collection.class_names == ("cat", "dog")
    assert collection.labels.tolist() == [0, 0, 1, 1, UNKNOWN]
    assert [name for name, _ in collection.refused] == ["dog/broken.png"]
    assert Pool(collection.chunks).shape == (3, 20, 20)


def test_a_folder_of_class_folders(folder, tmp_path):
    check(read_collection(folder, tmp_path / "pool", ignore))


def test_a_zip_of_class_folders(folder, tmp_path):
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for each in sorted(folder.rglob("*.*")):
            archive.write(each, each.relative_to(folder))
    check(read_collection(path, tmp_path / "pool", ignore))


def test_a_side_can_be_asked_for(folder, tmp_path):
    assert Pool(read_collection(folder, tmp_path / "pool", ignore, side=5).chunks).shape == (3, 5, 5)


def test_sixteen_bits_are_brought_down_to_eight(tmp_path):
    source = tmp_path / "images"
    source.mkdir()
    Image.fromarray(np.full((4, 4), 0x8000, np.uint16)).save(source / "a.png")
    collection = read_collection(source, tmp_path / "pool", ignore)
    assert np.unique(Pool(collection.chunks).inputs([0])).tolist() == [0x80]


@pytest.mark.parametrize("test_part", [True, False])
def test_an_npz(tmp_path, test_part):
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.integers(0, 256, (6, 4, 5), dtype=np.uint8), "y_train": np.array([3, 1, 3, 1, 1, 3])}
    if test_part:
        arrays |= {"x_test": rng.integers(0, 256, (2, 4, 5), dtype=np.uint8), "y_test": np.array([1, 3])}
    np.savez(tmp_path / "m.npz", **arrays)
    collection = read_collection(tmp_path / "m.npz", tmp_path / "pool", ignore)
    assert collection.class_names == ("1", "3")
    assert collection.labels.tolist()[:6] == [1, 0, 1, 0, 0, 1]
    assert collection.is_test.tolist() == [False] * 6 + [True] * (2 if test_part else 0)
    assert np.array_equal(Pool(collection.chunks).inputs([4])[0, 0], arrays["x_train"][4])


def test_an_npz_keeps_its_size_and_says_so(tmp_path):
    with pytest.raises(LearnerError, match=r"the images of digits.npz keep their size: leave the side out"):
        read_collection(Path("digits"), tmp_path, ignore, side=28)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_an_npz_of_feature_vectors(tmp_path, dtype):
    vectors = np.random.default_rng(0).normal(size=(6, 7)).astype(dtype)
    np.savez(tmp_path / "f.npz", x_train=vectors[:4], y_train=[0, 1, 0, 1], x_test=vectors[4:], y_test=[1, 0])
    collection = read_collection(tmp_path / "f.npz", tmp_path / "pool", ignore)
    assert np.array_equal(Pool(collection.chunks).inputs([5, 0]), vectors[[5, 0]].astype(np.float32))
    assert collection.is_test.tolist() == [False] * 4 + [True] * 2


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_train": np.full((2, 3), np.nan), "y_train": [0, 1]}, "NaN or infinite"),
        ({"x_train": np.full((2, 3), 1e300), "y_train": [0, 1]}, "NaN or infinite"),
        ({"x_train": np.zeros((2, 3), np.int64), "y_train": [0, 1]}, r"holds int64 \[2, 3\], expected uint8 images"),
        ({"x_train": np.zeros((2, 3)), "y_train": [0, 1, 2]}, "2 images or vectors and 3 labels"),
        (
            {"x_train": np.zeros((2, 3)), "y_train": [0, 1], "x_test": np.zeros((1, 4)), "y_test": [0]},
            r"x_train holds \[3\] an image, x_test \[4\]",
        ),
    ],
)
def test_an_npz_that_cannot_be_a_pool(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(LearnerError, match=message):
        read_collection(tmp_path / "bad.npz", tmp_path / "pool", ignore)


def test_sources_that_are_none(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("x")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 truncated")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    for name, message in [
        ("gone", "there is no"),
        ("empty", "no image"),
        ("text.txt", "neither"),
        ("bad.npz", "damaged"),
        ("other.npz", "expected x_train"),
    ]:
        with pytest.raises(LearnerError, match=message):
            read_collection(tmp_path / name, tmp_path / "pool", ignore)


def test_answers_from_a_csv(tmp_path):
    path = tmp_path / "answers.csv"
    path.write_text("name,label\nb,dog\na,cat\n")
    assert read_answers(path, ["a", "b", "c"]) == {1: "dog", 0: "cat"}
    for text, message in [
        ("name,label\nz,dog\n", "line 2: there is no image"),
        ("x,y\n1,2\n", "columns name and label"),
    ]:
        path.write_text(text)
        with pytest.raises(LearnerError, match=message):
            read_answers(path, ["a"])
    with pytest.raises(LearnerError, match="cannot read"):
        read_answers(tmp_path / "gone.csv", [])


def test_more_images_than_a_chunk_holds(tmp_path):
    chunks = write_chunks((np.zeros((1, 1, 1), np.uint8) for _ in range(CHUNK_SIZE + 1)), tmp_path)
    assert [(chunk.number, chunk.count) for chunk in chunks] == [(0, CHUNK_SIZE), (1, 1)]
