"""What a person sees of their projects. The number of queries does not grow with the projects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db.models import Count, Exists, F, JSONField, OuterRef, Q, QuerySet, Subquery, Sum
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from labeler import clock
from labeler.models import (
    Annotation,
    AuditKind,
    Candidate,
    CandidateState,
    Chunk,
    Fate,
    Image,
    ImageState,
    LabelClass,
    Membership,
    Notice,
    NoticeKind,
    Outcome,
    Project,
    Role,
    Round,
    RoundState,
    Trigger,
    User,
)
from labeler.numerals import numeral
from labeler.selectors.notices import unread_of
from labeler.selectors.pool import says_something, shown_accuracy

MOST_SOURCES = 100  # offered for a copy


@dataclass(frozen=True)
class Accuracy:
    value: float
    low: float
    high: float
    n: int
    method: str
    made_of: str


@dataclass(frozen=True)
class Need:
    """Something that waits for this person, and where they do it."""

    words: str
    url: str
    is_warning: bool = False


@dataclass(frozen=True)
class ProjectRow:
    project: Project
    role: str
    images: int
    labelled: int
    accuracy: Accuracy | None
    offered: Accuracy | None = None  # by labels that came with the images, where the holdout says nothing yet
    needs: list[Need] = field(default_factory=list)

    @property
    def is_manager(self) -> bool:
        return self.role == Role.MANAGER

    @property
    def role_words(self) -> str:
        return str(Role(self.role).label)


@dataclass(frozen=True)
class Counts:
    images: int
    labelled: int
    waiting: int
    classes: int
    members: int


@dataclass(frozen=True)
class Waits:
    """What waits for a manager inside a project. Open comments stand in the project's row."""

    notices: int = 0  # that this person has not read
    others: int = 0  # images that wait for somebody who has not come yet
    proposals: int = 0
    disputed: int = 0


def can_create_projects(user: User) -> bool:
    """Staff, and whoever manages a project already. Who was invited to answer questions does not fill the disk."""
    return (
        user.is_staff
        or user.is_superuser
        or user.memberships.filter(role=Role.MANAGER, deactivated_at__isnull=True).exists()
    )


def managed_projects(user: User) -> list[Project]:
    """Whose settings this person may copy."""
    own = Project.objects.filter(
        memberships__user=user, memberships__role=Role.MANAGER, memberships__deactivated_at__isnull=True
    )
    return list((Project.objects.all() if user.is_superuser else own).order_by("name", "pk")[:MOST_SOURCES])


def home_rows(user: User, *, among: Sequence[int] | None = None) -> list[ProjectRow]:
    """The person's projects; for a site admin also those of others. `among`: of these alone, by their ids."""
    roles = dict(Membership.objects.filter(user=user, deactivated_at__isnull=True).values_list("project_id", "role"))
    projects = Project.objects.all() if user.is_superuser else Project.objects.filter(pk__in=list(roles))
    if among is not None:
        projects = projects.filter(pk__in=among)
    newest = Round.objects.filter(project=OuterRef("pk")).order_by("-number")
    is_measured = Q(metrics__has_key="accuracy") | Q(offered__isnull=False)
    measured = newest.filter(is_measured, state=RoundState.DONE).exclude(trigger=Trigger.COMPARISON)
    projects = projects.annotate(
        last_metrics=Subquery(measured.values("metrics")[:1], output_field=JSONField()),
        last_offered=Subquery(measured.values("offered")[:1], output_field=JSONField()),
        last_measured=Subquery(measured.values("number")[:1]),
        model_metrics=F("model_round__metrics"),
        model_offered=F("model_round__offered"),
        model_number=F("model_round__number"),
        last_state=Subquery(newest.values("state")[:1]),
        last_number=Subquery(newest.values("number")[:1]),
    )
    rows = list(projects.order_by("name", "pk"))
    counts = _counts([project.pk for project in rows], user)
    waits = _waits(user, [pk for pk in counts if roles.get(pk, Role.MANAGER) == Role.MANAGER])
    return [
        _row(project, roles.get(project.pk, Role.MANAGER), counts[project.pk], waits.get(project.pk, Waits()))
        for project in rows
    ]


def _row(project: Any, role: str, counts: Counts, waits: Waits) -> ProjectRow:
    """How good it is says the model in charge; where none is, the last round that was measured."""
    metrics, offered, number = project.last_metrics, project.last_offered, project.last_measured
    if project.model_number is not None:
        metrics, offered, number = project.model_metrics, project.model_offered, project.model_number
    source = _("round %(number)s") % {"number": number}
    accuracy = accuracy_in(metrics, source)
    return ProjectRow(
        project=project,
        role=role,
        images=counts.images,
        labelled=counts.labelled,
        accuracy=accuracy,
        offered=None if accuracy else offered_in(offered, source),
        needs=list(_needs(project, role, counts, waits)),
    )


def accuracy_in(metrics: dict[str, Any] | None, source: str) -> Accuracy | None:
    """From `Round.metrics` as labeler/learning/rounds.py writes them."""
    accuracy = shown_accuracy(metrics)
    if metrics is None or accuracy is None:
        return None
    made_of = _("Wilson 95 %% interval, %(images)s holdout images, %(source)s") % {
        "images": numeral(metrics["n"]), "source": source,
    }  # fmt: skip
    return Accuracy(**accuracy, made_of=made_of)


def offered_in(offered: dict[str, Any] | None, source: str) -> Accuracy | None:
    """From `Round.offered` as labeler/learning/offered.py writes it."""
    if offered is None or not says_something(offered):
        return None
    made_of = _("Wilson 95 %% interval, %(images)s images, %(source)s") % {
        "images": numeral(offered["n"]), "source": source,
    }  # fmt: skip
    return Accuracy(**offered, made_of=made_of)


def _needs(project: Any, role: str, counts: Counts, waits: Waits) -> Iterable[Need]:
    slug = project.slug
    if project.paused_at is not None:
        yield Need(_("Paused: nobody is asked"), reverse("monitor" if role == Role.MANAGER else "label", args=[slug]))
    if role == Role.MANAGER:
        if project.last_state == RoundState.FAILED:
            url = reverse("round", args=[slug, project.last_number])
            yield Need(_("Round %(number)s failed") % {"number": project.last_number}, url, is_warning=True)
        if lacking := _lacking(counts):
            yield Need(lacking, reverse("project-start", args=[slug]))
        yield from _waiting_for_a_manager(project, waits)
    if counts.waiting and counts.classes and project.paused_at is None:
        waiting = ngettext(  # an image may have several
            "%(count)s question waits for an answer", "%(count)s questions wait for an answer", counts.waiting
        )
        yield Need(waiting % {"count": numeral(counts.waiting)}, reverse("label", args=[slug]))


def _waiting_for_a_manager(project: Any, waits: Waits) -> Iterable[Need]:
    others = waits.others if project.paused_at is None else 0
    found = [
        (
            others,
            ngettext("%(count)s image waits for somebody else", "%(count)s images wait for somebody else", others),
            "monitor",
        ),
        (waits.notices, ngettext("%(count)s unread notice", "%(count)s unread notices", waits.notices), "monitor"),
        (
            waits.proposals,
            ngettext(
                "%(count)s proposed class waits for a decision",
                "%(count)s proposed classes wait for a decision",
                waits.proposals,
            ),
            "proposals",
        ),
        (
            project.open_comments,
            ngettext("%(count)s open comment", "%(count)s open comments", project.open_comments),
            "comments",
        ),
        (
            waits.disputed,
            ngettext("People disagree about %(count)s image", "People disagree about %(count)s images", waits.disputed),
            "review",
        ),
    ]
    for number, words, page in found:
        if number:
            yield Need(words % {"count": numeral(number)}, reverse(page, args=[project.slug]))


def _waits(user: User, project_ids: list[int]) -> dict[int, Waits]:
    """One query a kind, whatever the number of projects."""
    notices = _by_project(unread_of(user).filter(project__in=project_ids))
    proposals = _by_project(LabelClass.objects.filter(project__in=project_ids, fate=Fate.PROPOSED))
    left_pool = Image.objects.filter(project__in=project_ids, state=ImageState.DISPUTED)
    disputed = _by_project(left_pool.exclude(state=ImageState.POOL))  # for the partial index
    stood = Notice.objects.filter(project__in=project_ids, kind=NoticeKind.SOMEBODY_ELSE, over_at__isnull=True)
    others = dict(stood.order_by().values_list("project", "facts__images"))
    return {
        pk: Waits(notices.get(pk, 0), others.get(pk, 0), proposals.get(pk, 0), disputed.get(pk, 0))
        for pk in project_ids
    }


def _lacking(counts: Counts) -> str:
    """In words; empty where a project has what it needs."""
    if counts.classes < 2 and not counts.images:
        return _("Set it up: needs two classes or more and images")
    if counts.classes < 2:
        return _("Set it up: needs two classes or more")
    return "" if counts.images else _("Set it up: needs images")


def _counts(project_ids: list[int], user: User | None = None) -> dict[int, Counts]:
    """One query a kind. What is labelled stands in the index image_left_pool, the queue in candidate_open: `waiting` is
    what `user` may be asked."""
    here = Q(project__in=project_ids)
    left_pool = Image.objects.filter(here, state=ImageState.LABELLED).exclude(state=ImageState.POOL)
    labelled = _by_project(left_pool)
    free = Q(leased_until__isnull=True) | Q(leased_until__lte=clock.now())
    own = Annotation.objects.filter(image=OuterRef("image"), annotator=user, retracted_at__isnull=True)
    answered = Exists(own.exclude(outcome=Outcome.UNDO))
    waiting = _by_project(Candidate.objects.filter(here, free, ~answered, state=CandidateState.OPEN))
    classes = _by_project(LabelClass.objects.filter(here, is_archived=False))
    members = _by_project(Membership.objects.filter(here, deactivated_at__isnull=True))
    chunks = Chunk.objects.filter(here).order_by().values_list("project").annotate(n=Sum("count"))
    images = dict(chunks)
    return {
        pk: Counts(
            images=images.get(pk, 0),
            labelled=labelled.get(pk, 0),
            waiting=waiting.get(pk, 0),
            classes=classes.get(pk, 0),
            members=members.get(pk, 0),
        )
        for pk in project_ids
    }


def _by_project(rows: QuerySet[Any]) -> dict[int, int]:
    return dict(rows.order_by().values_list("project").annotate(n=Count("pk")))


# --- First steps --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    key: str
    title: str
    words: str
    url: str
    action: str
    is_done: bool
    is_skipped: bool = False

    @property
    def is_over(self) -> bool:
        return self.is_done or self.is_skipped


@dataclass(frozen=True)
class Steps:
    steps: list[Step]

    @property
    def following(self) -> Step | None:
        return next((step for step in self.steps if not step.is_over), None)

    @property
    def done(self) -> int:
        return sum(step.is_done for step in self.steps)

    @property
    def is_over(self) -> bool:
        return self.following is None


def first_steps(project: Project) -> Steps:
    """What a new project needs, in order. What is done is read from the data, so one may leave and come back; what a
    manager has put off stands in the project."""
    skipped = set(project.steps_skipped)
    return Steps([replace(step, is_skipped=step.key in skipped and not step.is_done) for step in _steps(project)])


STEPS = ("classes", "images", "people", "settings", "label")


def _steps(project: Project) -> list[Step]:
    """All together, in the order of the page."""
    counts = _counts([project.pk])[project.pk]
    invited = counts.members > 1 or project.invitations.filter(revoked_at=None).exists()
    slug = project.slug
    has_answers = project.annotations.exists()
    return [
        Step(
            "classes",
            _("Classes"),
            ngettext("%(count)s class: %(names)s", "%(count)s classes: %(names)s", counts.classes)
            % {"count": numeral(counts.classes), "names": _sample(project)}
            if counts.classes
            else _("What can an image be?"),
            reverse("classes", args=[slug]),
            _("Change classes") if counts.classes else _("Add classes"),
            counts.classes >= 2,
        ),
        Step(
            "images",
            _("Images"),
            ngettext("%(count)s image is in.", "%(count)s images are in.", counts.images)
            % {"count": numeral(counts.images)}
            if counts.images
            else _("Upload a zip, a folder or single files."),
            reverse("import-new", args=[slug]),
            _("Add more images") if counts.images else _("Add images"),
            counts.images > 0,
        ),
        Step(
            "people",
            _("People"),
            _("Invite who answers, by a link. You can also label alone."),
            reverse("people", args=[slug]),
            _("Invite people"),
            invited,
        ),
        Step(
            "settings",
            _("Settings"),
            _("The defaults suit most projects: how many people answer each image, what starts a round."),
            reverse("learning-settings", args=[slug]),
            _("Look at the settings"),
            project.audit.filter(kind=AuditKind.SETTINGS, words__startswith="changed how").exists(),
        ),
        Step(
            "label",
            _("Label"),
            _("The first questions need no model; soon it chooses them."),
            reverse("label", args=[slug]),
            _("Start labelling"),
            has_answers,
        ),
    ]


def counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _sample(project: Project) -> str:
    names = list(project.classes.filter(is_archived=False).values_list("name", flat=True)[:4])
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else ".")
