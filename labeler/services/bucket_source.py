"""A bucket as a source of an import: listed page by page, each image read when its turn comes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from labeler.buckets import Bucket, BucketError, Object, object_pieces, objects, read_object
from labeler.imaging.decode import DecodedImage, Limits, Refused, decode
from labeler.imaging.files import MAX_TABLE_BYTES, TablesSeen, copy_table
from labeler.imaging.names import folder_label, is_litter, name_refusal, normal
from labeler.imaging.sources import Entry, Source
from labeler.imaging.zips import BadArchive, BadEntry
from labeler.outbound import OutboundError
from labeler.told import amount, told


class BucketSource(Source):
    """`after`: the key that an earlier run finished last; keys may be added at any time, so places do not count.
    `pages`: how many to list, for a look. `is_cut`: there are more. A bucket that cannot be listed raises BucketError,
    also while entries are walked: the import can be tried again."""

    def __init__(
        self, bucket: Bucket, limits: Limits, beat: Callable[[], object], after: str = "", pages: int | None = None
    ) -> None:
        self._bucket, self._limits, self._beat, self._after, self._pages = bucket, limits, beat, after, pages
        labels: set[str] = set()
        found = TablesSeen()
        count = 0
        for one in self._objects(""):
            count += 1
            found.see(one.key)
            if len(labels) < 10_000 and not is_litter(one.key):
                labels.add(folder_label(one.key))
            if count > limits.max_entries:
                raise BadArchive(
                    told("The bucket has more than %(max_entries)s objects there.", max_entries=limits.max_entries)
                )
        if not count:
            raise BadArchive(told("There is no object in the bucket with this prefix."))
        self.is_cut = pages is not None and count >= pages * 1000
        self.tables, self.total = found.names, count - found.count
        self._has_classes = len(labels - {""}) >= 2

    def entries(self, start: int) -> Iterator[Entry]:
        skip = 0 if self._after else start
        for one in self._objects(self._after):
            if one.key in self.tables:
                continue
            if skip:
                skip -= 1
                continue
            yield self._entry(one)

    def names(self) -> Iterator[str]:
        for one in self._objects(""):
            if one.key not in self.tables:
                yield one.key

    @contextmanager
    def table_path(self, name: str) -> Iterator[Path]:
        with tempfile.NamedTemporaryFile() as file:
            try:
                copy_table(self._beating(object_pieces(self._bucket, name, MAX_TABLE_BYTES)), file)
            except (BucketError, OutboundError) as error:
                raise BadEntry(str(error)) from None
            yield Path(file.name)

    def _objects(self, after: str) -> Iterator[Object]:
        for page in objects(self._bucket, after=after, pages=self._pages):
            self._beat()
            yield from (one for one in page if not one.key.endswith("/"))

    def _beating(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._beat()
            yield piece

    def _entry(self, one: Object) -> Entry:
        name = one.key
        if is_litter(normal(name)):
            return Entry(name, None)
        why = name_refusal(normal(name))
        if not why and one.size > self._limits.max_bytes:
            why = told(
                "It has %(size)s MiB; at most %(most)s are taken.",
                size=amount(one.size / 2**20, 1),
                most=amount(self._limits.max_bytes / 2**20, 1),
            )
        if why:
            return Entry(name, partial(Refused, why))
        label = folder_label(normal(name)) if self._has_classes else ""
        return Entry(
            name, partial(self._load, name), label, max(one.size, 1), address=f"s3://{self._bucket.name}/{name}"
        )

    def _load(self, key: str) -> DecodedImage | Refused:
        try:
            data = read_object(self._bucket, key, self._limits.max_bytes)
        except (BucketError, OutboundError) as error:
            return Refused(str(error))
        return decode(data, self._limits)
