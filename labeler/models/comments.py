from __future__ import annotations

from django.conf import settings
from django.db import models

from labeler import clock


class Comment(models.Model):
    """What somebody tells the managers about an image, and what they answer. `key` is made by the client."""

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="comments")
    image = models.ForeignKey("labeler.Image", on_delete=models.CASCADE, related_name="comments")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    text = models.CharField(max_length=1000)
    key = models.UUIDField()
    created_at = models.DateTimeField(default=clock.now)
    reply = models.CharField(max_length=1000, blank=True)
    closed_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    closed_at = models.DateTimeField(null=True)
    read_at = models.DateTimeField(null=True)  # when the person had read the reply

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["by", "key"], name="one_comment_of_a_key")]
        indexes = [
            models.Index(fields=["project", "id"], condition=models.Q(closed_at__isnull=True), name="comment_open"),
            models.Index(
                fields=["by", "project"],
                condition=models.Q(closed_at__isnull=False, read_at__isnull=True),
                name="comment_unread",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.by} on {self.image}"


class ClassExample(models.Model):
    """An image that the guide shows as an example of a class, picked by a manager. While it is one, nobody is checked
    with it."""

    label_class = models.ForeignKey("labeler.LabelClass", on_delete=models.CASCADE, related_name="examples")
    image = models.OneToOneField("labeler.Image", on_delete=models.CASCADE, related_name="example")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.image} as {self.label_class}"
