"""What came with images and is nobody's word here yet: columns of tables, and answers that people gave elsewhere."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class ImageMetadata(models.Model):
    """What a table says of an image beside its label: {column: text, number or truth}. A row of its own, as what
    answers and pages read of images grows with none of it."""

    image = models.OneToOneField(
        "labeler.Image", on_delete=models.CASCADE, primary_key=True, related_name="kept_metadata"
    )
    values = models.JSONField()

    class Meta:
        verbose_name_plural = "metadata of images"

    def __str__(self) -> str:
        return f"metadata of {self.image_id}"

    @property
    def pairs(self) -> list[tuple[str, object]]:
        """For templates, to which a column named “items” would hide the others."""
        return list(self.values.items())


class ImportedPerson(models.Model):
    """Somebody who answered in another tool. `user` is an account that nobody can sign in to, made when their answers
    are taken."""

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="imported_people")
    name = models.CharField(max_length=100)  # as the other tool has it
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="imported_person"
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="one_imported_person_of_a_name")]
        verbose_name_plural = "imported people"

    def __str__(self) -> str:
        return self.name


class OfferedAnswer(models.Model):
    """An answer from another tool, as it was given there. Nothing reads it until a manager takes it."""

    image = models.ForeignKey("labeler.Image", on_delete=models.CASCADE, related_name="offered_answers", db_index=False)
    person = models.ForeignKey(ImportedPerson, on_delete=models.CASCADE, related_name="answers")
    class_name = models.CharField(max_length=100, blank=True)  # empty: skipped
    seconds = models.FloatField(null=True)
    answered_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["image", "person"], name="one_offered_answer_a_person")]

    def __str__(self) -> str:
        return f"{self.class_name or 'skipped'} by {self.person}"


class ImportSecret(models.Model):
    """What an import needs to read a bucket, sealed by labeler/seals.py. Deleted when the import is over."""

    job = models.OneToOneField("labeler.ImportJob", on_delete=models.CASCADE, primary_key=True, related_name="secret")
    sealed = models.TextField()

    def __str__(self) -> str:
        return f"secret of {self.job_id}"
