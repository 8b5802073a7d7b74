"""Some of the Procfile's processes, for a machine that does not run all of them: `learner=2 background`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

PART = re.compile(r"([a-z]+)(?:=([1-9]\d?))?")
ONLY_ONE = ("web", "beat")  # web has workers of its own (WEB_WORKERS); two beats would send everything twice


class UnknownPart(Exception):
    """What is wrong with what was asked for; the message is for people."""


def chosen(procfile: Mapping[str, Sequence[str]], words: Sequence[str]) -> dict[str, list[str]]:
    """Name to command; of several of a kind each has a name of its own, by which the database tells them apart. Raises
    UnknownPart."""
    found: dict[str, list[str]] = {}
    for word in words:
        match = PART.fullmatch(word)
        if match is None or match[1] not in procfile:
            raise UnknownPart(f"{word} is none of {', '.join(procfile)}; of workers several: learner=2.")
        name, count = match[1], int(match[2] or 1)
        if name in found:
            raise UnknownPart(f"{name} is named twice; several are {name}=2.")
        if count > 1 and name in ONLY_ONE:
            more = "WEB_WORKERS says how many processes it has" if name == "web" else "there is one for all machines"
            raise UnknownPart(f"{name} is started once: {more}.")
        for number in range(1, count + 1):
            own = name if number == 1 else f"{name}{number}"
            found[own] = [part.replace(f"{name}@", f"{own}@") for part in procfile[name]]
    return found
