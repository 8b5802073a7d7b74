"""The classes of a project: added, changed, ordered, archived. Answers point to the row, so no change loses one."""

from __future__ import annotations

import colorsys
from collections.abc import Collection, Sequence

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max

from labeler.choices import PALETTE, RESERVED_KEYS
from labeler.models import LabelClass, Project
from labeler.naming import DIGIT_WORDS, clean_name

MAX_CLASSES = 2000
MAX_NAME = 100
KEYS = "1234567890" + "".join(letter for letter in "abcdefghijklmnopqrstuvwxyz" if letter not in RESERVED_KEYS)
DIGITS = {word: str(number) for number, word in enumerate(DIGIT_WORDS)}
LIGHTNESS = [0.0, 0.18, -0.15, 0.3, -0.25]  # what is added to the palette's, one step each time that it is used up


def colour_of(index: int) -> str:
    """The palette in order, then again lighter and darker."""
    cycle, place = divmod(index, len(PALETTE))
    red, green, blue = (int(PALETTE[place][at : at + 2], 16) / 255 for at in (1, 3, 5))
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    lightness = min(0.92, max(0.12, lightness + LIGHTNESS[cycle % len(LIGHTNESS)]))
    return "#" + "".join(f"{round(part * 255):02x}" for part in colorsys.hls_to_rgb(hue, lightness, saturation))


def keys_for(names: Sequence[str], taken: Collection[str]) -> list[str]:
    """Free keys: its own for a class that is named like one (`7` or `seven`), the next ones for the others."""
    own = [DIGITS.get(name.casefold(), name.casefold()) for name in names]
    keys = [key if key in set(KEYS) and key not in taken and key not in own[:at] else "" for at, key in enumerate(own)]
    free = iter([key for key in KEYS if key not in taken and key not in keys])
    return [key or next(free, "") for key in keys]


def class_names_in(text: str) -> list[str]:
    """The names in `text`, one a line. Raises ValidationError for what cannot be a name or stands there twice."""
    names = [clean_name(line) for line in text.splitlines() if line.strip()]
    seen: set[str] = set()
    for name in names:
        if len(name) > MAX_NAME:
            raise ValidationError(f"“{name[:30]}…” is too long: {MAX_NAME} characters at most.", code="too_long")
        if name.casefold() in seen:
            raise ValidationError(f"“{name}” stands there twice.", code="twice")
        seen.add(name.casefold())
    if len(names) > MAX_CLASSES:
        raise ValidationError(f"{len(names):,} classes; {MAX_CLASSES:,} at most.", code="too_many")
    return names


@transaction.atomic
def add_classes(*, project: Project, names: Sequence[str]) -> list[LabelClass]:
    """Add those that are not there yet, each with a free key and a colour; a repeated call adds nothing."""
    lock_classes(project)
    existing = list(project.classes.all())
    known = {label_class.name.casefold() for label_class in existing}
    new_names = [name for name in names if name.casefold() not in known]
    if len(existing) + len(new_names) > MAX_CLASSES:
        raise ValidationError(f"A project has {MAX_CLASSES:,} classes at most.", code="too_many")
    taken = {label_class.shortcut for label_class in existing if not label_class.is_archived}
    keys = keys_for(new_names, taken)
    order = max((label_class.order for label_class in existing), default=-1) + 1
    rows = [
        LabelClass(
            project=project,
            name=name,
            shortcut=keys[at],
            colour=colour_of(len(existing) + at),
            order=order + at,
        )
        for at, name in enumerate(new_names)
    ]
    return LabelClass.objects.bulk_create(rows)


@transaction.atomic
def change_class(*, label_class: LabelClass, name: str, shortcut: str, colour: str) -> None:
    lock_classes(label_class.project)
    label_class.name, label_class.shortcut, label_class.colour = name, shortcut, colour
    check_name(label_class)
    check_key(label_class)
    label_class.full_clean()
    label_class.save(update_fields=["name", "shortcut", "colour"])


def check_name(label_class: LabelClass) -> None:
    others = LabelClass.objects.filter(project_id=label_class.project_id).exclude(pk=label_class.pk)
    if any(name.casefold() == label_class.name.casefold() for name in others.values_list("name", flat=True)):
        raise ValidationError({"name": f"There is a class “{label_class.name}” already, perhaps an archived one."})


def check_key(label_class: LabelClass) -> None:
    if not label_class.shortcut:
        return
    if label_class.shortcut in RESERVED_KEYS:
        words = RESERVED_KEYS[label_class.shortcut]
        raise ValidationError({"shortcut": f"The key {label_class.shortcut} is taken: {words}."})
    holder = (
        LabelClass.objects.filter(project_id=label_class.project_id, shortcut=label_class.shortcut, is_archived=False)
        .exclude(pk=label_class.pk)
        .first()
    )
    if holder is not None and not label_class.is_archived:
        raise ValidationError({"shortcut": f"“{holder.name}” has this key. Give that one another key first."})


@transaction.atomic
def archive_class(*, label_class: LabelClass) -> None:
    """It is offered no more. Its answers stay, and its key is free for others."""
    LabelClass.objects.filter(pk=label_class.pk).update(is_archived=True, shortcut="")


@transaction.atomic
def restore_class(*, label_class: LabelClass) -> None:
    """Offer it again, at the end and with the next free key."""
    lock_classes(label_class.project)
    live = LabelClass.objects.filter(project_id=label_class.project_id, is_archived=False)
    taken = set(live.values_list("shortcut", flat=True))
    last = LabelClass.objects.filter(project_id=label_class.project_id).aggregate(last=Max("order"))["last"] or 0
    LabelClass.objects.filter(pk=label_class.pk, is_archived=True).update(
        is_archived=False, shortcut=next((key for key in KEYS if key not in taken), ""), order=last + 1
    )


@transaction.atomic
def move_class(*, label_class: LabelClass, steps: int) -> None:
    """Up (negative) or down among those that are offered; at an end it stays."""
    lock_classes(label_class.project)
    live = list(LabelClass.objects.filter(project_id=label_class.project_id, is_archived=False))
    place = next((at for at, row in enumerate(live) if row.pk == label_class.pk), None)
    if place is None:
        return
    row = live.pop(place)
    live.insert(min(len(live), max(0, place + steps)), row)
    for order, row in enumerate(live):
        row.order = order
    LabelClass.objects.bulk_update(live, ["order"])


@transaction.atomic
def renew_keys(*, project: Project) -> None:
    """Keys in the order of the list: 1 to 9, 0, then letters."""
    lock_classes(project)
    live = list(project.classes.filter(is_archived=False))
    project.classes.filter(is_archived=False).update(shortcut="")
    for row, key in zip(live, KEYS, strict=False):
        row.shortcut = key
    LabelClass.objects.bulk_update(live[: len(KEYS)], ["shortcut"])


def lock_classes(project: Project) -> None:
    """Two managers who change the list at once come one after the other."""
    Project.objects.select_for_update(no_key=True).only("pk").get(pk=project.pk)
