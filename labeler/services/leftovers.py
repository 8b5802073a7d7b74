"""Files that nothing names any more, deleted a day later: a backup that read the database first still finds them."""

from __future__ import annotations

from datetime import timedelta

from django.core.files.storage import default_storage
from django.utils import timezone

from labeler import storage
from labeler.models import Project, RoundChunk
from labeler.models.rounds import UNFINISHED

KEPT = timedelta(days=1)


def forget_replaced_pixels(project: Project) -> int:
    """Delete pixel files of chunks that grew since, unless an unfinished round reads them. Returns how many."""
    names = set(storage.names_in(f"{storage.project_folder(project)}/pixels"))
    names -= set(project.chunks.values_list("pixels", flat=True))
    names -= set(
        RoundChunk.objects.filter(round__project=project, round__state__in=UNFINISHED).values_list("pixels", flat=True)
    )
    old = [name for name in names if default_storage.get_modified_time(name) < timezone.now() - KEPT]
    for name in old:
        storage.delete(name)
    return len(old)
