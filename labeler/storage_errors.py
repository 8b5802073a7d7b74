"""What the storage says when it refuses; the messages are for people."""

from __future__ import annotations


class StorageError(Exception):
    """Storage refused."""


class StorageFull(StorageError):
    """No space left. Nothing half-written was kept."""


class StorageAway(StorageError, OSError):
    """The bucket does not answer, or refuses: nobody's fault who works here, and it may be over in a minute."""
