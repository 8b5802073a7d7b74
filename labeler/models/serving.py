from __future__ import annotations

from django.db import models

from labeler.models.jobs import Job


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

    class Meta:
        ordering = ["-id"]
        verbose_name = "model export"

    def __str__(self) -> str:
        return f"model export {self.pk} of {self.round}"
