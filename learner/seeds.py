"""Independent random streams from one seed."""

from __future__ import annotations

import hashlib


def derive(seed: int, purpose: str) -> int:
    """A seed of its own for one purpose, so that the masks of a round do not depend on how long its fit was.

    Args:
        seed: The round's seed.
        purpose: What the stream is for, such as `"masks"`.

    Returns:
        A number in [0, 2**63), always the same for the same arguments, on every machine.

    >>> derive(0, "masks") == derive(0, "masks") != derive(0, "initial weights")
    True
    """
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8], "big") >> 1
