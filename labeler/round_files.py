"""The files of a round, of whichever machine has written them: the model, a score file a chunk, what was made of both.

In a folder of DATA_DIR they are simply there. Of a bucket a machine fetches what it lacks (`fetched`, `held`), and
whoever has written one hands it on (`hand_on`). The names are those of the learner, which knows nothing of buckets.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from labeler.models import Round
from labeler.storage import bucket, round_folder, round_name

SCORES = "scores/"
HELD = 4  # rounds whose copies a worker does not let go: its own, the one in charge, two that are compared

_held: OrderedDict[Path, None] = OrderedDict()
_guard = threading.Lock()


def fetched(round_: Round, *names: str) -> Path:
    """The round's folder, in which these files are if the round has them: names, or folders that end in a slash.
    Raises StorageAway."""
    store, folder = bucket(), round_folder(round_)
    if store is not None:
        for name in names:
            whole = f"{round_name(round_)}/{name}"
            if name.endswith("/"):
                store.fetch_folder(whole.rstrip("/"))
            elif not store.cache.has(whole):
                _fetch(whole)
    return folder


def fetched_model(round_: Round) -> Path:
    """The round's folder, with all but the scores."""
    store = bucket()
    if store is None:
        return round_folder(round_)
    return store.fetch_folder(round_name(round_), lambda name: not name.startswith(SCORES))


def _fetch(name: str) -> None:
    store = bucket()
    assert store is not None
    try:
        store.fetch(name)
    except FileNotFoundError:
        return  # whoever reads it says so in the learner's words


def held(round_: Round, *, scores: bool = True) -> Path:
    """For a worker: the folder with everything, or all but the scores, which stays until others are held."""
    store, folder = bucket(), round_folder(round_)
    if store is None:
        return folder
    with _guard:
        if folder not in _held:
            for each in (folder, folder / SCORES):
                store.cache.pin(each)
        _held[folder] = None
        _held.move_to_end(folder)
        for old in list(_held)[:-HELD]:
            del _held[old]
            for each in (old, old / SCORES):
                store.cache.unpin(each)
    store.fetch_folder(round_name(round_), lambda name: scores or not name.startswith(SCORES))
    return folder


def hand_on(round_: Round, paths: Iterable[Path] | None = None) -> None:
    """Let others have what was written into the folder: these files, or all."""
    store, folder = bucket(), round_folder(round_)
    if store is None:
        return
    for path in folder.rglob("*") if paths is None else paths:
        if path.is_file() and not path.name.startswith("."):
            store.keep(f"{round_name(round_)}/{path.relative_to(folder).as_posix()}")


def has_file(round_: Round, name: str) -> bool:
    """Whether the round has a file of that name, or anything in a folder whose name ends in a slash."""
    store, path = bucket(), round_folder(round_) / name
    if path.exists() or store is None:
        return path.exists()
    whole = f"{round_name(round_)}/{name}"
    return any(True for _ in store.listed(whole)) if name.endswith("/") else store.exists(whole)
