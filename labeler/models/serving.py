from __future__ import annotations

from collections.abc import Sequence

from django.db import models

from labeler.models.jobs import Job
from labeler.told import from_kept


class ModelExport(Job):
    """A round's model as one ONNX file, in the round's folder. `done` and `total` count steps of making it; `about` is
    what `learner.served` wants to know. Pages and workers load the file only if it has `digest`."""

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="model_exports")
    round = models.ForeignKey("labeler.Round", on_delete=models.CASCADE, related_name="model_exports")
    file = models.CharField(max_length=100, blank=True)  # a name in the round's folder; `arrays`, too
    arrays = models.CharField(max_length=100, blank=True)  # all that is in it as safetensors
    size = models.PositiveBigIntegerField(default=0)
    digest = models.CharField(max_length=64, blank=True)  # SHA-256 of the file
    about = models.JSONField(default=dict)
    is_automatic = models.BooleanField(default=False)  # made because the one before it was being asked
    asked_at = models.DateTimeField(null=True)  # about a new image, right to the hour

    class Meta:
        ordering = ["-id"]
        verbose_name = "model export"

    def __str__(self) -> str:
        return f"model export {self.pk} of {self.round}"

    @property
    def notes(self) -> Sequence[str]:
        """What people should know about it."""
        return [from_kept(each) for each in self.about.get("notes", [])]


class Prediction(Job):
    """Images in an archive on their way to a file of what a model says of them. `done` and `total` count entries."""

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="predictions")
    model = models.ForeignKey(ModelExport, on_delete=models.CASCADE, related_name="+")
    format = models.CharField(max_length=10, choices=[("csv", "CSV"), ("jsonl", "JSON Lines")])
    name = models.CharField(max_length=200)  # of the archive, as the browser gave it
    staged = models.CharField(max_length=200, blank=True)  # the archive; empty once it is not needed any more
    refused = models.PositiveIntegerField(default=0)  # entries that are no images that are taken
    file = models.CharField(max_length=200, blank=True)
    size = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"prediction {self.pk} in {self.project}"
