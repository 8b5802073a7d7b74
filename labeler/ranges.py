"""Large files for download, whole or from where a broken download stopped (RFC 9110, section 14)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from typing import BinaryIO

from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.http import content_disposition_header

PIECE = 256 * 1024
NOWHERE = (-1, -1)
ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def file_reply(
    request: HttpRequest, file: BinaryIO, *, size: int, name: str, media_type: str, digest: str
) -> HttpResponseBase:
    """The file, or the one range of it that was asked for. `digest` names its content: a range of another file that has
    been put in its place meanwhile is never appended to the first part."""
    tag = f'"{digest}"' if digest else ""
    wanted = _range_of(request, size, tag)
    reply: HttpResponseBase
    if wanted == NOWHERE:
        file.close()
        reply = HttpResponse(status=416, headers={"Content-Range": f"bytes */{size}"})
    elif wanted is None:
        reply = FileResponse(file, content_type=media_type)
        reply.headers["Content-Length"] = str(size)
    else:
        first, last = wanted
        reply = StreamingHttpResponse(_part(file, first, last), status=206, content_type=media_type)
        reply.headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        reply.headers["Content-Length"] = str(last - first + 1)
    reply.headers["Accept-Ranges"] = "bytes"
    reply.headers["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    if tag:
        reply.headers["ETag"] = tag
    return reply


def _range_of(request: HttpRequest, size: int, tag: str) -> tuple[int, int] | None:
    """First and last byte; None: the whole file; NOWHERE: past its end. Several ranges get the whole file."""
    found = ONE_RANGE.fullmatch(request.headers.get("Range", "").strip())
    if found is None or request.method != "GET" or found[1] == found[2] == "":
        return None
    if request.headers.get("If-Range", tag) != tag:
        return None
    if found[1] == "":
        first, last = max(0, size - int(found[2])), size - 1
    else:
        first, last = int(found[1]), min(size - 1, int(found[2]) if found[2] else size - 1)
        if found[2] and int(found[2]) < first:
            return None  # no range at all, says the standard
    return (first, last) if first <= last else NOWHERE


def _part(file: BinaryIO, first: int, last: int) -> Iterator[bytes]:
    with closing(file):
        file.seek(first)
        left = last - first + 1
        while left and (piece := file.read(min(PIECE, left))):
            left -= len(piece)
            yield piece
