"""Classes grow: an answer may name a class that there is not, if the project takes proposals, and a manager decides.

The class is a row that is not offered. An answer that names it is kept like any other and waits: its image is set
aside, nobody is asked about it and nothing learns from it. Accepted, its answers are labels; merged, they mean the
other class; refused, they count for nothing and their images are asked again. Until then who proposed it may take it
back, which does the same to their own answers; and who has undone or corrected all of those has taken it back.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Max
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from labeler import clock
from labeler.models import Annotation, ClassChange, ClassProposal, Fate, LabelClass, Outcome, Project, User
from labeler.naming import clean_name
from labeler.selectors.classes import group_of
from labeler.services.class_changes import begin_decision, merge_class
from labeler.services.classes import KEYS, MAX_CLASSES, MAX_NAME, check_name, colour_of, lock_classes
from labeler.services.races import again_if_raced
from labeler.told import keep, said, told

MOST_WAITING = 100  # of a project: a manager has to decide on some first
NOT_ANY_MORE = gettext_lazy("Somebody else has decided on it.")


def record_proposal(
    *, project: Project, annotator: User, name: str, key: UUID, save: Callable[[int], Annotation]
) -> Annotation:
    """Find or make the class of that name, and `save` the answer that names it, in one transaction.

    The same key again returns the row of the first time, whatever has been decided since. A name that is a class
    already is that class, however it is written. Raises ValidationError.
    """

    def work() -> Annotation:
        sent_before = Annotation.objects.filter(annotator=annotator, key=key).first()
        if sent_before is not None:
            return sent_before
        return save(_named(project, annotator, name).pk)

    return again_if_raced(work)


def accept_proposal(*, label_class: LabelClass, name: str, by: User) -> None:
    """It is a class from now on, under this name. Raises ValidationError."""

    def work() -> None:
        project, source = _locked(label_class)
        source.name, source.fate, source.is_archived = clean_name(name), "", False
        check_name(source)
        live = LabelClass.objects.filter(project=project, is_archived=False)
        taken = set(live.values_list("shortcut", flat=True))
        source.shortcut = next((key for key in KEYS if key not in taken), "")
        source.order = (live.aggregate(last=Max("order"))["last"] or 0) + 1
        source.full_clean()
        source.save(update_fields=["name", "fate", "is_archived", "shortcut", "order"])
        proposed = label_class.name
        words = told("accepted the proposed class “%(name)s”", name=proposed)
        decision = told("“%(name)s” is a class now", name=proposed)
        if (now := source.name) != proposed:
            words = told("accepted the proposed class “%(name)s” as “%(now)s”", name=proposed, now=now)
            decision = told("“%(name)s” is a class now: “%(now)s”.", name=proposed, now=now)
        begin_decision(project, ClassChange.Kind.ACCEPT, by, words, "settle", source)
        _tell(source, decision)

    again_if_raced(work)


def merge_proposal(*, label_class: LabelClass, into: LabelClass, by: User) -> None:
    """It is another name of a class that there is. Raises ValidationError."""

    def work() -> None:
        _, source = _locked(label_class)
        merge_class(label_class=source, into=into, by=by)
        words = told(
            "“%(name)s” is called “%(into)s” here. Your answers mean that now.", name=source.name, into=into.name
        )
        _tell(source, words)

    again_if_raced(work)


def refuse_proposal(*, label_class: LabelClass, why: str, by: User) -> None:
    """It is no class. Its images are asked again; who proposed it is told, with `why`. Raises ValidationError."""

    def work() -> None:
        project, source = _locked(label_class)
        LabelClass.objects.filter(pk=source.pk).update(fate=Fate.REFUSED)
        name = source.name
        words = told("refused the proposed class “%(name)s”", name=name)
        decision = told("“%(name)s” was not taken as a class. Its images are asked again.", name=name)
        if why:
            words = told("refused the proposed class “%(name)s”: %(why)s", name=name, why=why)
            decision = told(
                "“%(name)s” was not taken as a class. %(why)s Its images are asked again.", name=name, why=why
            )
        question = told("“%(name)s” was proposed for it, which is no class here. Choose another one.", name=name)
        begin_decision(project, ClassChange.Kind.REFUSE, by, words, "void", source, keep(question))
        _tell(source, decision)

    again_if_raced(work)


def take_back_proposal(*, label_class: LabelClass, by: User) -> int:
    """Who proposed it does so no more: their images are asked again. Returns of how many answers.

    It goes on waiting for a manager if others have proposed it, too. Raises ValidationError once somebody has decided.
    """

    def work() -> int:
        project, source = _locked_class(label_class)
        own = ClassProposal.objects.filter(label_class=source, by=by).first()
        if own is None:
            raise ValidationError(
                _("You have no proposal of “%(name)s”. Perhaps you took it back already.") % {"name": source}
            )
        if source.fate != Fate.PROPOSED:
            words = _("“%(name)s” was decided on already, and cannot be taken back. The decision: %(decision)s")
            raise ValidationError(words % {"name": source, "decision": said(own.decision)}, code="decided")
        own.delete()
        if not ClassProposal.objects.filter(label_class=source).exists():
            LabelClass.objects.filter(pk=source.pk).update(fate=Fate.WITHDRAWN)
        return _taken_back(project, source, by).total

    return again_if_raced(work)


def lock_proposal(answer: Annotation) -> None:
    """The class that the answer has proposed, for `take_back_unused`, before its place and its image are locked."""
    if answer.label_class is not None and answer.label_class.meaning.fate == Fate.PROPOSED:
        _locked_class(answer.label_class.meaning)


def take_back_unused(*, answer: Annotation) -> None:
    """Its person undid or corrected it: if no answer of theirs names the class any more, they propose it no more.

    No image is asked again by this: that of an undone answer is back with them, that of a corrected one has another.
    """
    if answer.label_class is None or answer.label_class.meaning.fate != Fate.PROPOSED:
        return
    project, source = _locked_class(answer.label_class.meaning)
    own = ClassProposal.objects.filter(label_class=source, by=answer.annotator)
    live = Annotation.objects.filter(label_class__in=group_of(source), outcome=Outcome.LABEL, retracted_at__isnull=True)
    if source.fate != Fate.PROPOSED or live.filter(annotator=answer.annotator).exists() or not own.exists():
        return
    own.delete()
    if not ClassProposal.objects.filter(label_class=source).exists() and not live.exists():
        LabelClass.objects.filter(pk=source.pk).update(fate=Fate.WITHDRAWN)
    _taken_back(project, source, answer.annotator)


def note_read(*, project: Project, person: User, ids: list[int]) -> None:
    """The person has read what became of these proposals."""
    own = ClassProposal.objects.filter(label_class__project=project, by=person, pk__in=ids)
    own.exclude(decision="").filter(read_at__isnull=True).update(read_at=clock.now())


def _named(project: Project, by: User, text: str) -> LabelClass:
    if not project.takes_proposals:
        raise _refusal(_("This project takes no new classes. Choose one that there is."))
    try:
        name = clean_name(text)
    except ValidationError as error:
        raise _refusal(error.messages[0]) from error
    if len(name) > MAX_NAME:
        raise _refusal(_("The name is too long: %(most)s characters at most.") % {"most": MAX_NAME})
    label_class = _find(project, name)
    if label_class is None or label_class.fate == Fate.WITHDRAWN:
        lock_classes(project)  # of two who propose the same at once, the second finds what the first made
        label_class = _find(project, name) or _make(project, name)
    if label_class.fate == Fate.WITHDRAWN:
        _check_room(project)
        label_class.fate = Fate.PROPOSED
        label_class.save(update_fields=["fate"])
    if label_class.meaning.fate == Fate.PROPOSED:
        _propose(label_class.meaning, by)
    return label_class


def _propose(label_class: LabelClass, by: User) -> None:
    """Who takes the class back at this moment has locked it: this waits for them, and finds what they did."""
    held = LabelClass.objects.select_for_update(no_key=True).get(pk=label_class.pk)
    ClassProposal.objects.get_or_create(label_class=held, by=by)
    if held.fate == Fate.WITHDRAWN:
        held.fate = Fate.PROPOSED
        held.save(update_fields=["fate"])


def _find(project: Project, name: str) -> LabelClass | None:
    wanted = name.casefold()
    rows = LabelClass.objects.filter(project=project).select_related("merged_into")
    found = next((row for row in rows if row.name.casefold() == wanted), None)
    if found is None:
        return None
    meant = found.meaning
    if meant.fate in (Fate.SPLIT, Fate.REFUSED):
        raise _refusal(
            _("“%(name)s” was %(fate)s by a manager. Choose another class.")
            % {"name": found.name, "fate": meant.get_fate_display()}
        )
    if meant.is_archived and not meant.fate:
        raise _refusal(
            _("“%(name)s” is a class that a manager has archived. Choose another one.") % {"name": found.name}
        )
    return found


def _make(project: Project, name: str) -> LabelClass:
    classes = LabelClass.objects.filter(project=project)
    _check_room(project)
    last = classes.aggregate(last=Max("order"))["last"] or 0
    return LabelClass.objects.create(
        project=project,
        name=name,
        colour=colour_of(classes.count()),
        order=last + 1,
        is_archived=True,
        fate=Fate.PROPOSED,
    )


def _check_room(project: Project) -> None:
    classes = LabelClass.objects.filter(project=project)
    if classes.filter(fate=Fate.PROPOSED).count() >= MOST_WAITING or classes.count() >= MAX_CLASSES:
        raise _refusal(_("Too many proposed classes wait for a manager. Choose one that there is, or skip the image."))


def _refusal(words: str) -> ValidationError:
    return ValidationError({"label_class": words})


def _taken_back(project: Project, source: LabelClass, by: User) -> ClassChange:
    question = told("“%(name)s” was proposed for it and taken back. Choose a class that there is.", name=source.name)
    words = told("took back the proposed class “%(name)s”", name=source.name)
    return begin_decision(project, ClassChange.Kind.WITHDRAW, by, words, "void", source, keep(question), by)


def _locked_class(label_class: LabelClass) -> tuple[Project, LabelClass]:
    project = Project.objects.select_related("learning").get(pk=label_class.project_id)
    lock_classes(project)
    return project, LabelClass.objects.select_for_update().get(pk=label_class.pk)


def _locked(label_class: LabelClass) -> tuple[Project, LabelClass]:
    project, source = _locked_class(label_class)
    if source.fate != Fate.PROPOSED:
        raise ValidationError(NOT_ANY_MORE, code="decided")
    return project, source


def _tell(source: LabelClass, words: str) -> None:
    ClassProposal.objects.filter(label_class=source).update(decision=words, read_at=None)
