from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from labeler import clock

CHUNK_SIZE = 4096


class Chunk(models.Model):
    """`CHUNK_SIZE` consecutive positions: the unit of import, scoring, retry and parallel work.

    `pixels` names the file of what the learner sees (uint8 `.npy`, [count, channels, side, side]). A chunk that grows
    gets a new file; a file is never changed.
    """

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="chunks")
    number = models.PositiveIntegerField()
    count = models.PositiveIntegerField(default=0)
    pixels = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="one_chunk_of_a_number"),
            models.CheckConstraint(condition=models.Q(count__lte=CHUNK_SIZE), name="chunk_is_not_overfull"),
        ]

    def __str__(self) -> str:
        return f"chunk {self.number} of {self.project}"


class ChunkFeatures(models.Model):
    """What a backbone has made of a chunk: one vector an image, float16 `.npy` [count, D]. A file that knows more
    images replaces it."""

    chunk = models.ForeignKey(Chunk, on_delete=models.CASCADE, related_name="features")
    backbone = models.CharField(max_length=320)  # PoolFeatures.key
    count = models.PositiveIntegerField()  # of the chunk's first images: less than it has while work goes on
    file = models.CharField(max_length=200)

    class Meta:
        ordering = ["chunk__number"]
        verbose_name_plural = "features of chunks"
        constraints = [
            models.UniqueConstraint(fields=["chunk", "backbone"], name="features_of_a_chunk_once_a_backbone")
        ]

    def __str__(self) -> str:
        return f"features of {self.chunk} by {self.backbone}"


class Pack(models.Model):
    """One immutable file of many encoded images, one after another, as browsers get them."""

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="packs")
    name = models.CharField(max_length=200, unique=True)
    size = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(default=clock.now)

    def __str__(self) -> str:
        return self.name


class ImageState(models.TextChoices):
    POOL = "pool", _("in the pool")
    LABELLED = "labelled", _("labelled")
    DISPUTED = "disputed", _("disputed")  # all answers are in and no class has most of them
    SET_ASIDE = "set_aside", _("set aside")  # people were unsure or skipped it
    BAD = "bad", _("bad image")


MEDIA_TYPES = frozenset({"image/png", "image/jpeg", "image/webp"})  # what an import re-encodes to


class Image(models.Model):
    """An image. `label` is the consensus of its live answers and is written by services/consensus.py alone."""

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="images")
    position = models.PositiveIntegerField()
    content_hash = models.CharField(max_length=64)
    name = models.CharField(max_length=500)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    pack = models.ForeignKey(Pack, on_delete=models.PROTECT, related_name="+")
    offset = models.PositiveBigIntegerField()
    length = models.PositiveIntegerField()
    media_type = models.CharField(max_length=20)
    is_holdout = models.BooleanField(default=False)
    state = models.CharField(max_length=12, choices=ImageState, default=ImageState.POOL)
    label = models.ForeignKey(
        "labeler.LabelClass", null=True, blank=True, on_delete=models.PROTECT, related_name="images", db_index=False
    )
    labelled_at = models.DateTimeField(null=True, blank=True)
    # That the label is right, given how far those who answered can be trusted; null: not measured yet.
    label_probability = models.FloatField(null=True, blank=True)
    is_contested = models.BooleanField(default=False)  # its answers differ, and nobody has decided
    # The label that it lost when what is known of people made another class likelier, as long as it is disputed so.
    doubted_label = models.ForeignKey(
        "labeler.LabelClass", null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["project", "position"], name="one_image_of_a_position"),
            models.UniqueConstraint(fields=["project", "content_hash"], name="one_image_of_a_content"),
            models.CheckConstraint(
                condition=models.Q(state=ImageState.LABELLED, label__isnull=False)
                | (~models.Q(state=ImageState.LABELLED) & models.Q(label__isnull=True)),
                name="labelled_means_a_label",
            ),
        ]
        indexes = [
            # All that is no longer in the pool is small: counting it does not grow with the pool.
            models.Index(
                fields=["project", "state", "is_holdout"], condition=~models.Q(state="pool"), name="image_left_pool"
            ),
            models.Index(fields=["label"], condition=models.Q(label__isnull=False), name="image_by_label"),
            models.Index(fields=["project", "position"], condition=models.Q(is_holdout=True), name="image_holdout"),
            models.Index(fields=["project"], condition=models.Q(is_contested=True), name="image_contested"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def base_name(self) -> str:
        """For annotators: a folder is often named after the class, and would give the answer away."""
        return self.name.rpartition("/")[2]


class OfferedLabel(models.Model):
    """A label that came with the image (its folder's name). Hidden from annotators and learner until a manager takes
    it; the simulated annotators of `manage.py oracle` answer from it."""

    image = models.OneToOneField(Image, on_delete=models.CASCADE, related_name="offered")
    class_name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.class_name
