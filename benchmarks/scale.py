"""A scoring round over a million feature vectors by one and by two learners, and what a killed learner costs.

    python -m benchmarks.scale --repeat 3

Real PostgreSQL, Redis, worker, beat and learners; the project's rows and vectors are made by SQL. Rounds with one and
with two learners take turns. In the last round one of two learners gets SIGKILL when a third of the chunks is scored,
and comes back, as compose would have it: chunks that are done keep their files, so what is scored twice is counted by
files that were written again.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.imports import peak_of
from benchmarks.servers import Server, machine_line, manage, postgres, redis, wait_until, worker

if TYPE_CHECKING:
    from labeler.models import Round

SLUG, WARM = "scale", "warm"  # a small project lets every learner load torch before the clock runs
WARM_VECTORS = 100_000
LABELS = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--posterior-samples", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    print(f"$ python -m benchmarks.scale {' '.join(sys.argv[1:])}\n{machine_line()}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plusminus-scale-")))
        env = start_databases(stack, folder)
        make_project(options)
        learners = [start_later(stack, "learner", env, folder, number) for number in range(2)]
        for kind in ("worker", "importer", "background", "beat"):
            start_later(stack, kind, env, folder).start()
        print(
            f"{options.vectors:,} vectors of {options.features}, MC dropout of a head, K = {options.posterior_samples}"
        )
        rounds: dict[int, list[Measured]] = {1: [], 2: []}
        for _ in range(options.repeat):
            for count in (1, 2):
                set_running(learners[:count], learners[count:])
                rounds[count].append(run_round(learners[:count]))
                print(f"  {count} learner(s): {rounds[count][-1].words}", flush=True)
        tell(rounds)
        set_running(learners, [])
        kill_one(learners)


def start_databases(stack: ExitStack, folder: Path) -> dict[str, str]:
    env = {"DATA_DIR": str(folder / "data"), "SECRET_KEY": os.urandom(48).hex(), "LEARNER_THREADS": "1"}
    env["DATABASE_URL"] = stack.enter_context(postgres()).url
    env["REDIS_URL"] = stack.enter_context(redis()).url
    os.environ.update(env)
    os.environ["LOG_LEVEL"] = "WARNING"  # of this process
    manage(env, "migrate", "--verbosity", "0")
    return env


def make_project(options: argparse.Namespace) -> None:
    from benchmarks import pools
    from labeler.models import LearningConfig

    for slug, count in ((SLUG, options.vectors), (WARM, WARM_VECTORS)):
        pools.make(slug, count, 0, 0, 8)
        pools.add_vectors(slug, options.features, LABELS, 0)
    LearningConfig.objects.update(architecture="head", posterior_samples=options.posterior_samples, retrain_every=0)


def start_later(stack: ExitStack, kind: str, env: dict[str, str], folder: Path, number: int = 0) -> Server:
    server = worker(kind, env, log=folder / f"{kind}{number}.log")
    server.command = [part.replace("learner@", f"learner{number}@") for part in server.command]
    stack.callback(server.stop)
    return server


def set_running(wanted: list[Server], others: list[Server]) -> None:
    """Start and stop learners until just those wanted say that they are alive."""
    from labeler.selectors.workers import workers_alive

    for server in others:
        server.stop()
    for server in wanted:
        if server.process is None:
            server.start(wait=False)
    wait_until(lambda: len(workers_alive("learner")) == len(wanted), 90, f"{len(wanted)} learners")
    run_round(wanted, WARM)


@dataclass(frozen=True)
class Measured:
    fit: float
    score: float
    acquire: float
    peak_mebibytes: float  # of all processes of all learners, each at its largest

    @property
    def words(self) -> str:
        return (
            f"fit {self.fit:.1f} s, score {self.score:.1f} s, acquire {self.acquire:.1f} s, "
            f"peak {self.peak_mebibytes:,.0f} MiB"
        )


def run_round(learners: list[Server], slug: str = SLUG) -> Measured:
    round_ = start_round(slug)
    wait_until(lambda: not is_unfinished(round_.pk), 1800, "the round to end")
    return measured(round_.pk, learners)


def start_round(slug: str) -> Round:
    from labeler.models import Project, Trigger
    from labeler.services.rounds import request_round

    project = Project.objects.select_related("learning").get(slug=slug)
    round_ = request_round(project=project, trigger=Trigger.BUTTON, reason="the benchmark")
    assert round_ is not None
    return round_


def is_unfinished(pk: int) -> bool:
    from labeler.models import Round

    return Round.objects.get(pk=pk).is_unfinished


def measured(pk: int, learners: list[Server]) -> Measured:
    from labeler.models import Round

    round_ = Round.objects.get(pk=pk)
    if round_.state != "done":
        sys.exit(f"round {round_.number} is {round_.state}: {round_.error}")
    seconds = round_.phase_seconds
    peaks = [all_peaks(server.process.pid) for server in learners if server.process is not None]
    return Measured(seconds["fit"], seconds["score"], seconds["acquire"], sum(peaks))


def all_peaks(pid: int) -> float:
    """The peaks of a process and its children, as if all had them at once; what they share counts twice."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return peak_of(pid) * (1 + len(children))


def tell(rounds: dict[int, list[Measured]]) -> None:
    one, two = ([each.score for each in rounds[count]] for count in (1, 2))
    scaling = [a / b / 2 for a, b in zip(one, two, strict=True)]
    whole = [each.fit + each.score + each.acquire for each in rounds[2]]
    for words, values in (
        ("score with 1 learner (s)", one),
        ("score with 2 learners (s)", two),
        ("scaling: seconds of one / seconds of two / 2", scaling),
        ("whole round with 2 learners (s)", whole),
    ):
        print(f"{words:46s} {statistics.median(values):8.3g}  ({min(values):.3g} to {max(values):.3g})")


def kill_one(learners: list[Server]) -> None:
    """SIGKILL in the middle of scoring, and a new start."""
    from labeler.models import RoundChunk
    from labeler.storage import round_folder

    round_ = start_round(SLUG)
    chunks = RoundChunk.objects.filter(round=round_)

    def is_a_third_scored() -> bool:
        total, done = chunks.count(), chunks.filter(is_done=True).count()
        return total > 0 and done >= total / 3

    wait_until(is_a_third_scored, 600, "a third of the chunks")
    learners[1].kill()
    killed_at = time.monotonic()
    dead = chunks.filter(is_done=False, claim__startswith="learner1@").count()
    done = set(chunks.filter(is_done=True).values_list("chunk__number", flat=True))
    round_.refresh_from_db()
    before = written(round_folder(round_), done)
    learners[1].start(wait=False)
    wait_until(lambda: not is_unfinished(round_.pk), 600, "the round to end")
    after = written(round_folder(round_), done)
    again = sum(before[number] != after[number] for number in done)
    print(
        f"one of two learners killed when {len(done)} of {chunks.count()} chunks were done: {again} of these were "
        f"scored again, and the {dead} that it held; done {time.monotonic() - killed_at:.1f} s later; "
        f"{measured(round_.pk, learners).words}"
    )


def written(folder: Path, numbers: set[int]) -> dict[int, int]:
    """When the score file of each chunk was written, in nanoseconds."""
    from learner.scores import score_path

    return {number: score_path(folder, number).stat().st_mtime_ns for number in numbers}


if __name__ == "__main__":
    main()
