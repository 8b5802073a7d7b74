"""Who sends a request: the session and the person, which every request looks up, in one short statement each.

Both do what Django's own do; the statements are written out because to build them by the ORM takes several times as
long as to run them, and half of what an image cost was that.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.sessions.backends import db
from django.db import connection
from django.utils import timezone

from labeler.models import User
from labeler.rows import Reader

PERSONS = Reader(User)
SESSION = "SELECT session_data FROM django_session WHERE session_key = %s AND expire_date > %s"
PERSON = f"SELECT {PERSONS.columns('u')} FROM labeler_user u WHERE u.id = %s"  # noqa: S608  (columns, not input)


class SessionStore(db.SessionStore):
    """Sessions in the database. `SESSION_ENGINE` is this module."""

    def load(self) -> dict[str, Any]:
        now = connection.ops.adapt_datetimefield_value(timezone.now())
        with connection.cursor() as cursor:
            cursor.execute(SESSION, [self.session_key, now])
            row = cursor.fetchone()
        if row is None:
            self._session_key = None
            return {}
        return dict(self.decode(row[0]))


class PersonBackend(ModelBackend):
    """Name and password, against the database."""

    def get_user(self, user_id: int) -> User | None:
        with connection.cursor() as cursor:
            cursor.execute(PERSON, [user_id])
            row = cursor.fetchone()
        user = PERSONS.take(iter(row)) if row else None
        return user if user is not None and self.user_can_authenticate(user) else None
