"""What the storage says when it refuses; the messages are for people."""

from __future__ import annotations

from labeler.told import told


class StorageError(Exception):
    """Storage refused."""


class StorageFull(StorageError):
    """No space left. Nothing half-written was kept."""


class StorageAway(StorageError, OSError):
    """The bucket does not answer, or refuses: nobody's fault who works here, and it may be over in a minute."""


def silent(error: Exception) -> StorageAway:
    """Where it does not answer, or breaks off."""
    words = told(
        "The storage does not answer (%(name)s). Try again in a minute; nothing was lost.", name=type(error).__name__
    )
    return StorageAway(words)
