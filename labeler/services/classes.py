"""The classes of a project: added, changed, ordered, archived. Answers point to the row, so no change loses one."""

from __future__ import annotations

import colorsys
from collections.abc import Collection, Iterable, Sequence

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from labeler import clock
from labeler.choices import PALETTE, RESERVED_KEYS
from labeler.models import AuditKind, ClassChange, Fate, JobState, LabelClass, Project, User
from labeler.naming import DIGIT_WORDS, clean_name
from labeler.numerals import numeral
from labeler.services import audit
from labeler.told import Told, ntold, together, told

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
            raise ValidationError(
                _("“%(name)s…” is too long: %(most)s characters at most.") % {"name": name[:30], "most": MAX_NAME},
                code="too_long",
            )
        if name.casefold() in seen:
            raise ValidationError(_("“%(name)s” stands there twice.") % {"name": name}, code="twice")
        seen.add(name.casefold())
    if len(names) > MAX_CLASSES:
        raise ValidationError(
            _("%(number)s classes; %(most)s at most.") % {"number": numeral(len(names)), "most": numeral(MAX_CLASSES)},
            code="too_many",
        )
    return names


@transaction.atomic
def add_classes(*, project: Project, names: Sequence[str], by: User | None = None) -> list[LabelClass]:
    """Add those that are not there yet, each with a free key and a colour; a repeated call adds nothing."""
    rows = make_classes(project=project, names=names, by=by)
    if rows:
        made = [row.pk for row in rows]
        words = _added([row.name for row in rows])
        _keep(project, ClassChange.Kind.ADD, by, words, made, made=made)
    return rows


@transaction.atomic
def make_classes(*, project: Project, names: Sequence[str], by: User | None = None) -> list[LabelClass]:
    """The same as a part of something else, which is taken back as a whole or not at all."""
    lock_classes(project)
    existing = list(project.classes.all())
    known = {label_class.name.casefold() for label_class in existing}
    new_names = [name for name in names if name.casefold() not in known]
    if len(existing) + len(new_names) > MAX_CLASSES:
        raise ValidationError(
            _("A project has %(most)s classes at most.") % {"most": numeral(MAX_CLASSES)}, code="too_many"
        )
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
    if rows:
        names_added = [row.name for row in rows]
        _record(project, by, _added(names_added), added=names_added)
    return LabelClass.objects.bulk_create(rows)


@transaction.atomic
def change_class(*, label_class: LabelClass, name: str, shortcut: str, colour: str, by: User | None = None) -> None:
    lock_classes(label_class.project)
    saved = LabelClass.objects.get(pk=label_class.pk)
    before = {"name": saved.name, "key": saved.shortcut, "colour": saved.colour}
    label_class.name, label_class.shortcut, label_class.colour = name, shortcut, colour
    check_name(label_class)
    check_key(label_class)
    label_class.full_clean()
    label_class.save(update_fields=["name", "shortcut", "colour"])
    _keep_edit(saved, label_class, by)
    audit.record_changes(
        project=label_class.project,
        by=by,
        kind=AuditKind.CLASSES,
        what=f"the class “{saved.name}”",
        before=before,
        after={"name": name, "key": shortcut, "colour": colour},
    )


def check_name(label_class: LabelClass, among: Iterable[LabelClass] | None = None) -> None:
    """`among`: the classes of the project, where they are known. Raises ValidationError."""
    others = LabelClass.objects.filter(project_id=label_class.project_id) if among is None else among
    name = label_class.name.casefold()
    if any(other.pk != label_class.pk and other.name.casefold() == name for other in others):
        raise ValidationError(
            {"name": _("There is a class “%(name)s” already, perhaps an archived one.") % {"name": label_class.name}}
        )


def check_key(label_class: LabelClass, among: Iterable[LabelClass] | None = None) -> None:
    if not label_class.shortcut:
        return
    if label_class.shortcut in RESERVED_KEYS:
        words = RESERVED_KEYS[label_class.shortcut]
        raise ValidationError(
            {"shortcut": _("The key %(key)s is taken: %(words)s.") % {"key": label_class.shortcut, "words": words}}
        )
    key = label_class.shortcut
    others = LabelClass.objects.filter(project_id=label_class.project_id, shortcut=key) if among is None else among
    others = (other for other in others if other.pk != label_class.pk)
    holder = next((other for other in others if other.shortcut == key and not other.is_archived), None)
    if holder is not None and not label_class.is_archived:
        raise ValidationError(
            {"shortcut": _("“%(name)s” has this key. Give that one another key first.") % {"name": holder.name}}
        )


@transaction.atomic
def restore_class(*, label_class: LabelClass, by: User | None = None) -> bool:
    """Offer it again, at the end and with the next free key. False: it is offered, or was merged or split, which is
    taken back elsewhere, or is proposed. One that was refused or withdrawn becomes a class like any other."""
    lock_classes(label_class.project)
    live = LabelClass.objects.filter(project_id=label_class.project_id, is_archived=False)
    taken = set(live.values_list("shortcut", flat=True))
    last = LabelClass.objects.filter(project_id=label_class.project_id).aggregate(last=Max("order"))["last"] or 0
    free = ["", Fate.REFUSED, Fate.WITHDRAWN]
    is_back = LabelClass.objects.filter(pk=label_class.pk, is_archived=True, fate__in=free).update(
        fate="", is_archived=False, shortcut=next((key for key in KEYS if key not in taken), ""), order=last + 1
    )
    if is_back:
        _record(label_class.project, by, told("offered “%(name)s” again", name=label_class))
    return is_back == 1


@transaction.atomic
def move_class(*, label_class: LabelClass, steps: int = 0, to: int | None = None, by: User | None = None) -> None:
    """Up (negative) or down among those that are offered, or to a place from 0; at an end it stays."""
    lock_classes(label_class.project)
    moved = put_in_place(project=label_class.project, label_class=label_class, steps=steps, to=to)
    if moved is not None and moved[0] != moved[1]:
        _record(label_class.project, by, _moved(label_class, *moved))
        _keep_move(label_class, by, *moved)


def put_in_place(
    *, project: Project, label_class: LabelClass, steps: int = 0, to: int | None = None
) -> tuple[int, int] | None:
    """Write the order anew, in the caller's transaction. Returns the places before and after, from 0."""
    live = list(LabelClass.objects.filter(project=project, is_archived=False))
    place = next((at for at, row in enumerate(live) if row.pk == label_class.pk), None)
    if place is None:
        return None
    row = live.pop(place)
    new_place = min(len(live), max(0, place + steps if to is None else to))
    live.insert(new_place, row)
    changed = []
    for order, each in enumerate(live):
        if each.order != order:
            each.order = order
            changed.append(each)
    LabelClass.objects.bulk_update(changed, ["order"], batch_size=500)
    return place, new_place


@transaction.atomic
def renew_keys(*, project: Project, by: User | None = None) -> None:
    """Keys in the order of the list: 1 to 9, 0, then letters."""
    lock_classes(project)
    live = list(project.classes.filter(is_archived=False))
    project.classes.filter(is_archived=False).update(shortcut="")
    for row, key in zip(live, KEYS, strict=False):
        row.shortcut = key
    LabelClass.objects.bulk_update(live[: len(KEYS)], ["shortcut"])
    _record(project, by, told("gave keys in the order of the list"))


@transaction.atomic
def allow_proposals(*, project: Project, is_allowed: bool, by: User | None = None) -> None:
    """Whether annotators may answer with a class that there is not, see services/proposals.py."""
    if Project.objects.filter(pk=project.pk).exclude(takes_proposals=is_allowed).update(takes_proposals=is_allowed):
        allowed, ended = told("allowed annotators to propose classes"), told("let annotators propose no more classes")
        words = allowed if is_allowed else ended
        _record(project, by, words)


def lock_classes(project: Project) -> None:
    """Two managers who change the list at once come one after the other."""
    Project.objects.select_for_update(no_key=True).only("pk").get(pk=project.pk)


def _record(project: Project, by: User | None, words: str, **details: object) -> None:
    audit.record(project=project, by=by, kind=AuditKind.CLASSES, words=words, **details)


def _keep_edit(before: LabelClass, after: LabelClass, by: User | None) -> None:
    changed = [name for name in ("name", "shortcut", "colour") if getattr(before, name) != getattr(after, name)]
    words = {
        "name": told("renamed “%(before)s” to “%(after)s”", before=before, after=after),
        "shortcut": _given_key(after),
        "colour": told("gave “%(name)s” another colour", name=after),
    }
    if changed:
        said = together(*(words[name] for name in changed), between=", ")
        _keep(
            after.project, ClassChange.Kind.CHANGE, by, said, [after.pk],
            before={name: getattr(before, name) for name in changed},
            after={name: getattr(after, name) for name in changed},
        )  # fmt: skip


def _keep_move(label_class: LabelClass, by: User | None, start: int, end: int) -> None:
    """Step by step up the list is one move, as long as nothing else was done between the steps."""
    last = ClassChange.objects.filter(project=label_class.project_id, undone_by__isnull=True).first()
    is_same = last is not None and last.kind == ClassChange.Kind.MOVE and last.did["class"] == label_class.pk
    if last is not None and is_same and last.created_by_id == (by.pk if by else None) and last.did["to"] == start:
        start = last.did["from"]
        last.delete()
    if start != end:
        words = _moved(label_class, start, end)
        _keep(label_class.project, ClassChange.Kind.MOVE, by, words, [label_class.pk], **{"from": start, "to": end})


def _keep(
    project: Project, kind: ClassChange.Kind, by: User | None, words: str, classes: Sequence[int], **did: object
) -> None:
    """So that it can be taken back: services/class_steps.py."""
    ClassChange.objects.create(
        project=project, kind=kind, created_by=by, words=audit.shortened(words, 400), state=JobState.DONE,
        finished_at=clock.now(), did={"class": classes[0], "classes": list(classes), "group": [], **did},
    )  # fmt: skip


def _added(names: Sequence[str]) -> Told:
    shown = [told("“%(name)s”", name=name) for name in names[:5]]
    if len(names) <= 5:
        return told("added %(names)s", names=shown)
    return ntold(
        "added %(names)s and %(count)s more class", "added %(names)s and %(count)s more classes", len(names) - 5,
        names=shown,
    )  # fmt: skip


def _moved(label_class: LabelClass, start: int, end: int) -> Told:
    return told("moved “%(name)s” from place %(start)s to %(end)s", name=label_class, start=start + 1, end=end + 1)


def _given_key(label_class: LabelClass) -> Told:
    if label_class.shortcut:
        return told("gave “%(name)s” the key %(key)s", name=label_class, key=label_class.shortcut)
    return told("took the key from “%(name)s”", name=label_class)
