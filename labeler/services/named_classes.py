"""The class that an answer names, held while the answer is given, whatever has become of it since its page was made.

Who changes a class (services/class_changes.py) locks it first: so answers that name it are either all there already, or
find it changed.
"""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import connection
from django.utils.translation import gettext as _

from labeler import clock
from labeler.models import Annotation, ClassChange, Fate, LabelClass

HOLD = "SELECT k.id FROM labeler_labelclass k WHERE k.id = %(class)s AND k.project_id = %(project)s {lock}"


def with_class_held(statement: str) -> str:
    """Two answers that name one class do not wait for each other. On SQLite there is one writer at a time anyway."""
    return statement.replace("{lock}", "FOR KEY SHARE OF k" if connection.vendor == "postgresql" else "")


def hold_class(answer: Annotation) -> bool:
    """Until the transaction ends, what the answer's class means stays as it is. False: the answer counts for nothing.

    One that is offered no more is kept as it was given: the person saw it on their page. If it was split, refused or
    withdrawn, nobody knows what the answer says now: it is kept as one that is retracted already, and the image is
    asked again. Raises ValidationError for a class that is not of this project.
    """
    if answer.label_class_id is None:
        return True
    with connection.cursor() as cursor:
        cursor.execute(with_class_held(HOLD), {"class": answer.label_class_id, "project": answer.project_id})
        if cursor.fetchone() is None:
            raise ValidationError({"label_class": _("There is no such class in this project.")})
    answer.label_class = LabelClass.objects.select_related("merged_into").get(pk=answer.label_class_id)
    meant = answer.label_class.meaning
    if meant.fate not in (Fate.SPLIT, Fate.REFUSED, Fate.WITHDRAWN):
        return True
    kinds = [ClassChange.Kind.SPLIT, ClassChange.Kind.REFUSE, ClassChange.Kind.WITHDRAW]
    changes = ClassChange.objects.filter(project=answer.project_id, kind__in=kinds, undone_by__isnull=True)
    answer.voided_by = next((each for each in changes.order_by("-pk") if each.did.get("class") == meant.pk), None)
    answer.retracted_at = clock.now()
    return False
