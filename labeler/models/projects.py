from __future__ import annotations

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from labeler import choices, clock


class Project(models.Model):
    """A collection of images, its classes and its people.

    `queue_round` is the round whose candidates are handed out. It moves in the transaction that publishes a round, so
    that a lease sees either the old queue or the new one. `model_round` is the round whose model is in charge: what
    pages say of images is what it says. While `model_kept_since` is set a person keeps it there (services/charge.py).
    """

    name = models.CharField(max_length=100)
    slug = models.SlugField(max_length=60, unique=True)
    guidelines = models.TextField(blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=clock.now)
    queue_round = models.ForeignKey("labeler.Round", null=True, on_delete=models.SET_NULL, related_name="+")
    model_round = models.ForeignKey("labeler.Round", null=True, on_delete=models.SET_NULL, related_name="+")
    model_kept_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    model_kept_since = models.DateTimeField(null=True)
    # What the learner sees; decided by the first import, see services/importing.py.
    pixel_side = models.PositiveSmallIntegerField(null=True)
    pixel_channels = models.PositiveSmallIntegerField(null=True)
    takes_proposals = models.BooleanField(default=False)  # annotators may propose a class
    # Images by what they are themselves, see imaging/pixels.py; written with them, see services/packing.py.
    small_grey_images = models.PositiveIntegerField(default=0)
    large_grey_images = models.PositiveIntegerField(default=0)
    small_colour_images = models.PositiveIntegerField(default=0)
    large_colour_images = models.PositiveIntegerField(default=0)
    # Kept here because every page shows them: comments that wait for a manager, and examples that the guide has.
    open_comments = models.PositiveIntegerField(default=0)
    examples = models.PositiveIntegerField(default=0)
    # The share of images that a model is to get right, if a manager has said so; and first steps that can wait.
    target_accuracy = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(0.01), MaxValueValidator(0.9999)]
    )
    steps_skipped = models.JSONField(default=list)
    steps_dismissed_at = models.DateTimeField(null=True)
    # While it is paused nobody is asked and no round starts: see services/pausing.py.
    paused_at = models.DateTimeField(null=True)
    paused_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    pause_reason = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def has_guide(self) -> bool:
        return bool(self.guidelines or self.examples)


class LearningConfig(models.Model):
    """How a project learns. A round keeps the copy that it ran with (`Round.config`)."""

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="learning")
    architecture = models.CharField(max_length=32, choices=choices.ARCHITECTURES, default="cnn")
    learns_from = models.CharField(max_length=12, choices=choices.LEARNS_FROM, default="likeness")
    feature_architecture = models.CharField(
        max_length=32, choices=choices.FEATURE_ARCHITECTURES, default="head"
    )  # where it learns from vectors: of features, or of likeness
    # What the learner sees of images: see selectors/features.py. Name and file count where it is "other".
    representation = models.CharField(max_length=12, choices=choices.REPRESENTATIONS, default="auto")
    backbone = models.CharField(
        max_length=110,
        blank=True,
        validators=[
            RegexValidator(rf"^{choices.BACKBONE_NAME}$", _("A name such as resnet50 or timm/vit_small_patch16."))
        ],
    )
    backbone_file = models.CharField(max_length=200, blank=True)  # in settings.BACKBONE_DIR
    # A network of the pool's own, see services/networks.py: whether one is trained by itself, and which is in use.
    trains_network = models.BooleanField(default=True)
    network = models.ForeignKey("labeler.PoolNetwork", null=True, on_delete=models.SET_NULL, related_name="+")
    estimator = models.CharField(max_length=32, choices=choices.ESTIMATORS, default="mc_dropout")
    acquisition = models.CharField(max_length=48, choices=choices.ACQUISITIONS, default="herding_predictive_entropy")
    coldness = models.FloatField(default=8.0, validators=[MinValueValidator(0.1), MaxValueValidator(64)])
    posterior_samples = models.PositiveIntegerField(
        default=100, validators=[MinValueValidator(2), MaxValueValidator(1000)]
    )
    propagation = models.BooleanField(default=True)  # labels pass on to images that hang together with answered ones
    members = models.PositiveSmallIntegerField(default=5, validators=[MinValueValidator(2), MaxValueValidator(20)])
    member_dropout = models.BooleanField(default=False)
    temperature_scaling = models.BooleanField(default=False)
    laplace_prior = models.CharField(max_length=32, choices=choices.LAPLACE_PRIORS, default="initial_weights")
    budget = models.PositiveIntegerField(default=100, validators=[MinValueValidator(1), MaxValueValidator(10_000)])
    random_share = models.FloatField(default=0.1, validators=[MinValueValidator(0), MaxValueValidator(1)])
    overlap = models.PositiveSmallIntegerField(default=1, validators=[MinValueValidator(1), MaxValueValidator(20)])
    # Holdout: this share of the images, drawn at random at import, is never trained on nor acquired by score.
    holdout_share = models.FloatField(default=0.1, validators=[MinValueValidator(0), MaxValueValidator(0.9)])
    # Of the questions asked, this share is holdout images until `holdout_target` of them have a label.
    holdout_questions = models.FloatField(default=0.2, validators=[MinValueValidator(0), MaxValueValidator(0.9)])
    holdout_target = models.PositiveIntegerField(default=200, validators=[MaxValueValidator(100_000)])
    # Of the answers to a queue, this share is about gold images. See services/extra_places.py for both.
    gold_share = models.FloatField(default=0.0, validators=[MinValueValidator(0), MaxValueValidator(0.5)])
    relabel = models.CharField(max_length=8, choices=choices.RELABEL, default="overlap")
    relabel_share = models.FloatField(default=0.1, validators=[MinValueValidator(0), MaxValueValidator(0.5)])
    grid = models.CharField(max_length=10, choices=choices.GRID, default="off")  # who may accept whole pages of tiles
    suggestions = models.CharField(max_length=8, choices=choices.SUGGESTIONS, default="hidden")
    shows_alike = models.BooleanField(default=False)  # beside a question about a group some others of it are shown
    gates_rounds = models.BooleanField(default=True)  # a model that is significantly worse does not take charge
    # Triggers. 0 answers: only by schedule or button.
    retrain_every = models.PositiveIntegerField(default=10, validators=[MaxValueValidator(100_000)])
    debounce_seconds = models.PositiveIntegerField(default=0, validators=[MaxValueValidator(3600)])
    cooldown_seconds = models.PositiveIntegerField(default=1, validators=[MaxValueValidator(7 * 86400)])
    schedule = models.OneToOneField(
        "django_celery_beat.PeriodicTask", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    def __str__(self) -> str:
        return f"learning of {self.project}"


class Fate(models.TextChoices):
    """Why a class is not offered, where that is more than being archived."""

    MERGED = "merged", _("merged")
    SPLIT = "split", _("split")
    PROPOSED = "proposed", _("proposed")
    REFUSED = "refused", _("refused")
    WITHDRAWN = "withdrawn", _("withdrawn")  # by all who had proposed it; it may be proposed again


class LabelClass(models.Model):
    """What an image can be. Renaming is safe: answers point here.

    An answer goes on naming the class that its person chose, whatever becomes of that class; what it means now is
    `meaning`. `merged_into` always names a class that is not merged itself. Answers that name a class which was split,
    refused or withdrawn count for nothing: their images are asked again.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="classes")
    name = models.CharField(max_length=100)
    shortcut = models.CharField(
        max_length=1, blank=True, validators=[RegexValidator(r"^[0-9a-z]$", _("One digit or lower-case letter."))]
    )
    colour = models.CharField(
        max_length=7, validators=[RegexValidator(r"^#[0-9a-f]{6}$", _("A colour such as #0072b2."))]
    )
    order = models.PositiveIntegerField(default=0)
    is_archived = models.BooleanField(default=False)
    fate = models.CharField(max_length=10, choices=Fate, blank=True, default="")
    merged_into = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="merged")

    class Meta:
        ordering = ["order", "id"]
        verbose_name_plural = "label classes"
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="one_class_of_a_name"),
            models.UniqueConstraint(
                fields=["project", "shortcut"],
                condition=models.Q(is_archived=False) & ~models.Q(shortcut=""),
                name="one_class_of_a_shortcut",
            ),
            models.CheckConstraint(
                condition=models.Q(fate=Fate.MERGED, merged_into__isnull=False)
                | (~models.Q(fate=Fate.MERGED) & models.Q(merged_into__isnull=True)),
                name="merged_means_into_another",
            ),
            models.CheckConstraint(
                condition=models.Q(fate="") | models.Q(is_archived=True), name="a_fate_is_not_offered"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def meaning(self) -> LabelClass:
        """What an answer that names this class means now."""
        return self.merged_into or self

    @property
    def answer_words(self) -> str:
        """How an answer that names it reads: `cat`, or `proposed: lynx`."""
        name = self.meaning.name
        return gettext("proposed: %(name)s") % {"name": name} if self.meaning.fate == Fate.PROPOSED else name
