"""A project made from another's settings: what was decided goes along, what was done does not."""

from __future__ import annotations

from django.db import transaction

from labeler import clock
from labeler.models import AuditKind, LabelClass, LearningConfig, Membership, Project, Role, User
from labeler.services import audit
from labeler.services.projects import SAME_CLICK, create_project
from labeler.services.schedule import schedule_of, set_schedule
from labeler.told import told

OWN = {"id", "project", "network", "schedule"}  # of LearningConfig: not another project's


@transaction.atomic
def copy_project(*, source: Project, name: str, by: User, with_people: bool = False) -> Project:
    """Guidelines, classes with their keys and colours, how it learns, its target; if wanted its members and their
    roles. No images, no answers, no models. `by` manages it. A double submit gives the first one again."""
    User.objects.select_for_update(no_key=True).get(pk=by.pk)
    recent = Project.objects.filter(created_by=by, name=name, created_at__gt=clock.now() - SAME_CLICK).first()
    if recent is not None:
        return recent
    project = create_project(name=name, guidelines=source.guidelines, class_names=[], by=by)
    Project.objects.filter(pk=project.pk).update(
        takes_proposals=source.takes_proposals, target_accuracy=source.target_accuracy
    )
    _copy_classes(source, project)
    _copy_learning(source, project, by)
    if with_people:
        _copy_people(source, project, by)
    words = told("copied the settings of “%(name)s”", name=source.name)
    if with_people:
        words = told("copied the settings of “%(name)s” and its people", name=source.name)
    audit.record(project=project, by=by, kind=AuditKind.SETTINGS, words=words, source=source.pk)
    project.refresh_from_db()
    return project


def _copy_classes(source: Project, project: Project) -> None:
    """Those that are offered, in their order."""
    LabelClass.objects.bulk_create(
        LabelClass(project=project, name=row.name, shortcut=row.shortcut, colour=row.colour, order=order)
        for order, row in enumerate(source.classes.filter(is_archived=False))
    )


def _copy_learning(source: Project, project: Project, by: User) -> None:
    config = LearningConfig.objects.select_related("schedule__crontab").get(project=source)
    names = [field.name for field in LearningConfig._meta.concrete_fields if field.name not in OWN]
    LearningConfig.objects.filter(project=project).update(**{name: getattr(config, name) for name in names})
    schedule = schedule_of(config)
    if schedule is not None:
        set_schedule(project=project, at=schedule.at, days=schedule.days, by=by)


def _copy_people(source: Project, project: Project, by: User) -> None:
    """Who may be asked there now, as what they are."""
    members = source.memberships.filter(deactivated_at__isnull=True, user__is_active=True).exclude(user=by)
    Membership.objects.bulk_create(
        Membership(project=project, user_id=user, role=Role(role)) for user, role in members.values_list("user", "role")
    )
