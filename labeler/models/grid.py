from __future__ import annotations

from django.conf import settings
from django.db import models

from labeler import clock


class GridPage(models.Model):
    """One page of tiles that somebody accepted as one class: what was taken out of it, and whether it was undone.

    Its answers are annotations; those that were accepted together are marked (`Annotation.is_grid`). `key` is made by
    the client: a page that is sent twice is one page.
    """

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="grid_pages")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    label_class = models.ForeignKey("labeler.LabelClass", on_delete=models.CASCADE, related_name="+")
    round = models.ForeignKey("labeler.Round", null=True, on_delete=models.SET_NULL, related_name="+")
    key = models.UUIDField()
    left_out = models.JSONField(default=list)  # ids of images that the person took out and gave no class
    created_at = models.DateTimeField(default=clock.now)
    undone_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["by", "key"], name="one_grid_page_of_a_key")]

    def __str__(self) -> str:
        return f"grid of {self.label_class} by {self.by}"


class GridCheck(models.Model):
    """An accepted tile that was drawn at random to be looked at singly: of these the error of the grid is measured."""

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="grid_checks")
    page = models.ForeignKey(GridPage, on_delete=models.CASCADE, related_name="checks")
    image = models.ForeignKey("labeler.Image", on_delete=models.CASCADE, related_name="+")
    accepted = models.OneToOneField("labeler.Annotation", on_delete=models.CASCADE, related_name="grid_check")

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"check of {self.image}"
