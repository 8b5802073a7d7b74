"""The site in numbers, for Prometheus: a fixed number of statements, each by an index or over a small table."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from django.db.models import Count, F, Max, Model, Q, Sum, Value
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from labeler import clock
from labeler.models import (
    Annotation,
    Candidate,
    CandidateState,
    Chunk,
    ClassChange,
    ExportJob,
    ImportJob,
    NoticeMail,
    PoolFeatures,
    PoolGraph,
    PoolMap,
    PoolNetwork,
    Project,
    Replay,
    Rerun,
    Round,
    RoundState,
    WebhookDelivery,
    Worker,
)
from labeler.models.jobs import UNFINISHED_JOB
from labeler.selectors.health import broker_lately, disk_lately
from labeler.selectors.workers import PROGRAMS, alive_since

JOBS: dict[str, type[Model]] = {
    "import": ImportJob,
    "export": ExportJob,
    "map": PoolMap,
    "features": PoolFeatures,
    "graph": PoolGraph,
    "network": PoolNetwork,
    "replay": Replay,
    "rerun": Rerun,
    "class_change": ClassChange,
}


class Site(Collector):
    """Asks the database whenever it is scraped."""

    def collect(self) -> Iterator[Metric]:
        yield _parts()
        yield from _work()
        yield _workers()
        yield _jobs()
        yield from _rounds()
        yield from _outgoing()


def registry() -> CollectorRegistry:
    found = CollectorRegistry()
    found.register(Site())
    return found


def _parts() -> Metric:
    """The database is there, else nothing could be told."""
    family = GaugeMetricFamily("plusminus_part_up", "1 where a part is there.", labels=["part"])
    for part, is_up in {
        "web": True, "database": True, "disk": disk_lately() == "ok", "broker": broker_lately() == "ok",
    }.items():  # fmt: skip
        family.add_metric([part], int(is_up))
    return family


def _work() -> Iterator[Metric]:
    now = clock.now()
    queue = Candidate.objects.filter(state=CandidateState.OPEN, round=F("project__queue_round"))
    places = queue.aggregate(all=Count("pk"), held=Count("pk", filter=Q(leased_until__gt=now)))
    waiting = places["all"] - places["held"]
    yield GaugeMetricFamily("plusminus_queue_places", "Places of the queues that nobody holds.", value=waiting)
    yield GaugeMetricFamily("plusminus_leases", "Places of the queues that are on somebody's screen.", places["held"])
    projects = Project.objects.aggregate(all=Count("pk"), paused=Count("paused_at"))
    yield GaugeMetricFamily("plusminus_projects", "Projects.", projects["all"])
    yield GaugeMetricFamily("plusminus_projects_paused", "Projects that a manager has paused.", projects["paused"])
    images = Chunk.objects.aggregate(n=Sum("count"))["n"] or 0
    yield GaugeMetricFamily("plusminus_images", "Images of all projects.", images)
    # By the newest id: to count the rows would take longer with each.
    answers = Annotation.objects.aggregate(n=Max("pk"))["n"] or 0
    words = "Answers ever given, corrected and undone ones too."
    yield CounterMetricFamily("plusminus_answers", words, answers)


def _workers() -> Metric:
    family = GaugeMetricFamily("plusminus_workers", "Workers that were seen lately.", labels=["queue"])
    alive = list(Worker.objects.filter(seen_at__gt=alive_since()).values_list("queues", flat=True))
    for queue in PROGRAMS:
        family.add_metric([queue], sum(queue in queues.split(",") for queues in alive))
    return family


def _jobs() -> Metric:
    family = GaugeMetricFamily("plusminus_jobs", "Jobs that are not over.", labels=["kind", "state"])
    parts = [
        model._default_manager.filter(state__in=UNFINISHED_JOB)
        .order_by()
        .values_list(Value(kind), "state")
        .annotate(n=Count("pk"))
        for kind, model in JOBS.items()
    ]
    found = {(kind, state): n for kind, state, n in parts[0].union(*parts[1:], all=True)}
    for kind in JOBS:
        for state in UNFINISHED_JOB:
            family.add_metric([kind, str(state)], found.get((kind, state), 0))
    return family


def _rounds() -> Iterator[Metric]:
    family = GaugeMetricFamily("plusminus_rounds", "Rounds of all projects.", labels=["state"])
    counts = dict(Round.objects.order_by().values_list("state").annotate(n=Count("pk")))
    for state in RoundState.values:
        family.add_metric([state], counts.get(state, 0))
    yield family
    last = Round.objects.filter(state=RoundState.DONE).exclude(phase_seconds={}).order_by("-finished_at")
    seconds = GaugeMetricFamily(
        "plusminus_last_round_seconds", "What the last round with a model took.", labels=["phase"]
    )
    ended = GaugeMetricFamily("plusminus_last_round_finished_timestamp_seconds", "When it was done.", labels=[])
    for phases, finished_at in last.values_list("phase_seconds", "finished_at")[:1]:
        for phase, taken in phases.items():
            seconds.add_metric([phase], taken)
        ended.add_metric([], (finished_at or datetime.fromtimestamp(0, UTC)).timestamp())
    yield seconds
    yield ended


def _outgoing() -> Iterator[Metric]:
    family = GaugeMetricFamily("plusminus_outgoing_waiting", "What waits to be sent.", labels=["kind"])
    family.add_metric(["webhook"], WebhookDelivery.objects.filter(state__in=["waiting", "sending"]).count())
    family.add_metric(["mail"], NoticeMail.objects.filter(state__in=["waiting", "sending"]).count())
    yield family
