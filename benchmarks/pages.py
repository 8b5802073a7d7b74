"""What list pages cost a manager of a large project: time and statements, at two sizes.

    python -m benchmarks.pages [--database sqlite] [--repeat 15]

A tenth of the size first, then all of it: so it shows what grows. Images and answers are made by SQL, what the model
says of each image by a random draw; how good the answers are is measured as a worker measures it. Each page is asked
for in this process by Django's own test client, with all middleware, as a manager who is signed in; the first request,
which reads what others find ready, is told apart. Processor time is that of this process and, on PostgreSQL, of the one
that serves it: on a machine with other work it says more than the clock.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.servers import machine_line, manage, postgres

if TYPE_CHECKING:
    from labeler.models import LabelClass, Project, Round, User

GOAL = 0.2  # seconds
ROUNDS = 40
SECOND_LOOKS = 0.2  # share of labelled images that two people have answered
WRONG = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--answers", type=int, default=100_000)
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    options = parser.parse_args()
    print(f"$ python -m benchmarks.pages {' '.join(sys.argv[1:])}\n{machine_line()}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plusminus-pages-")))
        url = stack.enter_context(postgres()).url if options.database == "postgresql" else ""
        start_database(folder, url)
        sizes = [
            Size("tenth", options.images // 10, options.answers // 10, max(2, options.people // 10)),
            Size("whole", options.images, options.answers, options.people),
        ]
        for size in sizes:
            furnish(size)
        analyse()
        measured = {size.slug: measure(size, options.repeat) for size in sizes}
        tell(sizes, measured)


def start_database(folder: Path, url: str) -> None:
    env = {"DATA_DIR": str(folder / "data"), "SECRET_KEY": os.urandom(48).hex(), "DATABASE_URL": url}
    os.environ.update(env, LOG_LEVEL="ERROR", DEBUG="false", ALLOWED_HOSTS="testserver")
    manage(env, "migrate", "--verbosity", "0")
    manage(env, "collectstatic", "--verbosity", "0", "--no-input")


def analyse() -> None:
    """As autovacuum would within a minute."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


@dataclass
class Size:
    slug: str
    images: int
    answers: int
    people: int


@dataclass
class Cost:
    statements: int = 0
    first: float = 0.0
    again: list[float] = field(default_factory=list)
    busy: float = 0.0  # seconds of processors for one request, but the first
    length: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.again)

    @property
    def words(self) -> str:
        return f"{self.median * 1000:.0f} ({min(self.again) * 1000:.0f})"


# --- A project of that size ------------------------------------------------------------------------------------------


def furnish(size: Size) -> None:
    from benchmarks import pools
    from labeler.models import LearningConfig, Project, User

    pools.make(size.slug, size.images, size.people, 0, 8)
    LearningConfig.objects.filter(project__slug=size.slug).update(grid="everybody")
    project = Project.objects.select_related("learning").get(slug=size.slug)
    people = list(User.objects.filter(memberships__project=project).order_by("pk"))
    rng = np.random.default_rng(0)
    classes = list(project.classes.all())
    truth = rng.integers(0, len(classes), size.images)
    _holdout(project, size)
    add_answers(project, people, classes, truth, size)
    model = add_rounds(project, truth, size)
    Project.objects.filter(pk=project.pk).update(model_round=model, queue_round=model)
    _others(project, people)
    _measure_answers(project)


def _holdout(project: Project, size: Size) -> None:
    from labeler.models import Image

    Image.objects.filter(project=project, position__lt=size.images // 50).update(is_holdout=True)


def add_answers(project: Project, people: list[User], classes: list[LabelClass], truth: np.ndarray, size: Size) -> None:
    """Each person's answers, one in ten of them wrong; some images have two. Labels follow as the consensus says."""
    from django.db import transaction
    from django.utils import timezone

    from labeler.models import Annotation, Image, ImageState, Outcome

    dice, now = random.Random(0), timezone.now()
    looks = [n for n in range(size.images) for _ in range(1 + (dice.random() < SECOND_LOOKS))][: size.answers]
    first = Image.objects.filter(project=project).order_by("position").values_list("pk", flat=True)[0]
    said: dict[int, list[int]] = {}
    rows = []
    for number, position in enumerate(looks):
        chosen = (truth[position] + (dice.random() < WRONG)) % len(classes)
        said.setdefault(position, []).append(int(chosen))
        rows.append(
            Annotation(
                project=project, image_id=first + position, annotator=people[number % len(people)],
                outcome=Outcome.LABEL, label_class=classes[chosen], seconds=dice.uniform(0.6, 4), key=uuid.uuid4(),
                created_at=now,
            )
        )  # fmt: skip
    with transaction.atomic():
        Annotation.objects.bulk_create(rows, batch_size=2000)
        for number, row in enumerate(classes):
            agreed = [first + position for position, answers in said.items() if set(answers) == {number}]
            for at in range(0, len(agreed), 5000):
                Image.objects.filter(pk__in=agreed[at : at + 5000]).update(
                    state=ImageState.LABELLED, label=row, labelled_at=now
                )
        split = [first + position for position, answers in said.items() if len(set(answers)) > 1]
        for at in range(0, len(split), 5000):
            Image.objects.filter(pk__in=split[at : at + 5000]).update(state=ImageState.DISPUTED, is_contested=True)


def add_rounds(project: Project, truth: np.ndarray, size: Size) -> Round:
    """Forty that were measured; the last one has what it says of every image, right about nine in ten."""
    from labeler.models import Annotation, Round, RoundState, Standing, Trigger
    from labeler.services.rounds import config_of

    last = Annotation.objects.filter(project=project).order_by("-id").values_list("id", flat=True)[0]
    share = {"value": 0.9, "low": 0.88, "high": 0.92, "n": 1000, "method": "wilson"}
    metrics = {
        "n": 1000, **dict.fromkeys(("accuracy", "nll", "brier", "ece"), share), "recall": [share] * 10,
        "confusion": np.diag([90] * 10).tolist(), "fit": {"loss": 0.1, "steps": 400, "notes": []},
    }  # fmt: skip
    rounds = [
        Round(
            project=project, number=number, trigger=Trigger.ANSWERS, reason="new answers", state=RoundState.DONE,
            seed=0, metrics=metrics, standing=Standing.ACCEPTED, config=config_of(project.learning),
            classes=list(project.classes.values_list("pk", flat=True)), folder=f"rounds/{project.slug}-{number}",
            answers_spent=number * size.answers // ROUNDS, training_count=number * size.answers // ROUNDS,
            phase_seconds={"fit": 2.0, "score": 3.0}, last_annotation_id=last,
        )
        for number in range(1, ROUNDS + 1)
    ]  # fmt: skip
    Round.objects.bulk_create(rounds)
    newest = Round.objects.get(project=project, number=ROUNDS)
    _score(newest, truth)
    _queue(newest, size)
    return newest


def _score(round_: Round, truth: np.ndarray) -> None:
    from labeler.models import RoundChunk
    from labeler.models.images import CHUNK_SIZE
    from labeler.storage import round_folder
    from learner.config import MEASURES
    from learner.scores import write_scores

    rng = np.random.default_rng(1)
    for chunk in round_.project.chunks.order_by("number"):
        true = truth[chunk.number * CHUNK_SIZE :][: chunk.count]
        logits = rng.normal(0, 1, (chunk.count, 10))
        said = np.where(rng.random(chunk.count) < WRONG, (true + 1) % 10, true)
        logits[np.arange(chunk.count), said] += rng.uniform(2, 7, chunk.count)
        mean_N_C = np.exp(logits)
        mean_N_C /= mean_N_C.sum(1, keepdims=True)
        entropy_N = -(mean_N_C * np.log(mean_N_C)).sum(1)
        columns = {name: entropy_N.astype(np.float32) for name in MEASURES}
        columns |= {"mean_probs_N_C": mean_N_C.astype(np.float16), "std_probs_N_C": (mean_N_C / 20).astype(np.float16)}
        write_scores(round_folder(round_), chunk.number, "a model", columns)
        RoundChunk.objects.create(round=round_, chunk=chunk, count=chunk.count, pixels="", is_done=True)


def _queue(round_: Round, size: Size) -> None:
    """Of images that wait, at the end of the pool."""
    from labeler.models import Candidate, Image, Reason

    waiting = Image.objects.filter(project=round_.project, state="pool").order_by("-position")[: size.images // 20]
    Candidate.objects.bulk_create(
        Candidate(project=round_.project, round=round_, image=image, rank=rank, reason=Reason.ACQUIRED, score=0.5)
        for rank, image in enumerate(waiting, start=1)
    )


def _others(project: Project, people: list[User]) -> None:
    """Gold images, comments, acts in the record, notices: as many as a year brings."""
    from labeler.models import AuditEntry, AuditKind, Comment, Image, Membership, Notice, Role
    from labeler.services.gold import mark_labels_gold

    manager = people[0]
    Membership.objects.filter(project=project, user=manager).update(role=Role.MANAGER)
    mark_labels_gold(project=project, positions=range(2000, 2300), by=manager)
    image = Image.objects.filter(project=project).first()
    for number in range(300):
        Comment.objects.create(
            project=project, image=image, by=people[-1], text=f"Which is it? {number}", key=uuid.uuid4()
        )
        Notice.objects.create(project=project, kind="queue_dry", key=str(number), words="Nothing is left.")
    AuditEntry.objects.bulk_create(
        AuditEntry(project=project, by=person, kind=AuditKind.SETTINGS, words="changed the settings")
        for person in people
        for _ in range(50)
    )


def _measure_answers(project: Project) -> None:
    from labeler.learning import measure_answers
    from labeler.services.quality import run_quality

    run_quality(project_id=project.pk, measure=measure_answers)


# --- Asking ----------------------------------------------------------------------------------------------------------


def pages_of(project: Project) -> dict[str, str]:
    from django.urls import reverse

    from labeler.models import Image

    def at(name: str, *more: Any, query: str = "") -> str:
        return reverse(name, args=[project.slug, *more]) + query

    person = project.memberships.order_by("pk").last()
    image, label = Image.objects.filter(project=project, state="labelled")[1000], project.classes.first()
    assert person is not None and label is not None
    return {
        "Projects": reverse("home"),
        "Monitor": at("monitor"),
        "Monitor, one poll": at("monitor-state"),
        "Worth": at("worth"),
        "People": at("people"),
        "Record": at("audit"),
        "Answers": at("answers"),
        "One person": at("annotator", person.user_id),
        "Review, where people disagree": at("review"),
        "Review, what the model doubts": at("review", query="?kind=doubt"),
        "Gold images": at("gold"),
        "Comments": at("comments"),
        "Notices": at("notices"),
        "Images": at("images"),
        "Images with a label": at("images", query="?state=labelled"),
        "Images of one class": at("images", query=f"?label={label.pk}"),
        "Images where people disagree": at("images", query="?state=disputed"),
        "Images by name": at("images", query="?name=image"),
        "One image": at("image", image.pk),
        "Grid": at("grid"),
        "Rounds": at("rounds"),
        "One round": at("round", ROUNDS),
        "Explore": at("explore"),
        "A gallery": at("gallery", "sure"),
        "Classes": at("classes"),
        "Settings": at("learning-settings"),
        "Exports": at("exports"),
        "Imports": at("imports"),
    }


def measure(size: Size, repeat: int) -> dict[str, Cost]:
    from django.test import Client

    from labeler.models import Project

    project = Project.objects.get(slug=size.slug)
    client = Client()
    client.force_login(project.memberships.get(role="manager").user, "labeler.authentication.PersonBackend")
    client.get(pages_of(project)["Projects"])  # templates and words are read once a process
    return {name: cost_of(client, address, repeat) for name, address in pages_of(project).items()}


def cost_of(client: Any, address: str, repeat: int) -> Cost:
    cost, started_busy = Cost(), 0.0
    for number in range(repeat + 1):
        if number == 1:
            gc.collect()
            started_busy = busy_seconds()
        with counted() as statements:
            started = time.perf_counter()
            response = client.get(address, follow=False)
            body = b"".join(response.streaming_content) if response.streaming else response.content
            took = time.perf_counter() - started
        if response.status_code != 200:
            sys.exit(f"{address} answered {response.status_code}")
        if number:
            cost.again.append(took)
        else:
            cost.first = took
        cost.statements, cost.length = len(statements), len(body)
    cost.busy = (busy_seconds() - started_busy) / repeat
    return cost


def busy_seconds() -> float:
    """Processor time of this process and of its database process, which runs on the same machine."""
    from django.db import connection

    own = time.process_time()
    if connection.vendor == "sqlite":
        return own
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    ticks = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return own + sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def counted() -> Iterator[list[str]]:
    from django.db import connection

    statements: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        statements.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield statements


def tell(sizes: list[Size], measured: dict[str, dict[str, Cost]]) -> None:
    small, large = sizes
    print(f"{large.images:,} images, {large.answers:,} answers, {large.people} people; a tenth of each beside it\n")
    print("Milliseconds: of processors; by the clock the median (the fastest); the first request; at a tenth\n")
    print("| page | busy | clock | first | busy at a tenth | statements (at a tenth) | kB |")
    print("|---|---|---|---|---|---|---|")
    for name, cost in measured[large.slug].items():
        other = measured[small.slug][name]
        mark = " **" if cost.busy > GOAL or cost.statements != other.statements else ""
        print(
            f"| {name}{mark} | {cost.busy * 1000:.0f} | {cost.words} | {cost.first * 1000:.0f} "
            f"| {other.busy * 1000:.0f} "
            f"| {cost.statements} ({other.statements}) | {cost.length / 1000:.0f} |"
        )


if __name__ == "__main__":
    main()
