from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from labeler import choices, clock
from labeler.told import ToldField, from_kept


class Trigger(models.TextChoices):
    COLD_START = "cold_start", _("cold start")
    ANSWERS = "answers", _("new answers")
    EDITS = "edits", _("edited answers")
    SCHEDULE = "schedule", _("schedule")
    BUTTON = "button", _("button")
    QUEUE_DRY = "queue_dry", _("queue ran dry")
    NETWORK = "network", _("new network")
    COMPARISON = "comparison", _("comparison")  # measured and looked at; its queue is never made
    CHARGE = "charge", _("other model in charge")  # a queue alone, from the scores of a model that there is


class RoundState(models.TextChoices):
    QUEUED = "queued", _("waiting for a worker")
    FITTING = "fitting", _("fitting")
    SCORING = "scoring", _("scoring")
    ACQUIRING = "acquiring", _("choosing")
    DONE = "done", _("done")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


class Standing(models.TextChoices):
    """What became of a round's model. Which one is in charge says `Project.model_round`."""

    ACCEPTED = "accepted", _("accepted")
    REFUSED = "refused", _("refused")  # by the gate
    ASIDE = "aside", _("made aside")  # another was kept in charge by a person
    ROLLED_BACK = "rolled_back", _("rolled back")  # accepted, and left for an older one
    CHOSEN = "chosen", _("chosen by a person")  # put in charge though the gate or a person had left it


UNFINISHED = [RoundState.QUEUED, RoundState.FITTING, RoundState.SCORING, RoundState.ACQUIRING]


class Round(models.Model):
    """Fit, score, acquire, publish. A cold start has no model: it is done in the transaction that makes it.

    `claim` names the worker process that owns the phase; every write of a worker is conditional on it, so that a worker
    which was taken for dead and comes back can change nothing. Cancelling ends the round at once: its worker finds at
    its next heartbeat that nothing is its own any more, and stops.
    """

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="rounds")
    number = models.PositiveIntegerField()
    trigger = models.CharField(max_length=12, choices=Trigger)
    reason = ToldField()  # in words, for people
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    state = models.CharField(max_length=12, choices=RoundState, default=RoundState.QUEUED)
    # What makes it repeatable
    config = models.JSONField(default=dict)
    seed = models.BigIntegerField()
    classes = models.JSONField(default=list)  # ids of the label classes, in the order of the model's outputs
    training_digest = models.CharField(max_length=64, blank=True)
    training_count = models.PositiveIntegerField(default=0)
    last_annotation_id = models.BigIntegerField(default=0)  # answers up to this one were seen
    # How it goes
    claim = models.CharField(max_length=100, blank=True)
    heartbeat_at = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)  # of the phase it is in
    progress_done = models.PositiveBigIntegerField(default=0)
    progress_total = models.PositiveBigIntegerField(default=0)
    phase_started_at = models.DateTimeField(null=True)
    phase_seconds = models.JSONField(default=dict)
    # What came of it
    metrics = models.JSONField(default=dict)
    offered = models.JSONField(
        null=True
    )  # how right it is by labels that came with the images, see learning/offered.py
    answers_spent = models.PositiveIntegerField(default=0)  # at its snapshot, holdout included; selectors/spent.py
    folder = models.CharField(max_length=200, blank=True)  # its artifacts, in the project's storage
    standing = models.CharField(max_length=12, choices=Standing, blank=True)  # empty: no model, or it was not judged
    verdict = models.JSONField(default=dict)  # what the gate went by, see learning/gate.py
    asked_by = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="+")  # whose model chose
    error = ToldField(blank=True)
    created_at = models.DateTimeField(default=clock.now)
    not_before = models.DateTimeField(default=clock.now)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["project", "number"], name="one_round_of_a_number"),
            models.UniqueConstraint(
                fields=["project"], condition=models.Q(state__in=UNFINISHED), name="one_unfinished_round"
            ),
        ]

    def __str__(self) -> str:
        return f"round {self.number} of {self.project}"

    @property
    def is_unfinished(self) -> bool:
        return self.state in UNFINISHED

    @property
    def posterior(self) -> str:
        """In words."""
        name = self.config.get("estimator", "")
        return str(dict(choices.ESTIMATORS).get(name, name))

    @property
    def notes(self) -> Sequence[str]:
        """What people should know about its fit."""
        return [from_kept(each) for each in self.metrics.get("fit", {}).get("notes", [])]


class RoundChunk(models.Model):
    """A chunk of a round that is being scored: claimed by one worker, given to another when that one falls silent."""

    round = models.ForeignKey(Round, on_delete=models.CASCADE, related_name="chunks")
    chunk = models.ForeignKey("labeler.Chunk", on_delete=models.CASCADE, related_name="+")
    # As the chunk was when the round began: an import may go on meanwhile
    count = models.PositiveIntegerField()
    pixels = models.CharField(max_length=200)
    features = models.CharField(max_length=200, blank=True)  # the file that it learns from instead, if there is one
    row = models.PositiveBigIntegerField(null=True)  # of the first image, where that file holds other chunks, too
    claim = models.CharField(max_length=100, blank=True)
    heartbeat_at = models.DateTimeField(null=True)
    scored = models.PositiveIntegerField(default=0)  # images so far
    is_done = models.BooleanField(default=False)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["round", "chunk"], name="a_chunk_once_a_round")]

    def __str__(self) -> str:
        return f"{self.chunk} in {self.round}"


class ModelChange(models.Model):
    """The record of who put which model in charge, and when. Append-only."""

    class Kind(models.TextChoices):
        TOOK = "took", "took charge"  # by itself: accepted
        PUT = "put", "put in charge"
        RELEASED = "released", "released"

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="model_changes")
    kind = models.CharField(max_length=10, choices=Kind)
    round = models.ForeignKey(Round, null=True, on_delete=models.SET_NULL, related_name="model_changes")
    former = models.ForeignKey(Round, null=True, on_delete=models.SET_NULL, related_name="+")  # in charge before
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.round} {self.get_kind_display()}"


class Reason(models.TextChoices):
    ACQUIRED = "acquired", _("chosen by the model")
    RANDOM = "random", _("drawn at random")
    HOLDOUT = "holdout", _("drawn to measure accuracy")
    COLD_START = "cold_start", _("drawn before the first model")
    GROUP = "group", _("typical of images that look alike")
    COVERS = "covers", _("standing for many other images")
    CONTESTED = "contested", _("where two models disagree")
    RELABEL = "relabel", _("asked again")
    PICKED = "picked", _("picked by a manager")
    CLASS_GONE = "class_gone", _("asked again: its class is gone")
    GOLD = "gold", _("of a known class, to check answers")
    GRID_CHECK = "grid_check", _("accepted with others, looked at singly")


BY_GRAPH = [Reason.GROUP, Reason.COVERS]  # their score is how many images the answer tells about
NOT_OF_THE_POOL = [Reason.RELABEL, Reason.GOLD, Reason.GRID_CHECK]  # asked though the image waits for no answer


UNLIKE_OTHERS = _("unlike all other images: no other answer tells about it")


def reason_words(reason: str, group: int | None) -> str:
    """Why an image is asked about; `group`: how many images look alike there, if that is why."""
    return str(UNLIKE_OTHERS if reason == Reason.GROUP and group == 1 else Reason(reason).label)


class CandidateState(models.TextChoices):
    OPEN = "open", _("open")
    ANSWERED = "answered", _("answered")
    SUPERSEDED = "superseded", _("replaced by a newer round")


class Candidate(models.Model):
    """A place in the queue of a round. Overlap k makes k of them for an image: slots 0 to k - 1 of one rank.

    A round ranks from 1. What a manager picks afterwards stands before that, at 0 and below (services/picks.py).

    A lease is `leased_to` until `leased_until`; once that has passed the place is free. `leased_at` is when the person
    got it; a renewal leaves it. See services/lease.py.
    """

    project = models.ForeignKey("labeler.Project", on_delete=models.CASCADE, related_name="+", db_index=False)
    round = models.ForeignKey(Round, on_delete=models.CASCADE, related_name="candidates", db_index=False)
    image = models.ForeignKey("labeler.Image", on_delete=models.CASCADE, related_name="candidates")
    rank = models.IntegerField()
    slot = models.PositiveSmallIntegerField(default=0)
    reason = models.CharField(max_length=12, choices=Reason)
    score = models.FloatField(null=True)  # of the round's measure, in nats where that is an entropy
    percentile = models.FloatField(null=True)  # of the score in the pool, 0 to 100
    selection_probability = models.FloatField(null=True)
    details = models.JSONField(default=dict)  # what the model thought: the likeliest classes, mean and std
    state = models.CharField(max_length=12, choices=CandidateState, default=CandidateState.OPEN)
    leased_to = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    leased_at = models.DateTimeField(null=True)
    leased_until = models.DateTimeField(null=True)

    class Meta:
        ordering = ["rank", "slot"]
        constraints = [
            models.UniqueConstraint(fields=["round", "rank", "slot"], name="one_candidate_of_a_rank"),
            models.UniqueConstraint(fields=["round", "image", "slot"], name="an_image_once_a_round"),
            models.UniqueConstraint(
                fields=["image", "leased_to"],
                condition=models.Q(state="open", leased_to__isnull=False),
                name="one_lease_of_an_image_a_person",
            ),
        ]
        indexes = [
            models.Index(fields=["round", "rank", "slot"], condition=models.Q(state="open"), name="candidate_queue"),
            models.Index(
                fields=["leased_to", "project", "rank"],
                condition=models.Q(state="open", leased_to__isnull=False),
                name="candidate_leases",
            ),
            models.Index(fields=["project"], condition=models.Q(state="open"), name="candidate_open"),
        ]

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.round}"

    @property
    def reason_words(self) -> str:
        return reason_words(self.reason, self.details.get("group"))

    @property
    def measured(self) -> float | None:
        """The score, where it is of a measure: a group's is what the question was expected to bring."""
        return None if self.reason in BY_GRAPH else self.score

    @property
    def unit(self) -> str:
        return choices.measure_unit(choices.measure_of(self.round.config.get("acquisition", "")))
