"""Names of files as people give them. They are only ever stored as text and never opened, but a name that tries to
leave its folder says enough about the archive to refuse the entry."""

from __future__ import annotations

import re
import unicodedata

from labeler.told import Told, told

NAME_LENGTH = 500
LABEL_LENGTH = 100
OWN_WORDS = "about-this-export.json"  # what our exports say of themselves beside the images
LITTER = {".ds_store", "thumbs.db", "desktop.ini", ".directory", "ehthumbs.db", OWN_WORDS}
NO_CLASSES = {"train", "test", "val", "valid", "validation", "images", "image", "img", "imgs", "data"}
DRIVE = re.compile(r"^[A-Za-z]:")
CONTROL = re.compile(r"[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]")


def printable(name: str) -> str:
    """The name for showing: control characters (which databases and terminals choke on) become a visible mark."""
    return CONTROL.sub("\N{REPLACEMENT CHARACTER}", name)


def normal(name: str) -> str:
    return name.replace("\\", "/")


def name_refusal(name: str, is_path: bool = False) -> str:
    """Why an entry of this (normal) name, or a table's path to one, is refused, in words; empty when it is fine."""
    if CONTROL.search(name):
        return told("Its path holds control characters.") if is_path else told("Its name holds control characters.")
    if name.startswith("/") or DRIVE.match(name):
        return told("Its path is an absolute path.") if is_path else told("Its name is an absolute path.")
    if ".." in name.split("/"):
        out = told("Its path points out of the archive (“..”).")
        return out if is_path else told("Its name points out of the archive (“..”).")
    if len(name) > NAME_LENGTH:
        return too_long(is_path)
    return ""


def too_long(is_path: bool = False) -> Told:
    if is_path:
        return told("Its path is longer than %(most)s characters.", most=NAME_LENGTH)
    return told("Its name is longer than %(most)s characters.", most=NAME_LENGTH)


def is_litter(name: str) -> bool:
    """Files that operating systems leave in archives and nobody means to import."""
    *folders, last = name.split("/")
    return "__MACOSX" in folders or last.lower() in LITTER or last.startswith("._")


def folder_label(name: str) -> str:
    """The folder that an image lies in, when it could be the name of a class."""
    parts = name.split("/")
    label = class_name(parts[-2]) if len(parts) > 1 else ""
    return label if len(label) <= LABEL_LENGTH and label.lower() not in NO_CLASSES else ""


def class_name(text: str) -> str:
    """As names of classes are kept: composed characters, single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())
