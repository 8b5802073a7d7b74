from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from labeler import clock
from labeler.models.jobs import Job, JobState
from labeler.told import ToldField


class ClassChange(Job):
    """What was done to the classes of a project, and by whom: enough to take it back.

    Steps (added, changed, moved) are about the list alone: no answer means anything else after them.

    `did` is JSON: `classes` (ids of all that it touched) and what they were before. A small one is done in the
    transaction that makes it; of a large one the classes change at once, and a worker goes over the images
    (`last_image_id` is how far). Taking back is a row of its own, that `undoes` the first.
    """

    class Kind(models.TextChoices):
        ADD = "add", _("added")
        CHANGE = "change", _("changed")  # its name, key or colour
        MOVE = "move", _("moved")
        MERGE = "merge", _("merged")
        SPLIT = "split", _("split")
        ARCHIVE = "archive", _("archived")
        ACCEPT = "accept", _("proposal accepted")
        REFUSE = "refuse", _("proposal refused")
        WITHDRAW = "withdraw", _("proposal withdrawn")
        UNDO = "undo", _("taken back")

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="class_changes")
    kind = models.CharField(max_length=10, choices=Kind)
    words = ToldField()  # what was done, for people
    did = models.JSONField(default=dict)
    changes_labels = models.BooleanField(default=False)  # then a round follows, as after edits
    last_image_id = models.BigIntegerField(default=0)
    undoes = models.OneToOneField("self", null=True, on_delete=models.CASCADE, related_name="undone_by")

    class Meta:
        ordering = ["-id"]
        verbose_name = "change of classes"
        verbose_name_plural = "changes of classes"

    def __str__(self) -> str:
        return self.words

    @property
    def is_undone(self) -> bool:
        return hasattr(self, "undone_by")

    @property
    def may_be_undone(self) -> bool:
        """By its kind and state; what was done since is another question (services/class_changes.py)."""
        is_surgery = self.kind in (Kind.MERGE, Kind.SPLIT, Kind.ARCHIVE)
        return (is_surgery or self.is_step) and self.state == JobState.DONE

    @property
    def is_step(self) -> bool:
        return self.kind in STEPS


Kind = ClassChange.Kind
STEPS = (Kind.ADD, Kind.CHANGE, Kind.MOVE)


class ClassProposal(models.Model):
    """Somebody has answered with a class that there is not. The class is a row that is not offered until a manager
    accepts it; each person who named it has a row here, and is told what became of it."""

    label_class = models.ForeignKey("labeler.LabelClass", on_delete=models.CASCADE, related_name="proposals")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(default=clock.now)
    decision = ToldField(blank=True)  # in words; empty while it waits
    read_at = models.DateTimeField(null=True)  # when the person had read the decision

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["label_class", "by"], name="one_proposal_a_person")]

    def __str__(self) -> str:
        return f"{self.label_class} by {self.by}"
