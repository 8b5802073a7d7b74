"""What the Monitor shows, in a fixed number of statements, none of which reads the pool."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Max, Q, QuerySet, Sum
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from labeler import clock
from labeler.models import (
    Annotation,
    Candidate,
    CandidateState,
    Project,
    Round,
    RoundChunk,
    RoundState,
    Standing,
    Trigger,
    Worker,
)
from labeler.models.rounds import NOT_OF_THE_POOL
from labeler.numerals import numeral
from labeler.selectors.charge import Charge, charge_of
from labeler.selectors.features import FeaturesState, features_state
from labeler.selectors.graphs import GraphState, graph_state
from labeler.selectors.health import broker_lately, disk_lately
from labeler.selectors.left_out import LeftOut, LeftOutNow, left_out_now, left_out_of
from labeler.selectors.networks import NetworkState, network_state
from labeler.selectors.next_round import next_round_words
from labeler.selectors.pool import LEAST_HOLDOUT, PoolCounts, pool_counts, says_something, shown_offered
from labeler.selectors.verdicts import Verdict, class_names, verdict_of
from labeler.selectors.work_left import WorkLeft, work_left
from labeler.selectors.workers import DOINGS, PROGRAMS, Missing, alive_since, missing_workers
from labeler.services.rounds import PAUSED, last_annotation_id, why_not_trainable
from labeler.services.triggers import reason_at_snapshot

ACTIVE_SECONDS = 600
IDLE_POLL_SECONDS = 20  # an open page learns of a first answer, a scheduled round, a worker that went away
SHOWN_DEAD = timedelta(hours=6)  # a worker that is not alive stays in the list for so long
EARLY_SHARE, EARLY_SECONDS = 0.03, 3  # before that much is done, the time left is anybody's guess
SILENT_SECONDS = 8  # a worker beats twice a second; loading its libraries takes it a few
AGAIN_SECONDS = 1.0  # phases are kept to a hundredth of a second
SHOWN_SECONDS = 60  # an open page that is looked at renews its leases every 45 s (static/label/leases.js)
# As the tasks write it: fitting round 7 of Signs.
OF_A_ROUND = re.compile(r"(?P<doing>fitting|scoring|choosing in) round (?P<number>\d+) of (?P<name>.*)", re.DOTALL)


@dataclass(frozen=True)
class Progress:
    round: Round
    done: int
    total: int
    seconds_left: float | None
    silent_seconds: float | None = None  # since the last sign of who works on it, if that is long

    @property
    def is_again(self) -> bool:
        return began_again(self.round)

    @property
    def attempt(self) -> int:
        """The number of this one, if a worker was lost in this phase; 0: not known, or the first."""
        return self.round.attempts if self.is_again and self.round.attempts > 1 else 0

    @property
    def takeover_seconds(self) -> float:
        """Until another worker may take a silent one's work."""
        return max(0.0, float(settings.STALL_SECONDS) - (self.silent_seconds or 0.0))

    @property
    def reason(self) -> str:
        """Why it starts, with all answers that it would take along now."""
        if self.round.state != RoundState.QUEUED:
            return self.round.reason
        return reason_at_snapshot(round_=self.round, seen=last_annotation_id(self.round.project))

    @property
    def share(self) -> float:
        return self.done / self.total if self.total else 0.0


@dataclass(frozen=True)
class Queue:
    ready: int
    leased: int  # on a screen that somebody looks at
    held: int  # leased too, by people of whom nothing was heard lately
    held_seconds: float  # until the last of these is free again
    answered: int
    waiting: int  # images in the pool that are not in the queue


@dataclass(frozen=True)
class WorkerRow:
    worker: Worker
    is_alive: bool
    doing: str


@dataclass(frozen=True)
class Monitor:
    progress: Progress | None
    model: Round | None  # the one in charge; where none is, the last one that has been measured
    charge: Charge
    judged: Round | None  # the last one of whose model it was decided whether it takes charge
    verdict: Verdict | None
    seen: str  # by which an open page tells whether its curve is still the one to show
    newest: Round | None
    missing_holdout: int
    answers: int
    counts: PoolCounts
    queue: Queue
    workers: Sequence[WorkerRow]
    missing: Sequence[Missing]
    is_broker_away: bool
    disk: str  # "ok", "full" or "unwritable"
    failures: Sequence[Round]
    groups: GraphState
    features: FeaturesState
    network: NetworkState
    next_words: str
    why_not: str
    poll_seconds: int
    left_out: LeftOutNow
    left: WorkLeft

    @property
    def left_out_then(self) -> LeftOut:
        """When the number that is shown was measured."""
        return left_out_of(self.model.metrics if self.model is not None and self.is_measured else None)

    @property
    def is_measured(self) -> bool:
        return self.model is not None and says_something(self.model.metrics)

    @property
    def is_better_made_aside(self) -> bool:
        """Whether a person keeps a model in charge though the newest one is better, its whole interval above 0."""
        if not self.charge.is_kept or self.judged is None or self.verdict is None or not self.verdict.difference:
            return False
        return self.judged.standing == Standing.ASIDE and self.verdict.difference["low"] > 0

    @property
    def is_learner_missing(self) -> bool:
        return any(missing.queue == "learner" for missing in self.missing)

    @property
    def percent(self) -> str:
        return f"{self.progress.share * 100:.0f}" if self.progress else ""

    @property
    def starts_in(self) -> float:
        """Seconds that a queued round still waits by intention: debounce and cool-down."""
        if self.progress is None or self.progress.round.state != RoundState.QUEUED:
            return 0.0
        return max(0.0, (self.progress.round.not_before - clock.now()).total_seconds())

    @property
    def offered(self) -> dict[str, Any] | None:
        """How right the model is by labels that came with the images."""
        return shown_offered(self.model)

    @property
    def accuracy_title(self) -> str:
        if self.model is None or not self.is_measured:
            return ""
        values = {"n": numeral(self.model.metrics["n"]), "number": self.model.number}
        return _("Wilson 95 %% interval, %(n)s holdout images, round %(number)s") % values

    @property
    def missing_words(self) -> str:
        """Why the holdout says nothing. By labels that came with the images there may be a figure all the same."""
        holdout, missing = self.counts.holdout, self.missing_holdout
        if not holdout:
            return _("not measured on the holdout: there is none")
        if holdout < LEAST_HOLDOUT:
            values = {"least": LEAST_HOLDOUT, "holdout": holdout}
            return _("not measured on the holdout: it needs %(least)s images, and has %(holdout)s") % values
        if missing:
            return ngettext(
                "not measured on the holdout yet: it needs %(missing)s more answer",
                "not measured on the holdout yet: it needs %(missing)s more answers",
                missing,
            ) % {"missing": missing}
        return _("not measured on the holdout yet: the next round measures it")


def monitor_of(project: Project) -> Monitor:
    rounds = Round.objects.filter(project=project).defer("metrics", "classes")
    newest = rounds.order_by("-number").first()
    progress = progress_of(newest) if newest is not None and newest.is_unfinished else None
    counts, workers, disk, is_broker_away = (
        pool_counts(project),
        _recent_workers(project),
        disk_lately(),
        broker_lately() != "ok",
    )
    left = work_left(project, counts)
    missing, groups = _missing(disk, is_broker_away=is_broker_away), graph_state(project)
    features, network = features_state(project), network_state(project)
    return Monitor(
        progress=progress,
        newest=newest,
        missing_holdout=max(0, LEAST_HOLDOUT - counts.holdout_labelled),
        answers=counts.labelled + counts.holdout_labelled,
        counts=counts,
        left_out=left_out_now(project, counts),
        left=left,
        queue=queue_of(project, counts),
        workers=workers,
        is_broker_away=is_broker_away,
        disk=disk,
        missing=missing,
        failures=_failures(rounds),
        groups=groups,
        features=features,
        network=network,
        next_words="" if progress else next_round_words(project, left),
        why_not="" if progress else str(PAUSED) if project.paused_at else why_not_trainable(project),
        poll_seconds=_poll_seconds(
            project, is_moving=bool(progress or missing or groups.made or features.made or network.made)
        ),
        **_models(project, rounds),
    )


def _models(project: Project, rounds: QuerySet[Round]) -> dict[str, Any]:
    """Who is in charge, and what became of the last model that could have been."""
    is_measured = Q(metrics__has_key="accuracy") | Q(offered__isnull=False)
    measured = Round.objects.filter(is_measured, project=project, state=RoundState.DONE)
    last = measured.exclude(trigger=Trigger.COMPARISON).first()
    charge, judged = charge_of(project), rounds.exclude(standing="").order_by("-number").first()
    return {
        "model": charge.model or last,
        "charge": charge,
        "judged": judged,
        "verdict": verdict_of(judged, class_names(project, judged)) if judged is not None else None,
        "seen": _seen(last, charge),
    }


def _seen(last: Round | None, charge: Charge) -> str:
    """What the curve shows: another word, another curve."""
    model = f"-{charge.model.number}" if charge.model else ""
    offered = "-offered" if last and last.offered else ""
    return f"{last.number if last else 0}{offered}{model}" + (
        f"-{charge.kept_since:%H%M%S%f}" if charge.kept_since else ""
    )


def _missing(disk: str, *, is_broker_away: bool) -> list[Missing]:
    """On a full disk nobody can say that they are alive; beat, while it sends in vain."""
    if disk != "ok":
        return []
    return missing_workers([queue for queue in PROGRAMS if not (queue == "beat" and is_broker_away)])


def progress_of(round_: Round) -> Progress:
    done, total, beat_at = round_.progress_done, round_.progress_total, round_.heartbeat_at if round_.claim else None
    if round_.state == RoundState.SCORING:
        in_hands = Q(is_done=False) & ~Q(claim="")
        chunks = RoundChunk.objects.filter(round=round_).aggregate(
            done=Sum("scored"), total=Sum("count"), beat_at=Max("heartbeat_at", filter=in_hands)
        )
        done, total, beat_at = chunks["done"] or 0, chunks["total"] or 0, chunks["beat_at"]
    left = None
    if round_.phase_started_at is not None and EARLY_SHARE * total < done < total:
        elapsed = (clock.now() - round_.phase_started_at).total_seconds()
        left = elapsed * (total - done) / done if elapsed > EARLY_SECONDS else None
    silence = (clock.now() - beat_at).total_seconds() if beat_at else 0.0
    return Progress(round_, done, total, left, silence if silence > SILENT_SECONDS else None)


def began_again(round_: Round) -> bool:
    """Whether a worker was lost or stopped and the round's work, or a part of it, began anew.

    Phases follow each other at once: time that none of them has was spent in what came to nothing.
    """
    if round_.started_at is None or round_.phase_started_at is None:
        return False
    if round_.state == RoundState.QUEUED:
        return True
    ended: float = sum(round_.phase_seconds.get(phase, 0.0) for phase in ("fit", "score"))
    return (round_.phase_started_at - round_.started_at).total_seconds() - ended > AGAIN_SECONDS


def queue_of(project: Project, counts: PoolCounts) -> Queue:
    places = Candidate.objects.filter(round=project.queue_round_id)
    open_, live = Q(state=CandidateState.OPEN), Q(leased_until__gt=clock.now(), leased_to__isnull=False)
    in_queue = places.aggregate(
        ready=Count("id", filter=open_ & ~live),
        answered=Count("id", filter=Q(state=CandidateState.ANSWERED)),
        images=Count("image", filter=open_ & ~Q(reason__in=NOT_OF_THE_POOL), distinct=True),
    )
    now = clock.now()
    shown = Q(leased_until__gt=now + timedelta(seconds=settings.LEASE_SECONDS - SHOWN_SECONDS))
    leases = Candidate.objects.filter(open_ & live, project=project).aggregate(
        shown=Count("id", filter=shown), held=Count("id", filter=~shown), until=Max("leased_until", filter=~shown)
    )
    held_seconds = (leases["until"] - now).total_seconds() if leases["until"] else 0.0
    waiting = counts.eligible + counts.holdout_waiting - in_queue["images"]
    return Queue(
        ready=in_queue["ready"],
        leased=leases["shown"],
        held=leases["held"],
        held_seconds=held_seconds,
        answered=in_queue["answered"],
        waiting=max(0, waiting),
    )


def _recent_workers(project: Project) -> list[WorkerRow]:
    since = alive_since()
    recent = Worker.objects.filter(seen_at__gt=clock.now() - SHOWN_DEAD)
    return [WorkerRow(worker, worker.seen_at > since, _shown(worker.doing, project)) for worker in recent]


def _shown(doing: str, project: Project) -> str:
    """Without the name of another project: its very existence is not told to who is not in it."""
    named = OF_A_ROUND.fullmatch(doing)
    if not named:
        return str(DOINGS.get(doing, doing))
    if named["name"] != project.name:
        return _("working for another project")
    words = {
        "fitting": _("fitting round %(number)s"),
        "scoring": _("scoring round %(number)s"),
        "choosing in": _("choosing in round %(number)s"),
    }
    return words[named["doing"]] % {"number": named["number"]}


def _failures(rounds) -> list[Round]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Rounds that failed since the last one that went well, newest first."""
    failures: list[Round] = []
    for round_ in rounds.order_by("-number")[:5]:
        if round_.state == RoundState.DONE:
            break
        if round_.state == RoundState.FAILED:
            failures.append(round_)
    return failures


def _poll_seconds(project: Project, *, is_moving: bool) -> int:
    if is_moving:
        return 1
    recent = clock.now() - timedelta(seconds=ACTIVE_SECONDS)
    newest = Annotation.objects.filter(project=project).order_by("-id").values_list("created_at", flat=True).first()
    return 5 if newest is not None and newest > recent else IDLE_POLL_SECONDS
