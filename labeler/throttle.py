"""Counters in the cache: who fails too often waits, and so does who asks too often."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from django.conf import settings
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


PREDICTIONS = Throttle("predict", limit=settings.PREDICTIONS_PER_MINUTE, seconds=60)
"""Single new images that one person asks the model about, by the page or by a program."""


@dataclass(frozen=True)
class Rate:
    """What is left of a window: below 0 the request is one too many."""

    limit: int
    remaining: int
    seconds: int  # until the next window


class RateLimit:
    """At most so many requests of one key in each window of `seconds`, counted as `Throttle` counts."""

    def __init__(self, name: str, *, seconds: int) -> None:
        self.name, self.seconds = name, seconds

    def count(self, key: str, limit: int) -> Rate:
        window, into = divmod(int(time.time()), self.seconds)
        name = f"rate:{self.name}:{key}:{window}"
        left = self.seconds - into
        try:
            cache.add(name, 0, timeout=2 * self.seconds)
            counted = int(cache.incr(name))
        except RedisError as error:
            log.warning("The limit %s does not count: %s", self.name, error)
            counted = 1
        except ValueError:  # it expired between the two calls
            counted = 1
        return Rate(limit, limit - counted, left)
