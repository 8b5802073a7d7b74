"""A counter of failures in the cache: who fails too often waits."""

from __future__ import annotations

import logging

from django.core.cache import cache
from redis.exceptions import RedisError

log = logging.getLogger(__name__)


class Throttle:
    """At most `limit` failures of one key in `seconds`.

    With the cache in memory (no REDIS_URL) each web process counts for itself. Without its Redis nothing is counted:
    a stopped cache must not lock everybody out, and what is guarded here cannot be guessed anyway.
    """

    def __init__(self, name: str, *, limit: int, seconds: int) -> None:
        self.name, self.limit, self.seconds = name, limit, seconds

    def is_over(self, key: str) -> bool:
        try:
            return int(cache.get(self._key(key), 0)) >= self.limit
        except RedisError as error:
            log.warning("The throttle %s does not count: %s", self.name, error)
            return False

    def note_failure(self, key: str) -> None:
        try:
            cache.add(self._key(key), 0, timeout=self.seconds)
            cache.incr(self._key(key))
        except RedisError as error:
            log.warning("The throttle %s does not count: %s", self.name, error)
        except ValueError:  # it expired between the two calls
            cache.set(self._key(key), 1, timeout=self.seconds)

    def _key(self, key: str) -> str:
        return f"throttle:{self.name}:{key}"
