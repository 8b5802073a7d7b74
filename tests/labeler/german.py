"""What is English on a German page."""

from __future__ import annotations

import re
from html import unescape

from django.test import Client

from labeler.models import (
    Project,
    RejectedFile,
    User,
    Worker,
)
from labeler.selectors.features import wanted_representation

ENGLISH = re.compile(r"\b(the|of|and|is|are|has|have|with|by|to|it|its|from|that|for|this|no|which|their|you)\b", re.I)
# What says itself that it is in English, or data.
KEPT = re.compile(r"""(?s)<(?!html)(\w+)\b[^>]*(?:\slang="en"|\stranslate="no")[^>]*>.*?</\1>""")
TOLD = re.compile(r'\s(?:title|aria-label|aria-roledescription|placeholder|alt)="([^"]*)"|>([^<>]*)<')


def pieces(page: str) -> set[str]:
    """All that a person can read of a page: between tags, in titles and labels; without what holds no word, and what
    says itself that it is English or data."""
    page = re.sub(r"(?s)<(script|style)\b.*?</\1>|<code\b.*?</code>|<textarea\b.*?</textarea>|<!--.*?-->", "", page)
    page = KEPT.sub("", page)
    told = (" ".join(unescape(one or other).split()) for one, other in TOLD.findall(page))
    said = {part for piece in told for part in piece.split(" · ")}
    moment = re.compile(r"\d{4}-\d\d-\d\d [\d:]+ \w+|\d+ (s|min)")
    return {piece for piece in said if re.search(r"[A-Za-z]{3}", piece) and not moment.fullmatch(piece)}


def english_left(english: str, german: str, known: set[str]) -> set[str]:
    """Pieces that are the same in both languages or hold an English word, but for what is known to be data or to be
    kept in words, and for words that are names or are spelled alike."""
    said = pieces(german)
    same = (said & pieces(english)) - ALIKE
    left = same | {piece for piece in said if ENGLISH.search(without(piece, known))}
    return {piece for piece in left if re.search(r"[A-Za-z]{3}", without(piece, known))}


# Words that are the same in both languages, and names.
ALIKE = {
    "Minus", "Plus", "PlusMinus", "Monitor", "Export", "Import", "English", "Deutsch", "Label", "Labels",
    "Gold", "Name", "Person", "Worker", "Webhooks", "Token", "Posterior", "Annotator", "Enter", "Esc", "CSV",
    "JSON Lines", "Bootstrap", "Laplace", "SWAG", "Lasso", "EPIG", "https://", "Format", "Manifest", "SHA-256",
    "Parquet", "COCO", "Label Studio", "ImageFolder", "Bucket", "Region", "API", "Tokens.", "Status", "openapi.json",
    "GET", "POST", "PUT", "PATCH", "DELETE",
}  # fmt: skip


def without(piece: str, known: set[str]) -> str:
    for words in sorted(known, key=len, reverse=True):
        piece = piece.replace(words, "")
    return piece


def kept_in_words(project: Project) -> set[str]:
    """What is data, or what somebody typed."""
    written = set(project.images.values_list("name", flat=True)) | set(project.classes.values_list("name", flat=True))
    written |= {project.guidelines, *project.comments.values_list("text", flat=True)}
    written |= set(Worker.objects.values_list("name", flat=True)) | {wanted_representation(project).backbone}
    written |= {name.rpartition("/")[2] for name in project.images.values_list("name", flat=True)}
    written |= set(project.webhooks.values_list("address", flat=True))
    written |= set(project.predictions.values_list("name", flat=True))
    written |= set(RejectedFile.objects.filter(job__project=project).values_list("name", flat=True))
    written |= set(project.invitations.values_list("note", flat=True)) | set(
        User.objects.values_list("username", flat=True)
    )
    return written | {project.name, "for a test", "PlusMinus", "Monitor", "Gold", "Label"}


def in_both(client: Client, address: str) -> tuple[str, str]:
    english, german = client.get(address), client.get(address, headers={"accept-language": "de"})
    assert english.status_code == german.status_code == 200, address
    return english.content.decode(), german.content.decode()
