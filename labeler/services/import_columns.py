"""Which column of a table names the image, and which is its label, where a person says so."""

from __future__ import annotations

from collections.abc import Mapping

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from labeler import clock
from labeler.models import ImportJob, JobState, User
from labeler.services.uploads import RUN_IMPORT, record_import
from labeler.tables.columns import Chosen
from labeler.told import told
from labeler.wake import wake

REMEMBERED = 20  # imports before, of which choices are taken over


def chosen_columns(job: ImportJob, table: str) -> Chosen | None:
    """What was chosen for a table of the import; else for one of the same name in an import of the project before."""
    own = job.table_columns.get(table)
    if own is not None:
        return Chosen(own["place"], own["label"])
    before = ImportJob.objects.filter(project=job.project_id, pk__lt=job.pk).exclude(table_columns={}).order_by("-pk")
    for columns in before.values_list("table_columns", flat=True)[:REMEMBERED]:
        if table in columns:
            return Chosen(columns[table]["place"], columns[table]["label"], is_remembered=True)
    return None


def look_again(*, job: ImportJob, by: User, columns: Mapping[str, Chosen]) -> bool:
    """Look at an import that waits to be started once more, with these columns of its tables. False: it does not wait
    any more. Raises ValidationError, by the table."""
    found = {table["name"]: table for table in (job.found or {}).get("tables", [])}
    columns = {table: chosen for table, chosen in columns.items() if not _is_so(found.get(table, {}), chosen)}
    for table, chosen in columns.items():
        check_chosen(table, chosen)
        names = found.get(table, {}).get("names", [])
        for name in (chosen.place, chosen.label):
            if name and name not in names:
                raise ValidationError({table: _("There is no column “%(name)s”.") % {"name": name}})
    with transaction.atomic():
        waiting = ImportJob.objects.filter(pk=job.pk, state=JobState.UPLOADING, found__isnull=False)
        queued = waiting.update(
            state=JobState.QUEUED, looks_first=True, found=None, heartbeat_at=clock.now(),
            table_columns=job.table_columns | _kept(columns),
        )  # fmt: skip
        if queued:
            record_import(job, by, told("chose columns of tables in import %(number)s", number=str(job.pk)))
            wake(RUN_IMPORT, job.pk)
    return bool(queued)


def _is_so(found: Mapping[str, object], chosen: Chosen) -> bool:
    """Whether the look has read the table so anyway: then nobody has chosen anything."""
    return (found.get("place"), found.get("label")) == (chosen.place, chosen.label)


def keep_columns(*, job: ImportJob, columns: Mapping[str, Chosen]) -> None:
    """For an import that was not looked at, or not yet. Raises ValidationError, by the table."""
    for table, chosen in columns.items():
        check_chosen(table, chosen)
    if columns:
        job.table_columns |= _kept(columns)
        ImportJob.objects.filter(pk=job.pk, state=JobState.UPLOADING).update(table_columns=job.table_columns)


def check_chosen(table: str, chosen: Chosen) -> None:
    if not chosen.place:
        raise ValidationError({table: _("Say which column names the image.")})
    if chosen.place == chosen.label:
        raise ValidationError({table: _("One column cannot both name the image and be its label.")})


def _kept(columns: Mapping[str, Chosen]) -> dict[str, dict[str, str]]:
    return {table: {"place": chosen.place, "label": chosen.label} for table, chosen in columns.items()}
