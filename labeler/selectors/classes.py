"""The classes of a project: as a list for pages, and what an answer that names one means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count, QuerySet
from django.db.models.functions import Coalesce

from labeler.models import Annotation, ClassProposal, Fate, Image, ImageState, LabelClass, Outcome, Project, User

# Of an annotation: the class that it means now. A class that was merged stays the one that the answer names.
MEANING = Coalesce("label_class__merged_into", "label_class")
PAGE = 100
EXAMPLES = 8  # images shown of a proposed class


@dataclass(frozen=True)
class ClassRow:
    label_class: LabelClass
    place: int  # in the list, from 1
    images: int
    is_first: bool
    is_last: bool


@dataclass(frozen=True)
class ClassPage:
    rows: list[ClassRow]
    total: int  # classes that are offered
    found: int  # of these, with the searched text in their names
    number: int
    pages: int


@dataclass(frozen=True)
class Proposed:
    """A class that waits for a manager's word."""

    label_class: LabelClass
    people: list[str]
    answers: int
    images: list[Image]


def class_page(project: Project, *, find: str = "", number: int = 1) -> ClassPage:
    """Those that are offered, in their order, PAGE at a time. Two queries."""
    live = list(LabelClass.objects.filter(project=project, is_archived=False))
    places = {row.pk: at for at, row in enumerate(live)}
    wanted = find.casefold().strip()
    found = [row for row in live if wanted in row.name.casefold()] if wanted else live
    pages = max(1, -(-len(found) // PAGE))
    number = min(max(1, number), pages)
    shown = found[(number - 1) * PAGE : number * PAGE]
    counts = label_counts([row.pk for row in shown])
    rows = [
        ClassRow(row, places[row.pk] + 1, counts.get(row.pk, 0), places[row.pk] == 0, places[row.pk] == len(live) - 1)
        for row in shown
    ]
    return ClassPage(rows, len(live), len(found), number, pages)


def label_counts(class_ids: Sequence[int]) -> dict[int, int]:
    """How many images have each as their label."""
    rows = Image.objects.filter(label__in=class_ids).order_by().values_list("label").annotate(n=Count("pk"))
    return dict(rows)


def archived_rows(project: Project) -> list[tuple[LabelClass, int]]:
    """Those that are offered no more, with their images; proposals have a place of their own."""
    rows = LabelClass.objects.filter(project=project, is_archived=True).exclude(fate=Fate.PROPOSED)
    shown = list(rows.select_related("merged_into"))
    counts = label_counts([row.pk for row in shown if not row.fate])
    return [(row, counts.get(row.pk, 0)) for row in shown]


def targets_of(label_class: LabelClass) -> QuerySet[LabelClass]:
    """The classes that it may be merged into."""
    return LabelClass.objects.filter(project=label_class.project_id, is_archived=False).exclude(pk=label_class.pk)


def group_of(label_class: LabelClass) -> list[int]:
    """The class and those that are merged into it: answers that name one of these mean it."""
    merged = LabelClass.objects.filter(merged_into=label_class).order_by("pk").values_list("pk", flat=True)
    return [label_class.pk, *merged]


def waiting_proposals(project: Project) -> int:
    return LabelClass.objects.filter(project=project, fate=Fate.PROPOSED).count()


def proposed_classes(project: Project) -> list[Proposed]:
    """What waits for a decision, oldest first, with some images. Four queries, whatever their number."""
    classes = list(LabelClass.objects.filter(project=project, fate=Fate.PROPOSED).order_by("pk"))
    ids = [row.pk for row in classes]
    people: dict[int, list[str]] = {pk: [] for pk in ids}
    for proposal in ClassProposal.objects.filter(label_class__in=ids).select_related("by"):
        people[proposal.label_class_id].append(proposal.by.get_username())
    live = Annotation.objects.filter(label_class__in=ids, retracted_at__isnull=True, outcome=Outcome.LABEL)
    image_ids: dict[int, list[int]] = {pk: [] for pk in ids}
    for class_id, image_id in live.order_by("pk").values_list("label_class_id", "image_id"):
        if image_id not in image_ids[class_id]:
            image_ids[class_id].append(image_id)
    shown = {image_id for of_class in image_ids.values() for image_id in of_class[:EXAMPLES]}
    images = Image.objects.in_bulk(list(shown))
    return [
        Proposed(row, people[row.pk], len(image_ids[row.pk]), [images[pk] for pk in image_ids[row.pk][:EXAMPLES]])
        for row in classes
    ]


def own_proposals(project: Project, person: User) -> list[ClassProposal]:
    """What this person has proposed, the newest first, those that wait before those that were decided."""
    own = ClassProposal.objects.filter(label_class__project=project, by=person).select_related("label_class")
    return sorted(own.order_by("-pk")[:PAGE], key=lambda row: bool(row.decision))


def recent_use(project: Project, person: User, *, most: int = 1000) -> dict[int, int]:
    """How often the person has chosen each class lately, the latest chosen first."""
    own = Annotation.objects.filter(project=project, annotator=person, outcome=Outcome.LABEL, retracted_at__isnull=True)
    counts: dict[int, int] = {}
    for pk in own.order_by("-pk").values_list(MEANING, flat=True)[:most]:
        counts[pk] = counts.get(pk, 0) + 1
    return counts


def labelled_count(class_ids: Sequence[int], *, is_holdout: bool) -> int:
    return Image.objects.filter(label__in=class_ids, state=ImageState.LABELLED, is_holdout=is_holdout).count()
