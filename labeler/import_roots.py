"""Folders of the server that managers may import from: those that an operator has named, and what lies below them."""

from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _

SHOWN = 500  # subfolders of one folder


class FolderRefused(Exception):
    """Why, in words for people; `field` is empty where no folder at all would be taken."""

    field = "path"


def roots() -> list[Path]:
    return [Path(root).resolve() for root in settings.IMPORT_ROOTS if root]


def allowed_folder(text: str) -> Path:
    """The folder, with all links followed, if it lies in a root. Raises FolderRefused, in the same words for what is
    not there and for what is elsewhere: nobody learns from it what the server has."""
    if not roots():
        refusal = FolderRefused(_("No folder of the server may be imported. An operator names them by IMPORT_ROOTS."))
        refusal.field = ""
        raise refusal
    refusal = FolderRefused(_("There is no such folder in those that may be imported."))
    if not text or "\x00" in text or len(text) > 4000 or not Path(text).is_absolute():
        raise refusal
    try:
        path = Path(text).resolve(strict=True)
        is_folder = path.is_dir()
    except (OSError, RuntimeError):
        raise refusal from None
    if not is_folder or not any(path.is_relative_to(root) for root in roots()):
        raise refusal
    return path


def subfolders(path: Path) -> list[Path]:
    """Its folders, links left out. Raises FolderRefused."""
    try:
        with os.scandir(path) as found:
            names = sorted(one.name for one in found if one.is_dir(follow_symlinks=False))
    except OSError:
        raise FolderRefused(_("The server may not read that folder.")) from None
    return [path / name for name in names[:SHOWN]]
