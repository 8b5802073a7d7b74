"""What a change of the classes would do, in numbers, before it is done; and what has been done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from labeler.models import Annotation, ClassChange, GoldImage, Image, ImageState, LabelClass, Outcome, Project, Round
from labeler.numerals import numeral
from labeler.selectors.classes import MEANING, group_of, label_counts, labelled_count

MANY = 10_000  # answers from which a worker does it, see services/class_changes.py
SHOWN = 50


@dataclass(frozen=True)
class Effect:
    """One line of a preview: `312`, `Answers named “cat”: they mean “felid”`."""

    number: int
    words: str


@dataclass(frozen=True)
class Preview:
    effects: list[Effect]
    is_large: bool  # a worker does it


def merge_preview(source: LabelClass, target: LabelClass) -> Preview:
    group = group_of(source)
    answers = _live(group)
    both = [*group, *group_of(target)]
    disputed = _disputes(both)
    effects = [
        Effect(
            answers.count(),
            _("Answers named “%(name)s”: they stay as they were given, and mean “%(target)s”")
            % {"name": source, "target": target},
        ),
        *_labels(
            group,
            _("Labelled images: they become “%(target)s”, which is the label of %(images)s now")
            % {"target": target, "images": _many(_labelled(target))},
        ),
        Effect(_gold(group), _("Gold images: they are known to be “%(target)s” from now on") % {"target": target}),
        Effect(disputed, _("Disputed images whose answers differ in these two: they get a label")),
        Effect(len(group) - 1, _("Classes that were merged into it before: they mean the new one, too")),
    ]
    return _preview([*effects, *_rounds(source, group)], answers)


def split_preview(source: LabelClass, overlap: int) -> Preview:
    group = group_of(source)
    answers = _live(group)
    images = Image.objects.filter(
        Q(pk__in=answers.order_by().values("image")) | Q(gold__label_class__in=group), project=source.project_id
    ).count()
    effects = [
        Effect(
            answers.count(),
            _("Answers named “%(name)s”: they stay as they were given, and count no more") % {"name": source},
        ),
        *_labels(group, _("Labelled images: they lose their label until they have been asked again")),
        Effect(
            _gold(group),
            _("Gold images: they are gold no more, what was said of them counts no more, and they are asked again"),
        ),
        Effect(
            images * overlap,
            _(
                "Places at most that come before all else in the queue: none for an image that keeps another label; "
                "the same people may answer them again"
            ),
        ),
    ]
    return _preview([*effects, *_rounds(source, group)], answers)


def archive_preview(source: LabelClass) -> Preview:
    group = group_of(source)
    answers = _live(group)
    effects = [
        Effect(answers.count(), _("Answers named “%(name)s”: they go on counting") % {"name": source}),
        *_labels(group, _("Labelled images: they keep their label, and models go on learning it")),
        Effect(_gold(group), _("Gold images: nobody is asked about them until the class is offered again")),
    ]
    return _preview(effects, answers, is_quick=True)


def undo_preview(change: ClassChange) -> Preview:
    source = LabelClass.objects.get(pk=change.did["class"])
    if change.is_step:
        return Preview([_step_effect(change, source)], is_large=False)
    if change.kind == ClassChange.Kind.SPLIT:
        return _undone_split_preview(change, source)
    group = change.did["group"]
    answers = _live(group)
    if change.kind == ClassChange.Kind.ARCHIVE:
        return _preview(
            [Effect(1, _("Class that is offered again: “%(name)s”") % {"name": source})], answers, is_quick=True
        )
    target = LabelClass.objects.get(pk=change.did["into"])
    later = _live([target.pk]).filter(pk__gt=change.did["last_annotation_id"]).count()
    effects = [
        Effect(
            answers.count(), _("Answers named “%(name)s”, late ones too: they mean “%(name)s” again") % {"name": source}
        ),
        Effect(
            later,
            _("Answers given since as “%(target)s”: they stay so, for nobody knows which of the two they meant")
            % {"target": target},
        ),
    ]
    return _preview(effects, answers)


def _undone_split_preview(change: ClassChange, source: LabelClass) -> Preview:
    voided = Annotation.objects.filter(voided_by=change)
    gold = {row[0] for row in change.did.get("gold", [])}
    gold -= set(GoldImage.objects.filter(image__in=gold).values_list("image_id", flat=True))  # marked anew
    since = answered_since(change, Image.objects.filter(pk__in=voided.order_by().values("image"))) - gold
    back = voided.exclude(image__in=since).order_by().values("image").distinct().count()
    effects = [
        Effect(
            back, _("Images at most that have the label “%(name)s” again, and are asked no more") % {"name": source}
        ),
        Effect(len(gold), _("Images that are gold again, known to be “%(name)s”") % {"name": source}),
        Effect(len(since), _("Images that were answered since: they keep their new answers")),
        Effect(
            sum(label_counts(change.did["made"]).values()),
            _(
                "Images that keep a label that the split made: merge that class into “%(name)s” afterwards, and "
                "they have “%(name)s” again"
            )
            % {"name": source},
        ),
        Effect(len(change.did["made"]), _("Classes that the split made: they are archived")),
    ]
    return _preview(effects, voided)


def words_of_left_labels(change: ClassChange) -> str:
    """Of a split that has been taken back: labels of the classes that it made, and what can be done about them. Empty:
    there are none."""
    counts = label_counts(change.did.get("made", []))
    if not counts:
        return ""
    source = LabelClass.objects.get(pk=change.did["class"])
    names = LabelClass.objects.filter(pk__in=counts).values_list("name", flat=True)
    words = ngettext(
        "%(images)s image was answered since the split and keeps its new label (%(names)s). Merge that into “%(name)s” "
        "to have it back.",
        "%(images)s images were answered since the split and keep their new labels (%(names)s). Merge those into "
        "“%(name)s” to have it back.",
        sum(counts.values()),
    )
    images = numeral(sum(counts.values()))
    return words % {"images": images, "names": ", ".join(names), "name": source}


def _step_effect(change: ClassChange, source: LabelClass) -> Effect:
    if change.kind == ClassChange.Kind.ADD:
        return Effect(len(change.did["made"]), _("Classes that are offered no more: they are archived"))
    if change.kind == ClassChange.Kind.MOVE:
        words = _("Class that goes back to place %(place)s: “%(name)s”")
        return Effect(1, words % {"place": numeral(change.did["from"] + 1), "name": source})
    before = change.did["before"]
    if "name" in before:
        words = _("Class that is called “%(former)s” again: “%(name)s”")
        return Effect(1, words % {"former": before["name"], "name": source})
    return Effect(1, _("Class that has its former key and colour again: “%(name)s”") % {"name": source})


def last_change(project: Project) -> ClassChange | None:
    """What the page of classes offers to take back: the newest that stands, unless it is final or at work."""
    newest = ClassChange.objects.filter(project=project, undone_by__isnull=True).exclude(kind=ClassChange.Kind.UNDO)
    change = newest.order_by("-pk").first()
    return change if change is not None and change.may_be_undone else None


def changes_of(project: Project) -> list[ClassChange]:
    """The newest first."""
    rows = ClassChange.objects.filter(project=project).select_related("created_by", "undone_by", "undoes")
    return list(rows.order_by("-pk")[:SHOWN])


def unfinished_changes(project: Project) -> bool:
    return ClassChange.objects.filter(project=project, state__in=["queued", "running"]).exists()


def _preview(effects: Sequence[Effect], answers: QuerySet[Annotation], *, is_quick: bool = False) -> Preview:
    shown = [effect for effect in effects if effect.number]
    return Preview(shown, not is_quick and answers.count() > MANY)


def _live(class_ids: Sequence[int]) -> QuerySet[Annotation]:
    return Annotation.objects.filter(label_class__in=class_ids, outcome=Outcome.LABEL, retracted_at__isnull=True)


def _labels(class_ids: Sequence[int], words: str) -> list[Effect]:
    learned, holdout = (labelled_count(class_ids, is_holdout=which) for which in (False, True))
    return [
        Effect(learned, words),
        Effect(
            holdout,
            _("Labelled images of the holdout: they do so, too, and accuracy is measured anew with the next round"),
        ),
    ]


def _gold(class_ids: Sequence[int]) -> int:
    return GoldImage.objects.filter(label_class__in=class_ids).count()


def _labelled(label_class: LabelClass) -> int:
    return label_counts([label_class.pk]).get(label_class.pk, 0)


def _disputes(class_ids: Sequence[int]) -> int:
    """Disputed images all of whose labels are of these classes: with one meaning they agree."""
    touched = _live(class_ids).filter(image__state=ImageState.DISPUTED).order_by().values("image")
    others = Annotation.objects.filter(image__in=touched, outcome=Outcome.LABEL, retracted_at__isnull=True)
    others = others.annotate(meaning=MEANING).exclude(meaning__in=class_ids).order_by()
    return Image.objects.filter(pk__in=touched).exclude(pk__in=others.values("image")).count()


def _rounds(source: LabelClass, class_ids: Sequence[int]) -> list[Effect]:
    ids = set(class_ids)
    known = Round.objects.filter(project=source.project_id).exclude(folder="").order_by()
    number = sum(bool(ids & set(classes)) for classes in known.values_list("classes", flat=True))
    return [Effect(number, _("Rounds that have learned it: they stay readable under its name, and a new one follows"))]


def answered_since(change: ClassChange, images: QuerySet[Image] | Sequence[int]) -> set[int]:
    """Ids of those images about which somebody has said something since the change. Who skips says nothing."""
    live = Annotation.objects.filter(
        image__in=images, retracted_at__isnull=True, pk__gt=change.did["last_annotation_id"]
    ).exclude(outcome__in=[Outcome.UNDO, Outcome.SKIP])
    return set(live.order_by().values_list("image_id", flat=True))


def _many(number: int) -> str:
    return ngettext("%(count)s image", "%(count)s images", number) % {"count": numeral(number)}
