"""Files in the bucket that STORAGE_URL names. What is read of them here is kept in `FileCache`.

Files are written once, so a copy is never stale; each is compared with the SHA-256 that was written beside it. Pieces
of large files, such as one image of a pack, come in blocks. Parts of an upload are objects, named by their place.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, BinaryIO

from labeler.file_cache import FileCache
from labeler.storage_errors import StorageAway, StorageError, StorageFull, silent
from labeler.storage_place import BucketPlace
from labeler.told import told

BLOCK = 2**20  # what is fetched at least of a file that is read in pieces
ONE_PUT = 64 * 2**20  # larger files go up in parts
DIGEST = "sha256"
PARTS = ".parts"  # of an upload: objects below this, named by their first byte and their size
AT_ONCE = 8
PAGE = 1000
GONE = {"404", "NoSuchKey", "NotFound"}
FULL = {"XMinioStorageFull", "QuotaExceeded", "InsufficientStorage", "507"}


@dataclass(frozen=True)
class Listed:
    """An object: its name in the storage, bytes, when it was written."""

    name: str
    size: int
    at: datetime


class BucketStore:
    """One bucket, and the copies of it that are here. Raises StorageAway where it does not answer."""

    def __init__(self, place: BucketPlace, cache: FileCache) -> None:
        self.place, self.cache = place, cache
        self._client: Any = None
        self._made_by = 0
        self._guard = threading.Lock()

    @property
    def client(self) -> Any:
        """One for all threads of a process; a forked one makes its own."""
        with self._guard:
            if self._client is None or self._made_by != os.getpid():
                self._client, self._made_by = _client(self.place), os.getpid()
            return self._client

    # --- whole files ------------------------------------------------------------------------------------------------

    def write(self, name: str, fill: Callable[[BinaryIO], object]) -> int:
        """Raises StorageError where there is such a file."""
        if self.exists(name):
            raise StorageError(told("There is a file named %(value)s already.", value=name.rpartition("/")[2]))
        if is_staged(name):
            self.cache.write(name, fill, then=lambda path: self._put(part_name(name, 0, path.stat().st_size), path))
            self.cache.forget(name)
            return self.size(name)
        return self.cache.write(name, fill, then=lambda path: self._put(name, path))

    def keep(self, name: str) -> None:
        """Put up what the learner has written into the copy."""
        self._put(name, self.cache.path(name))

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        """Its copy here, which stays as long as it is used. Raises FileNotFoundError."""
        path = self.cache.path(name)
        with self.cache.pinned(path.parent):
            self.fetch(name)
            yield path

    def fetch(self, name: str) -> None:
        if not self.cache.has(name):
            self.cache.write(name, lambda file: self._download(name, file))

    def fetch_anew(self, name: str) -> None:
        """A file that is written again and again by whoever has its job: the newest, or none."""
        self.cache.forget(name)
        with suppress(FileNotFoundError):
            self.fetch(name)

    def fetch_folder(self, folder: str, wanted: Callable[[str], bool] = lambda _: True) -> Path:
        """All of its files that are not here yet, by their names in the folder."""
        names = [one.name for one in self.listed(f"{folder}/") if wanted(one.name.removeprefix(f"{folder}/"))]
        missing = [name for name in names if not self.cache.has(name)]
        if len(missing) < 2:
            for name in missing:
                self.fetch(name)
        else:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(self.fetch, missing))
        return self.cache.path(folder)

    def delete(self, name: str) -> None:
        self.cache.forget(name)
        names = [one.name for one in self.listed(f"{name}{PARTS}/")] if is_staged(name) else []
        with _in_words():
            for each in (name, *names):
                self.client.delete_object(Bucket=self.place.bucket, Key=self._key(each))

    def delete_folder(self, folder: str) -> None:
        for one in [*self.listed(f"{folder}/")]:
            self.delete(one.name)
        shutil.rmtree(self.cache.path(folder), ignore_errors=True)

    # --- pieces -----------------------------------------------------------------------------------------------------

    def read_range(self, name: str, offset: int, length: int) -> bytes:
        """By blocks, which are kept here: the images of a pack are read one after another, or again and again."""
        if self.cache.has(name):
            with suppress(FileNotFoundError), self.cache.path(name).open("rb") as file:
                file.seek(offset)
                return file.read(length)
        if length <= 0:
            return b""
        first, last = offset // BLOCK, (offset + length - 1) // BLOCK
        pieces = b"".join(self._block(name, number) for number in range(first, last + 1))
        return pieces[offset - first * BLOCK :][:length]

    def _block(self, name: str, number: int) -> bytes:
        kept = f".blocks/{name}/{number}"
        if self.cache.has(kept):
            with suppress(FileNotFoundError):
                return self.cache.path(kept).read_bytes()
        with closing(self._body(name, number * BLOCK, BLOCK)) as body, _in_words():
            data: bytes = body.read()
        self.cache.write(kept, lambda file: file.write(data))
        return data

    def open(self, name: str) -> BinaryIO:
        """For reading and seeking, without a copy. Raises FileNotFoundError."""
        if not is_staged(name):
            return io.BufferedReader(_Chain(self, [(name, 0, self.size(name))]))
        if not (pieces := self._pieces(name)):
            raise FileNotFoundError(f"{name} is not in the storage")
        return io.BufferedReader(_Chain(self, pieces))

    def stage(self, name: str, offset: int, data: bytes) -> None:
        with _in_words():
            key = self._key(part_name(name, offset, len(data)))
            self.client.put_object(Bucket=self.place.bucket, Key=key, Body=data, Metadata=_digest_of(data))

    # --- what there is ----------------------------------------------------------------------------------------------

    def exists(self, name: str) -> bool:
        try:
            self.size(name)
        except FileNotFoundError:
            return False
        return True

    def size(self, name: str) -> int:
        if is_staged(name):
            if not (pieces := self._pieces(name)):
                raise FileNotFoundError(f"{name} is not in the storage")
            return sum(size for _, _, size in pieces)
        with _in_words(name):
            return int(self.client.head_object(Bucket=self.place.bucket, Key=self._key(name))["ContentLength"])

    def mark(self, name: str) -> None:
        """Make now the time when it was written, if it is there."""
        with suppress(FileNotFoundError), _in_words(name):
            where = {"Bucket": self.place.bucket, "Key": self._key(name)}
            reply = self.client.head_object(**where)
            self.client.copy_object(
                **where, CopySource=where, Metadata=reply.get("Metadata", {}), MetadataDirective="REPLACE"
            )

    def listed(self, start: str) -> Iterator[Listed]:
        """All whose names begin so, page by page."""
        cut = len(self._key(""))
        with _in_words():
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.place.bucket, Prefix=self._key(start), PaginationConfig={"PageSize": PAGE}
            )
            for page in pages:
                for one in page.get("Contents", ()):
                    yield Listed(one["Key"][cut:], int(one["Size"]), one["LastModified"])

    def folders(self, folder: str) -> Iterator[str]:
        """The names of the folders in a folder."""
        start = self._key(f"{folder}/")
        with _in_words():
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.place.bucket, Prefix=start, Delimiter="/"
            )
            for page in pages:
                yield from (one["Prefix"][len(start) :].rstrip("/") for one in page.get("CommonPrefixes", ()))

    def every(self) -> Iterator[tuple[str, int]]:
        """Name and size of all files; an upload under way is one."""
        staged: dict[str, None] = {}
        for one in self.listed(""):
            name, mark, _ = one.name.partition(PARTS + "/")
            if not mark:
                yield one.name, one.size
            else:
                staged[name] = None
        for name in staged:
            with suppress(FileNotFoundError):  # gone meanwhile, or its first part is
                yield name, self.size(name)

    def check(self) -> None:
        """Raises StorageAway, in words, where the bucket cannot be used. A few seconds at most."""
        with _in_words():
            client = _client(self.place, attempts=1, seconds=2)
            client.list_objects_v2(Bucket=self.place.bucket, Prefix=self._key(""), MaxKeys=1)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _key(self, name: str) -> str:
        return f"{self.place.prefix}/{name}" if self.place.prefix else name

    def _pieces(self, name: str) -> list[tuple[str, int, int]]:
        """Of an upload: objects, where in them to begin, how much. Parts of which the answer was lost may have come
        again in other sizes, and overlap; their bytes are the same."""
        parts = [(int(one.name.rpartition("/")[2].partition("-")[0]), one) for one in self.listed(f"{name}{PARTS}/")]
        found: list[tuple[str, int, int]] = []
        at = 0
        while True:
            here = [(begin + one.size, begin, one.name) for begin, one in parts if begin <= at < begin + one.size]
            if not here:
                return found
            end, begin, part = max(here)
            found.append((part, at - begin, end - at))
            at = end

    def _put(self, name: str, path: Path) -> None:
        from boto3.s3.transfer import TransferConfig

        with path.open("rb") as file:
            beside = {DIGEST: hashlib.file_digest(file, "sha256").hexdigest()}
            file.seek(0)
            where = {"Bucket": self.place.bucket, "Key": self._key(name)}
            with _in_words():
                if path.stat().st_size <= ONE_PUT:
                    self.client.put_object(**where, Body=file, Metadata=beside)
                    return
                config = TransferConfig(multipart_threshold=ONE_PUT, multipart_chunksize=ONE_PUT, max_concurrency=4)
                self.client.upload_fileobj(file, **where, ExtraArgs={"Metadata": beside}, Config=config)

    def _download(self, name: str, to: BinaryIO) -> None:
        """The whole of it, compared with its digest; an upload part by part."""
        if is_staged(name):
            with self.open(name) as parts:
                shutil.copyfileobj(parts, to, BLOCK)
            return
        with _in_words(name):
            reply = self.client.get_object(Bucket=self.place.bucket, Key=self._key(name))
            sha, left = hashlib.sha256(), int(reply["ContentLength"])
            with closing(reply["Body"]) as body:
                while piece := body.read(BLOCK):
                    to.write(piece)
                    sha.update(piece)
                    left -= len(piece)
        if left or reply.get("Metadata", {}).get(DIGEST) not in (None, sha.hexdigest()):
            raise StorageAway(told("%(name)s did not come whole from the storage, or is damaged there.", name=name))

    def _body(self, name: str, offset: int, length: int | None = None) -> IO[bytes]:
        end = "" if length is None else str(offset + length - 1)
        with _in_words(name):
            reply = self.client.get_object(Bucket=self.place.bucket, Key=self._key(name), Range=f"bytes={offset}-{end}")
        return reply["Body"]  # type: ignore[no-any-return]


class _Chain(io.RawIOBase):
    """Objects one after another as one file: asked for from where one reads on, so that a jump costs one request."""

    def __init__(self, store: BucketStore, pieces: list[tuple[str, int, int]]) -> None:
        super().__init__()
        self.store, self.pieces, self.at = store, pieces, 0
        self.length = sum(size for _, _, size in pieces)
        self._body: IO[bytes] | None = None
        self._left = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        to = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.length}[whence]
        if to != self.at:
            self._drop()
            self.at = max(0, to)
        return self.at

    def readinto(self, buffer: Any) -> int:
        if self.at >= self.length:
            return 0
        if self._body is None:
            self._begin()
        assert self._body is not None
        with _in_words():
            piece = self._body.read(min(len(buffer), self._left))
        if not piece:
            raise StorageAway(told("A file did not come whole from the storage."))
        buffer[: len(piece)] = piece
        self.at, self._left = self.at + len(piece), self._left - len(piece)
        if not self._left:
            self._drop()
        return len(piece)

    def _begin(self) -> None:
        begin = 0
        for name, first, size in self.pieces:
            if begin <= self.at < begin + size:
                self._body = self.store._body(name, first + self.at - begin)
                self._left = begin + size - self.at
                return
            begin += size

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
        self._body = None

    def close(self) -> None:
        self._drop()
        super().close()


def is_staged(name: str) -> bool:
    """An upload: it comes in parts."""
    return "/staging/" in name


def part_name(name: str, offset: int, size: int) -> str:
    return f"{name}{PARTS}/{offset:015d}-{size}"


def _digest_of(data: bytes) -> dict[str, str]:
    return {DIGEST: hashlib.sha256(data).hexdigest()}


def _client(place: BucketPlace, attempts: int = 4, seconds: float = 20) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(
        signature_version="s3v4",
        s3={"addressing_style": "path" if place.endpoint else "auto"},
        connect_timeout=min(3, seconds),
        read_timeout=seconds,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=4 * AT_ONCE,
        request_checksum_calculation="when_required",  # servers that speak like S3 do not know the newer ones
        response_checksum_validation="when_required",
    )
    return boto3.session.Session().client(
        "s3",
        endpoint_url=place.endpoint or None,
        region_name=place.region,
        aws_access_key_id=place.key_id or None,
        aws_secret_access_key=place.secret or None,
        config=config,
    )


@contextmanager
def _in_words(name: str = "") -> Iterator[None]:
    """What boto3 says, as FileNotFoundError, StorageFull or StorageAway; never with a key in it."""
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if name and code in GONE:
            raise FileNotFoundError(f"{name} is not in the storage") from None
        if code in FULL:
            raise StorageFull(told("The storage is full. Make room, then try again; nothing was lost.")) from error
        words = told("The storage refused (%(value)s). Try again, or tell who runs this server.", value=code[:60])
        raise StorageAway(words) from error
    except (BotoCoreError, HTTPError) as error:
        raise silent(error) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "boto3":
            raise
        raise silent(error) from error
