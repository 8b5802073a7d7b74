"""Surgery on classes: merged, split, and taken back. Answers stay as they were given; what they mean changes.

1. The classes change in one short transaction, which waits for answers that name them and are just being given.
2. The images whose answers name them are gone over, 500 at a time: of a merge they are settled anew, of a split their
   answers count no more and they are asked again. Few are done in the same transaction, many by a worker.
3. It is kept as a row (`ClassChange`), by which it can be taken back, and after which a round follows (triggers.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet

from labeler import clock
from labeler.models import Annotation, AuditKind, ClassChange, Fate, JobState, LabelClass, Outcome, Project, User
from labeler.selectors.class_changes import answered_since
from labeler.selectors.classes import group_of
from labeler.services import audit
from labeler.services.class_checks import check_free, known_parts, target_of
from labeler.services.class_since import why_not_undone
from labeler.services.class_steps import undo_step
from labeler.services.classes import KEYS, lock_classes, make_classes
from labeler.services.gold import close_gold_places, give_gold_back, gold_of, lift_gold
from labeler.services.jobs import Beat, ClaimLost, JobCancelled, claim_job, finish_job, resume_stalled
from labeler.services.questions import ask_again, close_questions
from labeler.services.races import again_if_raced
from labeler.services.rounds import last_annotation_id
from labeler.services.settling import lock_images, settle_images
from labeler.told import keep, told
from labeler.wake import wake

RUN = "labeler.run_class_change"
IN_REQUEST = 10_000  # answers; more are a worker's
BATCH = 500  # images
Kind = ClassChange.Kind


def merge_class(*, label_class: LabelClass, into: LabelClass, by: User | None) -> ClassChange:
    """From now on answers that name `label_class` mean `into`, those that come late too. Raises ValidationError."""

    def work() -> ClassChange:
        project = _locked_project(label_class.project_id)
        source, group = _locked_group(label_class.pk)
        if source.merged_into_id == into.pk:  # a double click
            return _newest(project, Kind.MERGE, source)
        target = target_of(project, source, into.pk)
        check_free(source)
        before = _before(source)
        LabelClass.objects.filter(pk__in=group).update(
            fate=Fate.MERGED, merged_into=target, is_archived=True, shortcut=""
        )
        return _begin(
            project, Kind.MERGE, by, told("merged “%(name)s” into “%(into)s”", name=source, into=target), "settle",
            group, {"class": source.pk, "into": target.pk, "before": before, "classes": [*group, target.pk]},
            gold=gold_of(group),
        )  # fmt: skip

    return again_if_raced(work)


def split_class(*, label_class: LabelClass, names: Sequence[str], by: User | None) -> ClassChange:
    """The class is offered no more; its images are asked again, of the same people too, and first of all.

    `names` are the new classes; those that are there already are taken as they are. Raises ValidationError.
    """

    def work() -> ClassChange:
        project = _locked_project(label_class.project_id)
        source, group = _locked_group(label_class.pk)
        if source.fate == Fate.SPLIT:
            return _newest(project, Kind.SPLIT, source)
        check_free(source)
        made, parts = _parts(project, source, names)
        before = _before(source)
        LabelClass.objects.filter(pk=source.pk).update(fate=Fate.SPLIT, is_archived=True, shortcut="")
        gold, shown = lift_gold(group), [told("“%(name)s”", name=part) for part in parts]
        question = told("It was “%(name)s”, which has been split: is it %(names)s?", name=source, names=_or(parts))
        return _begin(
            project, Kind.SPLIT, by, told("split “%(name)s” into %(parts)s", name=source, parts=shown), "void", group,
            {
                "class": source.pk, "before": before, "made": made, "question": keep(question), "gold": gold,
                "classes": [*group, *(part.pk for part in parts)],
            },
            gold=[row[0] for row in gold],
        )  # fmt: skip

    return again_if_raced(work)


def archive_class(*, label_class: LabelClass, by: User | None = None) -> ClassChange | None:
    """It is offered no more. Its answers stay, and so do its labels; its key is free for others. None: it was."""

    def work() -> ClassChange | None:
        project = _locked_project(label_class.project_id)
        source = LabelClass.objects.get(pk=label_class.pk)
        if source.is_archived:
            return None
        before = _before(source)
        LabelClass.objects.filter(pk=source.pk).update(is_archived=True, shortcut="")
        close_gold_places(image_ids=gold_of(group_of(source)))  # nobody could choose what they show
        did = {"class": source.pk, "before": before, "classes": [source.pk]}
        return _begin(project, Kind.ARCHIVE, by, told("archived “%(name)s”", name=source), "", [], did)

    return again_if_raced(work)


def undo_change(*, change: ClassChange, by: User | None) -> ClassChange:
    """The classes are as before, and so is what answers mean. Raises ValidationError, in words, where they cannot be.

    Of a split, images that have been answered since (a skip is no answer) keep their new answers; the classes that it
    made are archived.
    """

    def work() -> ClassChange:
        project = _locked_project(change.project_id)
        done = ClassChange.objects.select_related("undone_by").get(pk=change.pk)
        if done.is_undone:  # a double click
            return done.undone_by
        if words := why_not_undone(done):
            raise ValidationError(words, code="not_undone")
        if done.is_step:
            undo_step(project=project, change=done)
            group, step, gold = [], "", []
        else:
            group = _undo_classes(project, done)
            gold = _gold_again(project, done)
            step = {Kind.MERGE: "settle", Kind.SPLIT: "restore", Kind.ARCHIVE: ""}[Kind(done.kind)]
        did = {"class": done.did["class"], "classes": done.did["classes"], "voided_by": done.pk}
        words = told("took back: %(change)s", change=done.words)
        return _begin(project, Kind.UNDO, by, words, step, group, did, done, gold)

    return again_if_raced(work)


# --- What the changes are made of -----------------------------------------------------------------------------------


def begin_decision(
    project: Project,
    kind: Kind,
    by: User | None,
    words: str,
    step: str,
    source: LabelClass,
    question: str = "",
    annotator: User | None = None,
) -> ClassChange:
    """What was decided of a proposed class, whose row is locked and changed already: see proposals.py.

    It is about the answers of `annotator` alone, if one is named.
    """
    did = {"class": source.pk, "classes": [source.pk], "question": question}
    if annotator is not None:
        did["annotator"] = annotator.pk
    return _begin(project, kind, by, words, step, [source.pk], did)


def _begin(
    project: Project,
    kind: Kind,
    by: User | None,
    words: str,
    step: str,
    group: Sequence[int],
    did: dict[str, object],
    undoes: ClassChange | None = None,
    gold: Sequence[int] = (),
) -> ClassChange:
    """Keep the change, and go over its images: at once if there are few, by a worker if there are many.

    `gold`: images that are or were gold of these classes, which may have no answers.
    """
    change = ClassChange(
        project=project, kind=kind, created_by=by, words=audit.shortened(words, 400), undoes=undoes,
        did={**did, "step": step, "group": list(group), "last_annotation_id": last_annotation_id(project)},
    )  # fmt: skip
    change.total = _answers(change).count()
    bare = _without_answers(change, gold)
    change.changes_labels = change.total > 0 or bool(bare)
    is_small = change.total <= IN_REQUEST
    if is_small:
        change.state, change.done, change.finished_at = JobState.DONE, change.total, clock.now()
    change.save()
    audit.record(
        project=project, by=by, kind=AuditKind.CLASSES, words=words, change=change.pk, answers=change.total, **did
    )
    settle_images(project=project, image_ids=bare)
    if not is_small:
        wake(RUN, change.pk)
        _ask(change, bare)
        return change
    gone_over = [*bare]
    while image_ids := _go_over(change):
        gone_over += image_ids
    _ask(change, gone_over)
    return change


def _answers(change: ClassChange) -> QuerySet[Annotation]:
    """The answers that the change is about, on images that it has not gone over yet."""
    answers = Annotation.objects.filter(project=change.project, image_id__gt=change.last_image_id)
    if change.did["step"] == "restore":
        return answers.filter(voided_by=change.did["voided_by"])
    if "annotator" in change.did:
        answers = answers.filter(annotator=change.did["annotator"])
    named = Q(label_class__in=change.did["group"], outcome=Outcome.LABEL)
    if gold := change.did.get("gold"):  # known to be of the class that is split: whatever else was said was wrong
        named |= Q(image__in=[row[0] for row in gold]) & ~Q(outcome=Outcome.UNDO)
    return answers.filter(named, retracted_at__isnull=True)


def _without_answers(change: ClassChange, image_ids: Sequence[int]) -> list[int]:
    """Those that going over the answers will not come by."""
    found = set(_answers(change).filter(image__in=list(image_ids)).values_list("image_id", flat=True))
    return [pk for pk in image_ids if pk not in found]


def _gold_again(project: Project, done: ClassChange) -> list[int]:
    """Of a change that is taken back; of a split they have to become gold first."""
    if rows := done.did.get("gold"):
        answered = answered_since(done, [row[0] for row in rows])
        return give_gold_back(project=project, rows=rows, answered=answered)
    return gold_of(done.did["group"]) if done.kind == Kind.MERGE else []


def _go_over(change: ClassChange) -> list[int]:
    """The next images, in the caller's transaction; doing some of them twice is harmless. Empty: none are left."""
    if not change.did["step"]:
        return []
    rows = _answers(change).order_by("image_id").values_list("image_id", flat=True).distinct()[:BATCH]
    image_ids = list(rows)
    if image_ids:
        change.done = min(change.total, change.done + _answers(change).filter(image__in=image_ids).count())
        steps: dict[str, Callable[[ClassChange, list[int]], object]] = {
            "settle": _settle, "void": _void, "restore": _restore,
        }  # fmt: skip
        steps[change.did["step"]](change, image_ids)
        change.last_image_id = image_ids[-1]
    return image_ids


def _ask(change: ClassChange, image_ids: list[int]) -> None:
    """Last in a transaction: who gives places waits for no row of an answer."""
    if change.did["step"] == "void" and image_ids:
        details = {"question": change.did["question"]} if change.did["question"] else {}
        ask_again(project=change.project, image_ids=image_ids, details=details)


def _settle(change: ClassChange, image_ids: list[int]) -> None:
    settle_images(project=change.project, image_ids=image_ids)


def _void(change: ClassChange, image_ids: list[int]) -> None:
    lock_images(project=change.project, image_ids=image_ids)
    answers = _answers(change).filter(image__in=image_ids)
    answers.update(retracted_at=clock.now(), voided_by=change)
    settle_images(project=change.project, image_ids=image_ids)


def _restore(change: ClassChange, image_ids: list[int]) -> None:
    """Answers that a split took out of force count again, but on images that have been answered since.

    Who has only skipped the question since has said nothing: their former answer takes the skip's place.
    """
    lock_images(project=change.project, image_ids=image_ids)
    answered = answered_since(ClassChange.objects.get(pk=change.did["voided_by"]), image_ids)
    voided = _answers(change).filter(image__in=image_ids).exclude(image__in=answered).order_by("pk")
    last = {(image, person): pk for pk, image, person in voided.values_list("pk", "image_id", "annotator_id")}
    _forget_skips(set(last))
    Annotation.objects.filter(pk__in=list(last.values())).update(retracted_at=None, voided_by=None)
    settle_images(project=change.project, image_ids=image_ids)
    close_questions(image_ids=[pk for pk in image_ids if pk not in answered])


def _forget_skips(pairs: set[tuple[int, int]]) -> None:
    """Of these (image, person): one live answer of a person on an image is all that there may be."""
    skips = Annotation.objects.filter(image__in={image for image, _person in pairs}, outcome=Outcome.SKIP)
    rows = skips.filter(retracted_at__isnull=True).values_list("pk", "image_id", "annotator_id")
    forgotten = [pk for pk, image, person in rows if (image, person) in pairs]
    Annotation.objects.filter(pk__in=forgotten).update(retracted_at=clock.now())


def _undo_classes(project: Project, change: ClassChange) -> list[int]:
    """Bring the rows of the classes back as they were. Returns the group whose answers mean something else now."""
    source = LabelClass.objects.select_for_update().get(pk=change.did["class"])
    group = change.did["group"]
    list(LabelClass.objects.select_for_update().filter(pk__in=group).order_by("pk"))
    before = change.did["before"]
    taken = set(project.classes.filter(is_archived=False).values_list("shortcut", flat=True))
    shortcut = before["shortcut"] if before["shortcut"] not in taken else next((k for k in KEYS if k not in taken), "")
    LabelClass.objects.filter(pk=source.pk).update(
        fate=before["fate"], merged_into=None, is_archived=before["is_archived"],
        shortcut="" if before["is_archived"] else shortcut,
    )  # fmt: skip
    if before["fate"] == Fate.PROPOSED:
        source.proposals.update(decision="", read_at=None)
    if change.kind == Kind.MERGE:
        merged = [pk for pk in group if pk != source.pk]
        LabelClass.objects.filter(pk__in=merged).update(merged_into=source)
    LabelClass.objects.filter(pk__in=change.did.get("made", []), fate="").update(is_archived=True, shortcut="")
    return list(group)


def _parts(project: Project, source: LabelClass, names: Sequence[str]) -> tuple[list[int], list[LabelClass]]:
    """The classes of a split, and the ids of those that it made."""
    known = known_parts(project, source, names)
    made = make_classes(project=project, names=[name for name in names if name.casefold() not in known], by=None)
    by_name = known | {row.name.casefold(): row for row in made}
    return [row.pk for row in made], [by_name[name.casefold()] for name in names]


def _before(source: LabelClass) -> dict[str, object]:
    return {"fate": source.fate, "is_archived": source.is_archived, "shortcut": source.shortcut}


def _locked_project(project_id: int) -> Project:
    project = Project.objects.select_related("learning").get(pk=project_id)
    lock_classes(project)
    return project


def _locked_group(class_id: int) -> tuple[LabelClass, list[int]]:
    """The class and what is merged into it, once no answer that names one of them is under way."""
    group = group_of(LabelClass.objects.get(pk=class_id))
    rows = {row.pk: row for row in LabelClass.objects.select_for_update().filter(pk__in=group).order_by("pk")}
    return rows[class_id], group


def _newest(project: Project, kind: Kind, source: LabelClass) -> ClassChange:
    changes = ClassChange.objects.filter(project=project, kind=kind).order_by("-pk")
    return next(change for change in changes if change.did["class"] == source.pk)


def _or(parts: Sequence[LabelClass]) -> str:
    names = [*parts] if len(parts) <= 6 else [*parts[:6], told("another")]
    return told("%(names)s or %(last)s", names=names[:-1], last=names[-1])


# --- The worker's part ----------------------------------------------------------------------------------------------


def run_class_change(*, change_id: int) -> None:
    """The task: claim the change, go over its images, some at a time. Killed in the middle, another goes on there."""
    change = claim_job(model=ClassChange, job_id=change_id)
    if change is None:
        return
    beat = Beat(change)
    try:
        while again_if_raced(partial(_turn, change, beat, change.last_image_id, change.done)):
            pass
    except (ClaimLost, JobCancelled):
        return
    finish_job(job=change, state=JobState.DONE, done=change.total)


def _turn(change: ClassChange, beat: Beat, after: int, done: int) -> bool:
    """Some images, and how far that is, in one transaction, which may be tried again."""
    change.last_image_id, change.done = after, done
    image_ids = _go_over(change)
    _ask(change, image_ids)
    beat.now(last_image_id=change.last_image_id, done=change.done)
    return bool(image_ids)


def sweep_class_changes() -> int:
    return resume_stalled(model=ClassChange, task_name=RUN)
