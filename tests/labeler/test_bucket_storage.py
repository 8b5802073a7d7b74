"""Files in a bucket: machines that share nothing else read what one of them wrote, whole or not at all."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from labeler import bucket_store, storage
from labeler.bucket_store import BucketStore, part_name
from labeler.file_cache import FileCache
from labeler.storage_place import BucketPlace
from tests.labeler.bucket_storage import client, endpoint, on_machine, place

__all__ = ["endpoint", "on_machine", "place"]  # fixtures

NAME = "projects/1/packs/a.pack"


def objects(place: BucketPlace, start: str = "") -> dict[str, bytes]:
    s3 = client(place.endpoint)
    listed = s3.list_objects_v2(Bucket=place.bucket, Prefix=f"{place.prefix}/{start}").get("Contents", [])
    cut = len(place.prefix) + 1
    return {one["Key"][cut:]: s3.get_object(Bucket=place.bucket, Key=one["Key"])["Body"].read() for one in listed}


def copies(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_what_one_machine_wrote_another_reads(place, on_machine):
    assert storage.write_once(NAME, lambda file: file.write(b"0123456789")) == 10
    assert objects(place) == {NAME: b"0123456789"}
    with pytest.raises(storage.StorageError, match="already"):
        storage.write_once(NAME, b"other")
    there = on_machine("two")
    assert storage.read_range(NAME, 3, 4) == b"3456"
    assert storage.read_range(NAME, 8, 100) == b"89"
    with storage.local_path(NAME) as path:
        assert path.read_bytes() == b"0123456789" and there in path.parents
    with storage.reading(NAME) as file:
        assert file.read(2) == b"01" and file.seek(8) == 8 and file.read() == b"89"
        assert file.seek(-1, os.SEEK_END) == 9 and file.read() == b"9"
    assert list(storage.every_file()) == [(NAME, 10)]
    assert storage.names_in("projects/1/packs") == [NAME] and storage.names_in("projects/1") == []
    assert storage.exists(NAME) and not storage.exists("projects/1/packs/b.pack")
    storage.delete(NAME)
    storage.delete(NAME)
    assert objects(place) == {}


def test_what_is_missing_is_told(on_machine):
    with pytest.raises(FileNotFoundError):
        storage.read_range("projects/1/none", 0, 1)
    with pytest.raises(FileNotFoundError), storage.local_path("projects/1/none"):
        pass
    with pytest.raises(FileNotFoundError):
        storage.reading("projects/1/none")


def test_a_writer_that_breaks_off_leaves_nothing(place, on_machine, tmp_path):
    def write(file):
        file.write(b"half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        storage.write_once(NAME, write)
    assert objects(place) == {} and copies(tmp_path) == []


def test_a_name_cannot_leave_the_storage(place, on_machine):
    with pytest.raises(Exception, match="outside"):
        storage.write_once("../../etc/x", b"")
    assert objects(place) == {}


def test_a_copy_is_compared_with_its_digest(place, on_machine, tmp_path):
    storage.write_once(NAME, b"0123456789")
    s3 = client(place.endpoint)
    told = s3.head_object(Bucket=place.bucket, Key=f"{place.prefix}/{NAME}")["Metadata"]
    s3.put_object(Bucket=place.bucket, Key=f"{place.prefix}/{NAME}", Body=b"0123456780", Metadata=told)
    there = on_machine("two")
    with pytest.raises(storage.StorageAway, match="damaged"), storage.local_path(NAME):
        pass
    assert copies(there) == []


def test_a_file_that_another_tool_put_there_has_no_digest_and_is_read(place, on_machine):
    client(place.endpoint).put_object(Bucket=place.bucket, Key=f"{place.prefix}/{NAME}", Body=b"moved by hand")
    with storage.local_path(NAME) as path:
        assert path.read_bytes() == b"moved by hand"


def test_images_of_a_pack_come_in_blocks_and_each_once(place, on_machine, monkeypatch):
    monkeypatch.setattr(bucket_store, "BLOCK", 1000)
    data = np.random.default_rng(0).bytes(10_500)
    storage.write_once(NAME, data)
    on_machine("two")
    asked = mock.patch.object(BucketStore, "_body", autospec=True, side_effect=BucketStore._body)
    with asked as body:
        for offset, length in ((0, 10), (10, 20), (990, 30), (2500, 3000), (10_400, 500), (0, 10)):
            assert storage.read_range(NAME, offset, length) == data[offset : offset + length]
    assert body.call_count == 7  # blocks 0, 1, 2, 3, 4, 5 and 10


def test_an_upload_comes_in_parts_to_whichever_web_process(place, on_machine):
    name = "projects/1/staging/x.upload"
    storage.stage(name, 0, b"01234")
    storage.stage(name, 0, b"012")  # the answer to the first was lost; sent again by another browser, in less
    on_machine("two")
    storage.stage(name, 5, b"56")
    storage.stage(name, 7, b"789")
    assert list(storage.every_file()) == [(name, 10)] and storage.exists(name)
    assert storage.names_in("projects/1/staging") == [name]
    on_machine("three")
    with storage.local_path(name) as path:
        assert path.read_bytes() == b"0123456789"
    with storage.reading(name) as file:
        assert file.read() == b"0123456789"
    storage.delete(name)
    assert objects(place) == {}


def test_an_upload_that_a_backup_brings_goes_on(place, on_machine):
    name = "projects/1/staging/x.upload"
    storage.write_once(name, b"01234")
    assert list(objects(place)) == [part_name(name, 0, 5)]
    storage.stage(name, 5, b"56789")
    with storage.local_path(name) as path:
        assert path.read_bytes() == b"0123456789"


def test_a_file_that_is_written_again_is_fetched_again(on_machine):
    name = "projects/1/networks/x.checkpoint"
    path = storage.rewritten(name)
    assert not path.exists()
    for content in (b"first", b"second"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        storage.keep(name)
        on_machine("two" if content == b"first" else "one")
        path = storage.rewritten(name)
        assert path.read_bytes() == content


def test_files_are_marked_and_grow_old(on_machine):
    storage.write_once(NAME, b"0")
    assert storage.older("projects/1/packs", timedelta(seconds=-5)) == [NAME]
    assert storage.older("projects/1/packs", timedelta(days=1)) == []
    time.sleep(1.1)  # S3 counts seconds
    assert storage.older("projects/1/packs", timedelta(seconds=1)) == [NAME]
    storage.mark(NAME)
    storage.mark("projects/1/packs/none")
    assert storage.older("projects/1/packs", timedelta(seconds=1)) == []
    on_machine("two")
    with storage.local_path(NAME) as path:  # with its digest still
        assert path.read_bytes() == b"0"


def test_a_bucket_that_is_away_is_told_in_words_without_the_key(place, on_machine, settings):
    storage.write_once(NAME, b"0")
    settings.STORAGE = BucketPlace("pool", "x", "http://127.0.0.1:9", "us-east-1", place.key_id, place.secret)
    with pytest.raises(storage.StorageAway, match="does not answer") as error:
        storage.read_range(NAME, 0, 1)
    assert place.secret not in repr(error.value) and place.secret not in repr(settings.STORAGE)
    settings.STORAGE = BucketPlace("no-such-bucket", "x", place.endpoint, "us-east-1", place.key_id, place.secret)
    with pytest.raises(storage.StorageAway, match="NoSuchBucket"):
        storage.write_once(NAME, b"0")


def test_health_tells_whether_the_bucket_answers(place, on_machine, settings, monkeypatch):
    from labeler.selectors import health

    monkeypatch.setattr(health, "_found", {})
    monkeypatch.setattr(health, "_database", lambda: "away")
    assert health.parts()["storage"] == "ok"
    monkeypatch.setattr(health, "_found", {})
    settings.STORAGE = BucketPlace("pool", "x", "http://127.0.0.1:9", "us-east-1", place.key_id, place.secret)
    assert health.parts()["storage"] == "away"
    settings.STORAGE = None
    assert "storage" not in health.parts()


def test_a_bucket_that_refuses_is_no_missing_file(place, on_machine):
    refused = bucket_store._in_words(NAME)
    from botocore.exceptions import ClientError

    with pytest.raises(storage.StorageAway, match="AccessDenied"), refused:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetObject")
    with pytest.raises(storage.StorageFull), bucket_store._in_words():
        raise ClientError({"Error": {"Code": "XMinioStorageFull"}}, "PutObject")


class TestCopies:
    """`FileCache`: within its bound, oldest use first, and never what is in use."""

    @pytest.fixture
    def cache(self, tmp_path) -> FileCache:
        return FileCache(tmp_path / "cache", 1000)

    def put(self, cache: FileCache, name: str, size: int = 100, used: float = 1000) -> None:
        cache.write(name, lambda file: file.write(b"0" * size))
        if cache.path(name).exists():
            os.utime(cache.path(name), (time.time() - used, time.time() - used))

    def test_the_longest_unused_go_first(self, cache):
        for number in range(10):
            self.put(cache, f"a/{number}", used=1000 - number)
        assert cache.has("a/0")  # used now
        self.put(cache, "a/10")
        assert copies(cache.root) == ["0", "10", "3", "4", "5", "6", "7", "8", "9"]

    def test_what_is_in_use_stays_here_and_in_other_processes(self, cache):
        other = FileCache(cache.root, 1000)
        for number in range(10):
            self.put(cache, f"{'ab'[number % 2]}/{number}", used=1000 - number)
        with other.pinned(cache.path("a")), other.pinned(cache.path("a")):
            self.put(cache, "c/0")
            assert copies(cache.root) == ["0", "0", "2", "4", "5", "6", "7", "8", "9"]
        cache.bound = 300
        cache.make_room()
        assert len(copies(cache.root)) <= 3

    def test_what_was_just_used_stays_though_it_is_too_much(self, cache):
        for number in range(15):
            self.put(cache, f"a/{number}", used=0)
        assert len(copies(cache.root)) == 15

    def test_what_a_killed_process_left_goes_and_what_is_being_written_stays(self, cache):
        for name, used in (("a/.x.part", 9000), ("a/.y.part", 100)):
            self.put(cache, name, size=600, used=used)
        cache.make_room()
        assert copies(cache.root) == [".y.part"]

    def test_a_folder_that_goes_while_it_is_pinned_is_made_again(self, cache):
        for _ in range(50):
            self.put(cache, "a/0", size=2000)
            with cache.pinned(cache.path("a")):
                assert cache.path("a").is_dir()
            cache.make_room()
            assert not cache.path("a").exists()

    def test_copies_are_nobody_elses_to_read(self, cache):
        self.put(cache, "a/b/0")
        assert cache.path("a/b").stat().st_mode & 0o077 == 0


def test_many_bytes_go_up_in_parts(place, on_machine, monkeypatch):
    monkeypatch.setattr(bucket_store, "ONE_PUT", 5 * 2**20)
    data = np.random.default_rng(1).bytes(12 * 2**20)
    assert storage.write_once(NAME, data) == len(data)
    on_machine("two")
    with storage.local_path(NAME) as path:
        assert path.read_bytes() == data
