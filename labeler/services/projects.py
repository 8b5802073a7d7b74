"""A project is made, and changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.text import slugify

from labeler import clock
from labeler.models import AuditKind, LearningConfig, Membership, Project, Role, Trigger, User
from labeler.services import audit, notices
from labeler.services.classes import make_classes
from labeler.services.consensus import settle_enough
from labeler.services.rounds import newest_round, start_cold_round
from labeler.told import told

# The same person and name again within this time is the same click, sent twice.
SAME_CLICK = timedelta(seconds=10)
SLUG_ATTEMPTS = 5
RESERVED_SLUGS = {"new"}
LOOK = ("representation", "backbone", "backbone_file")


@transaction.atomic
def create_project(*, name: str, guidelines: str, class_names: Sequence[str], by: User) -> Project:
    """The project with its learning config and classes; `by` manages it. A double submit gives the first one again."""
    User.objects.select_for_update(no_key=True).get(pk=by.pk)
    same = Project.objects.filter(created_by=by, name=name, created_at__gt=clock.now() - SAME_CLICK).first()
    if same is not None:
        return same
    project = _insert_project(name, guidelines, by)
    LearningConfig.objects.create(project=project)
    Membership.objects.create(project=project, user=by, role=Role.MANAGER)
    audit.record(project=project, by=by, kind=AuditKind.SETTINGS, words=told("made the project “%(name)s”", name=name))
    make_classes(project=project, names=class_names, by=by)
    return project


def _insert_project(name: str, guidelines: str, by: User) -> Project:
    """With the first free address; of two people who race for one, the database lets one win and the other try on."""
    for _ in range(SLUG_ATTEMPTS - 1):
        try:
            with transaction.atomic():
                return Project.objects.create(name=name, slug=free_slug(name), guidelines=guidelines, created_by=by)
        except IntegrityError:
            continue
    return Project.objects.create(name=name, slug=free_slug(name), guidelines=guidelines, created_by=by)


def free_slug(name: str) -> str:
    """From the name; the first free of `signs`, `signs-2`, ..."""
    base = slugify(name)[:50].strip("-_") or "project"
    taken = set(Project.objects.filter(slug__startswith=base).values_list("slug", flat=True)) | RESERVED_SLUGS
    number = 1
    while (slug := base if number == 1 else f"{base}-{number}") in taken:
        number += 1
    return slug


def lock_project(*, project: Project) -> Project:
    """The project as it is now; until the caller's transaction ends nobody else saves its settings."""
    return Project.objects.select_for_update(no_key=True).get(pk=project.pk)


def lock_learning(*, project: Project) -> LearningConfig:
    """How the project learns now; until the caller's transaction ends nobody else saves that."""
    return LearningConfig.objects.select_for_update(of=("self",), no_key=True).get(project=project)


@transaction.atomic
def change_project(*, project: Project, name: str, guidelines: str, by: User | None = None) -> None:
    """The address stays, so that links that people kept go on working."""
    saved = Project.objects.get(pk=project.pk)
    before = {"name": saved.name, "guidelines": saved.guidelines}
    project.name, project.guidelines = name, guidelines
    project.clean_fields(exclude={field.name for field in project._meta.fields} - {"name", "guidelines"})
    project.save(update_fields=["name", "guidelines"])
    after = {"name": name, "guidelines": guidelines}
    audit.record_changes(
        project=project, by=by, kind=AuditKind.SETTINGS, what="the project", before=before, after=after
    )


@transaction.atomic
def set_target(*, project: Project, target: float | None, by: User) -> None:
    """The accuracy that a model is to reach; None: no target. Where the model in charge has met it, that is said."""
    locked = lock_project(project=project)
    before, locked.target_accuracy = locked.target_accuracy, target
    locked.clean_fields(exclude={field.name for field in Project._meta.fields} - {"target_accuracy"})
    locked.save(update_fields=["target_accuracy"])
    audit.record_changes(
        project=project,
        by=by,
        kind=AuditKind.SETTINGS,
        what="the project",
        before={"target_accuracy": before},
        after={"target_accuracy": target},
    )
    if locked.model_round is not None:
        notices.note_target(project=locked, round_=locked.model_round)


@transaction.atomic
def skip_step(*, project: Project, step: str, is_skipped: bool) -> None:
    """One of the first steps can wait, or is taken up again. Repeatable."""
    locked = lock_project(project=project)
    others = [each for each in locked.steps_skipped if each != step]
    Project.objects.filter(pk=project.pk).update(steps_skipped=[*others, step] if is_skipped else others)


def dismiss_steps(*, project: Project) -> None:
    """The Monitor no longer leads there."""
    Project.objects.filter(pk=project.pk, steps_dismissed_at=None).update(steps_dismissed_at=clock.now())


@transaction.atomic
def change_learning(*, project: Project, values: Mapping[str, Any], by: User | None = None) -> LearningConfig:
    """`values` by field of LearningConfig. Raises ValidationError; a round that runs keeps what it began with.

    An overlap that goes down settles at once the images that have enough answers for it. One that goes up before the
    first model makes the queue again: no round would come to do it before all its places for one person are used up.
    """
    config = lock_learning(project=project)
    unknown = set(values) - {field.name for field in LearningConfig._meta.concrete_fields}
    if unknown:
        raise ValidationError(f"Unknown settings: {', '.join(sorted(unknown))}")
    before, former = config.overlap, {name: getattr(config, name) for name in values}
    is_other_look = any(getattr(config, name) != values.get(name, getattr(config, name)) for name in LOOK)
    for name, value in values.items():
        setattr(config, name, value)
    if is_other_look:  # who chooses what images are seen by wants that, and not the network that took over from it
        config.network = None
    config.full_clean(exclude=["project", "schedule", "network"])
    config.save(update_fields=[*values, "network"])
    audit.record_changes(
        project=project, by=by, kind=AuditKind.SETTINGS, what="how the project learns", before=former, after=values
    )
    if config.overlap < before:
        settle_enough(project=project, before=before, overlap=config.overlap)
    last = newest_round(project)
    if config.overlap > before and last is not None and last.trigger == Trigger.COLD_START:
        start_cold_round(
            project=config.project, reason=told("%(number)s people are asked about each image", number=config.overlap)
        )
    return config
