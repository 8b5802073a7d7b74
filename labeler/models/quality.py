from __future__ import annotations

from django.conf import settings
from django.db import models

from labeler import clock


class GoldImage(models.Model):
    """An image whose class is known. People are asked about it unseen among the others; its label stays."""

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="gold")
    image = models.OneToOneField("labeler.Image", on_delete=models.CASCADE, related_name="gold")
    label_class = models.ForeignKey("labeler.LabelClass", on_delete=models.PROTECT, related_name="+")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.image} is {self.label_class}"


class AnswerQuality(models.Model):
    """What all answers of a project together say: measured by a worker whenever they have changed.

    `right`, `classes` and `prior` are of Dawid and Skene's model; `right` is null while there is too little to fit it.
    `stats` is what pages show, see selectors/answers.py.
    """

    project = models.OneToOneField("labeler.Project", on_delete=models.CASCADE, related_name="quality")
    asked_at = models.DateTimeField(null=True)
    measured_at = models.DateTimeField(null=True)
    last_annotation_id = models.BigIntegerField(default=0)
    gold = models.PositiveIntegerField(default=0)  # gold images there were
    right = models.FloatField(null=True)  # how often people are right on the whole
    classes = models.JSONField(default=list)  # ids, in the order of `prior` and of confusion matrices
    prior = models.JSONField(default=list)
    stats = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"answers of {self.project}"


class AnnotatorQuality(models.Model):
    """What a person's answers say of them. `trust`: how often they are right; `confusion`: what they say (column) given
    the true class (row), where there are few classes."""

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="annotator_quality")
    annotator = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    trust = models.FloatField(null=True)
    confusion = models.JSONField(null=True)
    stats = models.JSONField(default=dict)

    class Meta:
        verbose_name_plural = "annotator qualities"
        constraints = [models.UniqueConstraint(fields=["project", "annotator"], name="one_quality_of_a_person")]

    def __str__(self) -> str:
        return f"{self.annotator} in {self.project}"
