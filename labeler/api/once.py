"""What a request with an Idempotency-Key does is done once, however often it is sent within a day."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import timedelta

from django.http import HttpRequest, HttpResponse

from labeler import clock
from labeler.api.problems import Problem
from labeler.models import ApiReply, User
from labeler.services.races import again_if_raced
from labeler.services.tokens import REPLIES_KEPT

HEADER = "Idempotency-Key"
LONGEST = 200
KEY = re.compile(r"[\x21-\x7e]+")
KEPT_HEADERS = ("Content-Type", "Location")
SHOWN_ONCE = "X-Shown-Once"  # set by operations whose reply nobody may read again, and taken off here
FOREIGN = "This Idempotency-Key was used for another request. Make a new one for each thing that you want done."
WAS_SHOWN = "This was done already, and its secret was shown then: it cannot be shown again."


class _Refused(Exception):
    """Takes back what a request did, if anything, that was answered with an error."""

    def __init__(self, reply: HttpResponse) -> None:
        super().__init__()
        self.reply = reply


def once(request: HttpRequest, run: Callable[[], HttpResponse]) -> HttpResponse:
    """`run`, or its reply of the first time. The act and its reply are one transaction: after a crash both are there,
    or neither. Errors are not kept: sent again, such a request is tried again. Raises Problem."""
    key, user = request.headers.get(HEADER), request.user
    if request.method != "POST" or key is None or not isinstance(user, User):
        return _shown(run())
    if len(key) > LONGEST or not KEY.fullmatch(key):
        raise Problem(400, f"“{HEADER}” is 1 to {LONGEST} ASCII characters without spaces; a new UUID is a good one.")
    digest = _digest(request)

    def work() -> HttpResponse:
        before = ApiReply.objects.filter(user=user, key=key).first()
        if before is not None and before.created_at < clock.now() - REPLIES_KEPT:
            before.delete()
            before = None
        if before is not None:
            return _again(before, digest)
        row = ApiReply.objects.create(user=user, key=key, digest=digest)  # of two at once, the second waits here
        reply = run()
        if reply.status_code >= 400:
            raise _Refused(reply)
        if SHOWN_ONCE not in reply:
            row.body = reply.content.decode()
        row.status = reply.status_code
        row.headers = {name: reply[name] for name in KEPT_HEADERS if name in reply}
        row.save(update_fields=["status", "body", "headers"])
        return _shown(reply)

    try:
        return again_if_raced(work)
    except _Refused as refused:
        return refused.reply


def _digest(request: HttpRequest) -> str:
    """Of what is asked. A form with files is read as such: its files may be larger than a body that is kept in memory,
    and its boundary is another one each time."""
    found = hashlib.sha256(f"{request.method} {request.get_full_path()}\n".encode())
    if request.content_type != "multipart/form-data":
        found.update(request.body)
        return found.hexdigest()
    found.update(repr(sorted(request.POST.lists())).encode())
    for name, files in sorted(request.FILES.lists()):
        for file in files:
            found.update(repr((name, file.name, file.size)).encode())
            for part in file.chunks():
                found.update(part)
            file.seek(0)
    return found.hexdigest()


def _again(row: ApiReply, digest: str) -> HttpResponse:
    if row.digest != digest:
        raise Problem(409, FOREIGN)
    if not row.body and row.status not in (204,):
        raise Problem(409, WAS_SHOWN)
    return HttpResponse(row.body, status=row.status, headers={**row.headers, "Idempotent-Replayed": "true"})


def _shown(reply: HttpResponse) -> HttpResponse:
    if SHOWN_ONCE in reply:
        del reply[SHOWN_ONCE]
    return reply


KEPT_HOURS = REPLIES_KEPT // timedelta(hours=1)
