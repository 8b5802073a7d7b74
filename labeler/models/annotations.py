from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from labeler import clock


class Outcome(models.TextChoices):
    LABEL = "label", _("label")
    SKIP = "skip", _("skip")
    UNSURE = "unsure", _("unsure")
    BAD_IMAGE = "bad_image", _("bad image")
    UNDO = "undo", _("undo")


class Shown(models.TextChoices):
    """Whether a person saw what the model says of the image, and when; empty: they did not."""

    AFTER = "after", _("after the answer")
    BEFORE = "before", _("before the answer")


class Annotation(models.Model):
    """One answer. Rows are only ever added: a correction or an undo is a new row that `retracts` the old one.

    `retracted_at` is the one column that is written later, with the row that retracts this one and in its transaction;
    where that is no answer but a change of the classes, `voided_by` names it: the class was split or refused, so that
    nobody knows what the answer says now.
    It lets the database itself hold that a person has at most one live answer on an image. `key` is made by the client:
    a repeated send finds the row that the first one made.
    """

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="annotations", db_index=False)
    image = models.ForeignKey("labeler.Image", on_delete=models.CASCADE, related_name="annotations", db_index=False)
    annotator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="annotations", db_index=False
    )
    outcome = models.CharField(max_length=12, choices=Outcome)
    label_class = models.ForeignKey(
        "labeler.LabelClass", null=True, blank=True, on_delete=models.PROTECT, related_name="annotations"
    )
    seconds = models.FloatField(null=True, blank=True)
    candidate = models.ForeignKey(
        "labeler.Candidate", null=True, blank=True, on_delete=models.SET_NULL, related_name="annotations"
    )
    key = models.UUIDField()
    retracts = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="retracted_by"
    )
    retracted_at = models.DateTimeField(null=True, blank=True)
    voided_by = models.ForeignKey(
        "labeler.ClassChange", null=True, blank=True, on_delete=models.SET_NULL, related_name="voided"
    )
    answered_at = models.DateTimeField(null=True, blank=True)  # by the client's clock, which may be wrong
    # Of a manager who has seen what others said: it settles the image, and is no vote (services/decide.py).
    is_decision = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=clock.now)
    # Given on a page of tiles. `is_grid`: accepted with the others, not looked at singly (selectors/grid.py).
    grid_page = models.ForeignKey(
        "labeler.GridPage", null=True, blank=True, on_delete=models.SET_NULL, related_name="answers"
    )
    is_grid = models.BooleanField(default=False)
    is_imported = models.BooleanField(default=False)  # came with the image, and was taken by a manager
    # How the model's word was shown to the person: it sways who sees it before they answer.
    suggestion = models.CharField(max_length=8, choices=Shown, blank=True, default="")

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["annotator", "key"], name="one_annotation_of_a_key"),
            models.UniqueConstraint(
                fields=["image", "annotator"],
                condition=models.Q(retracted_at__isnull=True) & ~models.Q(outcome="undo"),
                name="one_live_answer_a_person",
            ),
            models.CheckConstraint(
                condition=models.Q(outcome="label", label_class__isnull=False)
                | (~models.Q(outcome="label") & models.Q(label_class__isnull=True)),
                name="a_label_names_its_class",
            ),
            models.CheckConstraint(
                condition=~models.Q(outcome="undo") | models.Q(retracts__isnull=False), name="an_undo_retracts"
            ),
        ]
        indexes = [
            models.Index(fields=["project", "id"], name="annotation_project"),
            models.Index(fields=["project", "annotator", "id"], name="annotation_person"),
            models.Index(fields=["project"], condition=models.Q(is_decision=True), name="annotation_decision"),
            models.Index(
                fields=["project", "image"],
                condition=models.Q(is_grid=True, retracted_at__isnull=True),
                name="annotation_grid",
            ),
            models.Index(fields=["image", "annotator"], condition=~models.Q(suggestion=""), name="annotation_told"),
        ]

    def __str__(self) -> str:
        return f"{self.outcome} by {self.annotator} on {self.image}"

    @property
    def given_at(self) -> datetime:
        """When the person said so: of an answer that came from elsewhere the moment that came along. `GIVEN_AT` is the
        same for statements."""
        return self.answered_at if self.is_imported and self.answered_at else self.created_at


GIVEN_AT = models.Case(
    models.When(is_imported=True, answered_at__isnull=False, then=models.F("answered_at")),
    default=models.F("created_at"),
)
