from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from labeler import clock
from labeler.export_formats import FORMATS
from labeler.told import ToldField


class JobState(models.TextChoices):
    UPLOADING = "uploading", _("uploading")
    QUEUED = "queued", _("waiting for a worker")
    RUNNING = "running", _("running")
    DONE = "done", _("done")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


UNFINISHED_JOB = [JobState.UPLOADING, JobState.QUEUED, JobState.RUNNING]


class Job(models.Model):
    """Work in the background that a person asked for. Claimed and resumed like a round."""

    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    state = models.CharField(max_length=12, choices=JobState, default=JobState.QUEUED)
    claim = models.CharField(max_length=100, blank=True)
    heartbeat_at = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    is_cancel_requested = models.BooleanField(default=False)
    done = models.PositiveBigIntegerField(default=0)
    total = models.PositiveBigIntegerField(default=0)
    error = ToldField(blank=True)
    created_at = models.DateTimeField(default=clock.now)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True


class ImportJob(Job):
    """Files on their way to being images. `done` and `total` count entries. `columns` names what tables say of images
    beside their labels. One that `looks_first` is looked at; then it waits as an upload does, with what was `found`,
    until somebody starts it."""

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="imports")
    has_offered_labels = models.BooleanField(default=False)
    loading = models.PositiveIntegerField(default=0)  # entries read of the batch that is not stored yet
    added = models.PositiveIntegerField(default=0)
    duplicates = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0)
    unlabelled = models.PositiveIntegerField(default=0)  # images that are in, whose label was left out
    ignored = models.PositiveIntegerField(default=0)  # what operating systems leave in archives: .DS_Store and the like
    columns = models.JSONField(default=list)
    looks_first = models.BooleanField(default=False)
    found = models.JSONField(null=True)  # services/import_look.py
    table_columns = models.JSONField(default=dict)  # by table: the columns that a person has chosen

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"import {self.pk} into {self.project}"

    @property
    def is_ready(self) -> bool:
        """Whether it was looked at and waits to be started."""
        return self.state == JobState.UPLOADING and self.found is not None

    @property
    def unnamed(self) -> dict[str, int]:
        """What was left out and has no row of its own, by RejectedFile.Kind; see MOST_NAMED."""
        more = {kind: getattr(self, counter) - MOST_NAMED[kind] for kind, counter in COUNTERS.items()}
        return {kind: count for kind, count in more.items() if count > 0}

    @property
    def unnamed_count(self) -> int:
        return sum(self.unnamed.values())


class ImportFile(models.Model):
    """One uploaded file in the staging area, a folder of the server, a bucket, or what tables say of images elsewhere.

    `received` grows by parts, so that a broken upload goes on where it was. `entries_done` is how far the import got in
    it, so that a killed import does too. `place` is where it is if it was not uploaded, without any secret; `last` is
    the last name that was finished, where names may be added in between."""

    class Kind(models.TextChoices):
        UPLOAD = "upload", "upload"
        FOLDER = "folder", "folder on the server"
        BUCKET = "bucket", "bucket"
        ROWS = "rows", "rows of tables"

    job = models.ForeignKey(ImportJob, on_delete=models.CASCADE, related_name="files")
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.UPLOAD)
    place = models.JSONField(default=dict)
    last = models.CharField(max_length=1100, blank=True)
    name = models.CharField(max_length=500)  # as the browser gave it, with its folders
    staged = models.CharField(max_length=200, unique=True)
    size = models.PositiveBigIntegerField()
    received = models.PositiveBigIntegerField(default=0)
    entries_done = models.PositiveIntegerField(default=0)
    is_done = models.BooleanField(default=False)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["job", "name"], name="one_file_of_a_name")]

    def __str__(self) -> str:
        return self.name


class RejectedFile(models.Model):
    """A file that did not become an image, and why, in words. Of each kind an import has MOST_NAMED at most."""

    class Kind(models.TextChoices):
        REFUSED = "refused", pgettext_lazy("a file", "refused")
        DUPLICATE = "duplicate", _("duplicate")
        UNLABELLED = "unlabelled", _("label left out")  # the image is in

    job = models.ForeignKey(ImportJob, on_delete=models.CASCADE, related_name="rejected")
    kind = models.CharField(max_length=10, choices=Kind)
    name = models.CharField(max_length=1000)
    reason = ToldField()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


# Of each kind so many of an import have a row; the job counts all of them. A bucket that is read again each night has
# a million duplicates each night.
MOST_NAMED = {
    RejectedFile.Kind.REFUSED: 10_000,
    RejectedFile.Kind.DUPLICATE: 1000,
    RejectedFile.Kind.UNLABELLED: 10_000,
}
COUNTERS = {
    RejectedFile.Kind.REFUSED: "refused",
    RejectedFile.Kind.DUPLICATE: "duplicates",
    RejectedFile.Kind.UNLABELLED: "unlabelled",
}


class ExportJob(Job):
    """A file of labels. `done` and `total` count positions while it is written, then rows. `filters` is what differs
    from an export of all labels, `manifest` what the file is, with its digest."""

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="exports")
    format = models.CharField(max_length=16, choices=[(each.key, each.name) for each in FORMATS.values()])
    filters = models.JSONField(default=dict)
    file = models.CharField(max_length=200, blank=True)
    size = models.PositiveBigIntegerField(default=0)
    manifest = models.JSONField(default=dict)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"export {self.pk} of {self.project}"

    @property
    def suffix(self) -> str:
        return "zip" if self.filters.get("with_images") else FORMATS[self.format].suffix

    @property
    def media_type(self) -> str:
        return "application/zip" if self.suffix == "zip" else FORMATS[self.format].media_type

    def file_name_at(self, at: datetime) -> str:
        """As people get it: project, format and when."""
        return f"{slugify(self.project.slug)}-{self.format}-{timezone.localtime(at):%Y-%m-%d-%H%M}.{self.suffix}"

    @property
    def file_name(self) -> str:
        return str(self.manifest.get("file") or self.file_name_at(self.created_at))


class PoolMap(Job):
    """A picture of the pool where images that look alike lie side by side. `done` and `total` count images; `file` is
    an `.npy` of `learner.embedding.RECORD`s in the order of positions. The newest that is done is shown."""

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="maps")
    file = models.CharField(max_length=200, blank=True)
    is_of_features = models.BooleanField(default=False)  # else of pixels

    class Meta:
        ordering = ["-id"]
        verbose_name = "map"

    def __str__(self) -> str:
        return f"map {self.pk} of {self.project}"

    @property
    def files(self) -> list[str]:
        return [self.file]


class PoolFeatures(Job):
    """A backbone's look at all images of a project. `done` and `total` count images; the vectors are in
    `ChunkFeatures`. Without images it only tries the backbone. Rounds and graphs take features once one is done."""

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="features")
    backbone = models.CharField(max_length=110)
    weights = models.CharField(max_length=200, blank=True)  # a file in settings.BACKBONE_DIR
    network = models.ForeignKey(
        "labeler.PoolNetwork", null=True, on_delete=models.CASCADE, related_name="+"
    )  # in place of a backbone, which is then named after it
    images = models.PositiveIntegerField(default=0)  # that there were when it was asked for, or has seen since
    ready_at = models.DateTimeField(null=True)  # as its worker expects

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "features of pools"

    def __str__(self) -> str:
        return f"features {self.pk} of {self.project}"

    @property
    def key(self) -> str:
        return backbone_key(self.backbone, self.weights)


def backbone_key(name: str, weights: str) -> str:
    """A backbone with its weights: features of one are never mixed with those of another."""
    return f"{name} {weights}".strip()


class PoolGraph(Job):
    """Which images of a project look alike: neighbours, and groups in groups. `file` is an `.npz` that
    `learner.graph.pool_graph` writes. The newest that is done counts."""

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="graphs")
    file = models.CharField(max_length=200, blank=True)
    images = models.PositiveIntegerField(default=0)  # that there were when it was asked for
    features = models.ForeignKey(PoolFeatures, null=True, on_delete=models.SET_NULL, related_name="+")  # None: pixels
    vectors = models.CharField(max_length=200, blank=True)  # `.npy` [images, D]: what rounds by likeness learn from
    groups = models.PositiveIntegerField(default=0)
    is_cohesive = models.BooleanField(default=True)  # groups hang together: one image of each is asked about first
    reason = ToldField(blank=True)  # by what images were compared, in words

    class Meta:
        ordering = ["-id"]
        verbose_name = "graph"

    def __str__(self) -> str:
        return f"graph {self.pk} of {self.project}"

    @property
    def files(self) -> list[str]:
        return [self.file, self.vectors]


class PoolNetwork(Job):
    """A network trained on what the graph is sure of, and whether it may stand for the images. `done` and `total` count
    steps of training, images and models; `labels` are the answers of the moment when it was asked for. Whichever
    `LearningConfig.network` names is in use."""

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="networks")
    seed = models.PositiveBigIntegerField()
    # {"classes": ids, "positions", "labels", "rejected", "aside", "contested": numbers, "network": id of that in use}
    labels = models.JSONField()
    answers = models.PositiveIntegerField()  # that it learned from
    checkpoint = models.CharField(max_length=200)
    file = models.CharField(max_length=200, blank=True)  # safetensors, of one that was accepted
    is_accepted = models.BooleanField(null=True)  # by the gate; None until it has judged
    evidence = models.JSONField(default=dict)  # what the gate went by, see services/networks.py
    former = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="+")  # in use before it

    class Meta:
        ordering = ["-id"]
        verbose_name = "network"

    def __str__(self) -> str:
        return f"network {self.pk} of {self.project}"

    @property
    def key(self) -> str:
        return network_key(self.pk)

    @property
    def files(self) -> list[str]:
        """Of one that has ended the checkpoint is gone."""
        return [self.file, self.checkpoint] if self.state in UNFINISHED_JOB else [self.file]


def is_network_key(key: str | None) -> bool:
    """Whether features are a network's of the project."""
    return bool(key) and str(key).startswith(network_key(0)[:-1])


def network_key(pk: int) -> str:
    """The name of its features, where others have a backbone's: see `PoolFeatures.key`."""
    return f"network {pk}"


class Replay(Job):
    """The project's answers once more, in the project's order and at random: what did the order save? `done` and
    `total` count fitted models. What is asked about, learned and measured is of the moment when it was asked for."""

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="replays")
    seed = models.PositiveBigIntegerField()
    config = models.JSONField()  # learning settings
    labels = models.JSONField()  # {"classes", "positions", "labels", "holdout_positions", "holdout_labels"}: numbers
    images = models.PositiveIntegerField()  # that have a label and may be learned from, all of them
    curves = models.JSONField(default=list)  # one for each order and seed that is done
    result = models.JSONField(null=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = "replay"

    def __str__(self) -> str:
        return f"replay {self.pk} of {self.project}"


class Rerun(Job):
    """A round fitted and scored once more from what it kept, and compared with it byte by byte. `done` and `total`
    count images; `result` is what `labeler.learning.reruns` found."""

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="reruns")
    round = models.ForeignKey("labeler.Round", on_delete=models.CASCADE, related_name="reruns")
    result = models.JSONField(null=True)

    class Meta:
        ordering = ["-id"]
        verbose_name = "rerun"

    def __str__(self) -> str:
        return f"rerun {self.pk} of {self.round}"


class Worker(models.Model):
    """A Celery worker that has said it is alive, and what it does."""

    name = models.CharField(max_length=200, primary_key=True)
    queues = models.CharField(max_length=200)
    device = models.CharField(max_length=20, blank=True)
    doing = models.CharField(max_length=200, blank=True)
    started_at = models.DateTimeField(default=clock.now)
    seen_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
