"""Tables of images as people write them, and as attackers do."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labeler.tables.index import Index
from labeler.tables.json_stream import elements
from labeler.tables.reader import open_table
from labeler.tables.row import BadTable, Row


@pytest.fixture
def rows(tmp_path: Path):
    def read(name: str, content: bytes | str, max_rows: int = 1000) -> list[Row]:
        path = tmp_path / "table"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        with open_table(path, name, max_rows) as table:
            return list(table.rows)

    return read


@pytest.fixture
def parquet(tmp_path: Path):
    def write(columns: dict, **options) -> bytes:
        path = tmp_path / "written.parquet"
        pq.write_table(pa.table(columns), path, **options)
        return path.read_bytes()

    return write


def test_a_csv_gives_path_label_and_the_rest(rows):
    found = rows("a.csv", "file,class,site,count\ncats/1.png,cat,north,3\n2.png,,south,\n")
    assert found == [
        Row(("cats/1.png",), label="cat", metadata={"site": "north", "count": "3"}),
        Row(("2.png",), metadata={"site": "south"}),
    ]


@pytest.mark.parametrize(
    ("content", "name"),
    [("path;label\na.png;cat\n", "a.csv"), ("path\tlabel\na.png\tcat\n", "a.tsv"), ("path|label\na.png|cat\n", "a.csv"),
     ("\ufeffPath,Label\na.png,cat\n", "a.csv"), ('"file name","Class Name"\n"a.png","cat"\n', "a.csv"),
     ('{"path": "a.png", "label": "cat"}\n\n', "a.jsonl"), ('[{"path": "a.png", "label": "cat"}]', "a.json")],
)  # fmt: skip
def test_separators_and_names_of_columns_are_guessed(rows, content, name):
    assert rows(name, content) == [Row(("a.png",), label="cat")]


def test_other_encodings_are_read(rows):
    assert rows("a.csv", "path,label\nä.png,Größe\n".encode("cp1252"))[0].label == "Größe"
    assert rows("a.csv", "path,label\nä.png,Größe\n".encode("utf-16"))[0].label == "Größe"


def test_which_column_names_the_image_is_seen_from_its_values(rows):
    (row,) = rows("a.csv", "name,image,class\nAnna,https://example.org/1.jpg,cat\n")
    assert (row.url, row.paths, row.label, row.metadata) == ("https://example.org/1.jpg", (), "cat", {"name": "Anna"})
    (row,) = rows("a.csv", "what,where\nx,photo/7.JPG\n")
    assert row.paths == ("photo/7.JPG",)
    (row,) = rows("a.csv", "https\nhttps://example.org/1.jpg\n")
    assert row.url == "https://example.org/1.jpg"


def test_our_own_export_gives_its_labels_and_metadata_back(rows):
    columns = "image,name,class,state,is_holdout,selection_probability,content_hash,metadata.site"
    (row,) = rows("a.csv", f"{columns}\n17,'=1+1/a.png,cat,labelled,False,0.5,ab12,north\n")
    assert row == Row(("=1+1/a.png",), label="cat", metadata={"site": "north"})
    record = dict.fromkeys(columns.split(",")[:-1], 0) | {"name": "a.png", "class": None, "metadata": {"site": 3}}
    assert rows("a.jsonl", json.dumps(record)) == [Row(("a.png",), metadata={"site": 3})]


def test_values_keep_their_kind_and_what_cannot_be_kept_is_made_so(rows):
    record = {
        "path": "a.png", "n": 3, "f": 0.5, "t": True, "none": None, "list": [1, 2], "nul": "a\x00b", "half": "\ud800",
        "huge": 10**30, "inf": 1e999, "7": "x", "long": "y" * 5000,
    }  # fmt: skip
    (row,) = rows("a.jsonl", json.dumps(record))
    kept = dict(row.metadata)
    assert len(kept.pop("long")) == 1000
    assert kept == {
        "n": 3, "f": 0.5, "t": True, "list": "[1, 2]", "nul": "a\ufffdb", "half": "\ufffd", "huge": str(10**30),
        "column 7": "x",
    }  # fmt: skip


def test_a_label_may_be_a_number_or_a_list_of_one(rows):
    lines = (
        '{"path":"a","label":7}\n{"path":"b","label":7.0}\n{"path":"c","label":["x"]}\n{"path":"d","label":["x","y"]}'
    )
    found = rows("a.jsonl", lines)
    assert [row.label for row in found] == ["7", "7", "x", ""]
    assert "x, y" in found[3].note


def test_parquet_is_read(rows, parquet):
    data = parquet({"path": ["a.png", "b.png"], "label": pa.array(["cat", None]).dictionary_encode(),
                    "size": [1.5, float("nan")], "bytes": [b"x", b"y"], "nested": [{"a": 1}, {"a": 2}]})  # fmt: skip
    assert rows("a.parquet", data) == [Row(("a.png",), label="cat", metadata={"size": 1.5}), Row(("b.png",))]
    assert rows("renamed.csv", data)[0].label == "cat"


HOSTILE = [
    ("a.csv", "", "empty"),
    ("a.csv", "a,b\n1,2\n", "No column says"),
    ("a.csv", "path\n", "no rows"),
    ("a.csv", "path\n" + "x" * 200_000, "no line of a table"),
    ("a.csv", ",".join(f"c{n}" for n in range(2000)) + "\n1\n", "columns"),
    ("a.jsonl", "[" * 100_000, "nested too deeply"),
    ("a.jsonl", '{"path": "a"', "Line 1"),
    ("a.jsonl", "[1]\n", "no object"),
    ("a.jsonl", '{"path": "' + "x" * 5_000_000 + '"}', "characters"),
    ("a.json", "[" * 100_000, "nested too deeply"),
    ("a.json", '{"a":' * 100_000, "nested too deeply"),
    ("a.json", '[{"path": "a"}', "damaged"),
    ("a.json", '[{"path": "a"}] x', "damaged"),
    ("a.json", '["a"]', "neither"),
    ("a.json", "[]", "empty"),
    ("a.json", "7", "neither"),
    ("a.json", '{"version": 1, "shapes": []}', "neither"),
    ("a.json", '[{"path": "a"}, 7]', "other than objects"),
    ("a.json", '{"images": [7]}', "neither"),
    ("a.json", '{"images": [{"id": 1, "file_name": "a"}, 7]}', "other than objects"),
    ("a.json", '[{"path": "' + "x" * 20_000_000, "million characters"),
    ("a.parquet", b"PAR1" + b"\x00" * 100, "damaged"),
    ("a.parquet", b"PAR1" + b"\xff" * 100 + b"\xff\xff\xff\x7fPAR1", "damaged"),
    ("a.parquet", b"not at all", "damaged"),
]


@pytest.mark.parametrize(("name", "content", "words"), HOSTILE)
def test_what_is_no_table_is_refused_in_words(rows, name, content, words):
    with pytest.raises(BadTable, match=words):
        rows(name, content)


def test_numbers_with_thousands_of_digits_do_no_harm(rows):
    (row,) = rows("a.jsonl", '{"path": "a.png", "n": ' + "9" * 100_000 + ', "nan": NaN, "x": -Infinity}')
    assert set(row.metadata) == {"n"}
    assert len(str(row.metadata["n"])) == 1000


def test_more_rows_than_are_allowed_are_refused(rows, parquet):
    for name, content in (("a.csv", "path\n" + "a\n" * 20), ("a.jsonl", '{"path":"a"}\n' * 20)):
        with pytest.raises(BadTable, match="more than 10 rows"):
            rows(name, content, max_rows=10)
    with pytest.raises(BadTable, match="at most 10"):
        rows("a.parquet", parquet({"path": ["a"] * 20}), max_rows=10)


def test_a_parquet_bomb_ends_a_process_of_its_own(rows, parquet, monkeypatch):
    """A few kilobytes that unpack to gigabytes: the reader has little memory, and this process stays as it is."""
    data = parquet({"path": ["x" * 50_000_000] * 20}, compression="zstd", use_dictionary=False)
    assert len(data) < 2**20
    monkeypatch.setattr("labeler.tables.records.PARQUET_MEMORY", 2**30)
    with pytest.raises(BadTable, match=r"memory|too large|damaged"):
        rows("a.parquet", data)


def test_damaged_parquet_of_every_kind_is_refused_or_read(rows, parquet):
    """Bytes of a good file are changed one after another: whatever comes of it, it is rows or words."""
    data = bytearray(parquet({"path": ["a.png", "b.png"], "label": ["cat", "dog"]}))
    for place in range(4, len(data), max(1, len(data) // 25)):
        changed = bytearray(data)
        changed[place] ^= 0xFF
        try:
            rows("a.parquet", bytes(changed))
        except BadTable as error:
            assert str(error)


def test_json_of_any_size_is_read_element_by_element(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"info": {"a": [1]}, "images": ' + json.dumps([{"n": n} for n in range(50_000)]) + ', "x": []}')
    with path.open() as file:
        found = list(elements(file))
    assert found[0] == ("info", {"a": [1]})
    assert found[1:] == [("images", {"n": n}) for n in range(50_000)]


@pytest.fixture
def index():
    index = Index()
    yield index
    index.close()


def test_rows_find_their_files(index):
    for path in ("a/1.png", "2.png", "deep/3.png", "b/1.png", "./c/4.png"):
        index.add(Row((path,), label=path))
    found = {name: index.find(name) for name in ("a/1.png", "x/a/1.png", "any/2.png", "3.png", "c/4.png", "1.png", "9")}
    assert {name: row.label if row else None for name, row in found.items()} == {
        "a/1.png": "a/1.png", "x/a/1.png": "a/1.png", "any/2.png": "2.png", "3.png": "deep/3.png",
        "c/4.png": "./c/4.png", "1.png": None, "9": None,
    }  # fmt: skip


def test_rows_of_one_image_are_joined(index):
    index.add(Row(("a.png",), label="cat", metadata={"x": 1}))
    index.add(Row(("a.png",), label="Cat", metadata={"x": 2, "y": 3}))
    assert index.find("a.png") == Row(("a.png",), label="cat", metadata={"x": 1, "y": 3})
    index.add(Row(("a.png",), label="dog"))
    index.add(Row(("a.png",), label="cat"))
    assert index.find("a.png").label == ""
    assert "cat, dog" in index.find("a.png").note


@pytest.mark.parametrize("path", ["../a.png", "/etc/passwd", "C:\\a.png", "a/../../b.png", "..\\a.png", "a\nb.png"])
def test_a_path_that_leaves_is_refused_by_name(index, path):
    index.add(Row((path,), label="cat"))
    assert index.find("a.png") is None
    (row,) = index.rows_left(0)
    assert row.refusal.startswith("Its path")


def test_what_is_left_goes_on_where_it_stopped(index):
    for n in range(5):
        index.add(Row((f"{n}.png",)))
    index.refuse("a.csv", "No.")
    index.mark("2.png")
    assert index.left == 5
    names = [row.name for row in index.rows_left(0)]
    assert names == ["a.csv", "0.png", "1.png", "3.png", "4.png"]
    assert [[row.name for row in index.rows_left(start)] for start in range(6)] == [names[start:] for start in range(6)]
