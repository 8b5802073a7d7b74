"""An answer of the plain form that could not be saved because its session had ended, carried to where it is confirmed.

It travels in the address, signed: nothing is stored for who is signed out. Nothing is saved without a press of the
person whom the form was made for, on a page of their new session, with its token: signing in changes the old one's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from urllib.parse import urlencode

from django.core import signing
from django.http import HttpRequest

SALT = "labeler.kept-answer"
KEPT_FOR = timedelta(days=1)
FIELD = "kept"
LENGTH = 60  # of a value; they are ids, words and a UUID


@dataclass(frozen=True)
class KeptAnswer:
    """The form's own texts, not checked yet."""

    annotator: str
    image: str
    candidate: str
    key: str
    label_class: str
    outcome: str


def address_with_answer(request: HttpRequest) -> str:
    """The address at which the answer of this form is confirmed; empty if it brings none."""
    form = {name: request.POST.get(name, "")[:LENGTH] for name in KeptAnswer.__annotations__}
    answer = KeptAnswer(**form)
    if not (answer.annotator and answer.image and (answer.label_class or answer.outcome)):
        return ""
    return f"{request.path}?{urlencode({FIELD: signing.dumps(asdict(answer), salt=SALT)})}"


def kept_answer(request: HttpRequest) -> KeptAnswer | None:
    """The one that the address brings, whoever it is of. None if there is none, or it is changed or old."""
    try:
        return KeptAnswer(**signing.loads(request.GET.get(FIELD, ""), salt=SALT, max_age=KEPT_FOR))
    except signing.BadSignature:
        return None
