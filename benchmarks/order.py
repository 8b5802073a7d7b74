"""Is every image handed out in the order that the model chose, whatever sixteen clients do at once?

    python -m benchmarks.order                                  # both databases, overlap 1 and 3, 20,000 leases each
    python -m benchmarks.order --databases sqlite --overlaps 3 --leases 2000

Sixteen processes label (four people have two of them open, as two tabs): they answer, skip, send twice, answer late,
correct, undo, release, and go away so that leases run out; meanwhile new rounds are published and leases swept. The
database logs every change by triggers, and benchmarks/ledger.py checks each lease from that log alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.servers import ROOT, machine_line, manage, postgres

SLUG = "order"
OUTCOMES = [("label", 0.83), ("skip", 0.09), ("unsure", 0.06), ("bad_image", 0.02)]


@dataclass
class Tab:
    """A person at a browser, who does all that people do, by the services that the pages call."""

    username: str
    rng: random.Random
    held: list[Any] = field(default_factory=list)
    left: list[Any] = field(default_factory=list)  # places that were walked away from
    sent: list[uuid.UUID] = field(default_factory=list)
    did: Counter[str] = field(default_factory=Counter)

    def step(self) -> None:
        from labeler.models import Project, User
        from labeler.services.lease import claim_places, lease_next

        self.project = Project.objects.select_related("learning", "queue_round").get(slug=SLUG)
        self.person = User.objects.get(username=self.username)
        self.classes = list(self.project.classes.values_list("pk", flat=True))
        if not self.held:
            ask = {"project": self.project, "annotator": self.person}
            number = self.rng.randint(1, 3)
            is_load = self.rng.random() < 0.5
            self.held = lease_next(**ask, want=number) if is_load else claim_places(**ask, count=number)
            self.did["asked"] += 1
        if not self.held:
            self.did["found nothing"] += 1
            time.sleep(0.02)
        actions: list[tuple[Callable[[], None], float]] = [
            (self.answer, 0.76), (self.walk_away, 0.06), (self.answer_late, 0.06), (self.release, 0.04),
            (self.undo, 0.05), (self.correct, 0.03),
        ]  # fmt: skip
        action = self.rng.choices([each for each, _ in actions], [share for _, share in actions])[0]
        action()

    def answer(self) -> None:
        if self.held:
            self._send(self.held.pop(0))

    def answer_late(self) -> None:
        if self.left:
            self.did["late"] += 1
            self._send(self.left.pop(0))

    def walk_away(self) -> None:
        self.left += self.held
        self.left, self.held = self.left[-10:], []

    def release(self) -> None:
        from labeler.services.lease import release_leases

        ids = [place.pk for place in self.held] if self.rng.random() < 0.7 else None
        release_leases(project=self.project, annotator=self.person, candidate_ids=ids)
        self.held = []
        self.did["released"] += 1

    def undo(self) -> None:
        from labeler.services.annotate import retract_answer

        if self.sent:
            target = self.sent.pop(self.rng.randrange(len(self.sent)))
            retract_answer(project=self.project, annotator=self.person, target_key=target, key=self._key())
            self.did["undone"] += 1

    def correct(self) -> None:
        from labeler.services.annotate import correct_answer

        if self.sent:
            outcome, label_class = self._outcome()
            correct_answer(
                project=self.project, annotator=self.person, target_key=self.rng.choice(self.sent), outcome=outcome,
                label_class_id=label_class, key=self._key(),
            )  # fmt: skip
            self.did["corrected"] += 1

    def _send(self, place: Any) -> None:
        from labeler.services.annotate import answer_and_lease, record_answer

        outcome, label_class = self._outcome()
        key = self._key()

        def save() -> Any:
            return record_answer(
                project=self.project, annotator=self.person, image_id=place.image_id, candidate_id=place.pk,
                outcome=outcome, label_class_id=label_class, key=key, seconds=1.0,
            )  # fmt: skip

        for _ in range(2 if self.rng.random() < 0.02 else 1):
            _, fresh = answer_and_lease(
                project=self.project, annotator=self.person, save=save, room=self.rng.randint(0, 2)
            )
            self.held += fresh
        self.sent = [*self.sent[-8:], key]
        self.did["answered"] += 1

    def _outcome(self) -> tuple[str, int | None]:
        outcome = self.rng.choices([name for name, _ in OUTCOMES], [share for _, share in OUTCOMES])[0]
        return outcome, self.rng.choice(self.classes) if outcome == "label" else None

    def _key(self) -> uuid.UUID:
        return uuid.UUID(int=self.rng.getrandbits(128), version=4)


# --- What runs beside the people ------------------------------------------------------------------------------------


def publish_and_sweep(go_on: Callable[[], bool], every: float) -> Counter[str]:
    from labeler.models import Project
    from labeler.services.lease import free_expired_leases
    from labeler.services.rounds import start_cold_round

    did: Counter[str] = Counter()
    while go_on():
        did["rounds"] += start_cold_round(project=Project.objects.select_related("learning").get(slug=SLUG)) is not None
        time.sleep(every / 2)
        did["swept"] += free_expired_leases()
        time.sleep(every / 2)
    return did


def make_project(*, people: int, images: int, overlap: int, budget: int) -> None:
    from labeler.models import Chunk, Image, LabelClass, LearningConfig, Membership, Pack, Project, User

    project = Project.objects.create(name=SLUG, slug=SLUG)
    LearningConfig.objects.create(
        project=project, overlap=overlap, budget=budget, retrain_every=0, holdout_share=0.0, holdout_questions=0.0
    )
    for number in range(5):
        LabelClass.objects.create(project=project, name=str(number), colour="#0072b2")
    pack = Pack.objects.create(project=project, name=f"{SLUG}.pack", size=0)
    chunk = 4096
    Chunk.objects.bulk_create(
        Chunk(project=project, number=number, count=min(chunk, images - number * chunk))
        for number in range(-(-images // chunk))
    )
    Image.objects.bulk_create(
        (
            Image(project=project, position=n, content_hash=f"{n:064}", name=f"{n}.png", width=1, height=1, pack=pack,
                  offset=0, length=0, media_type="image/png")
            for n in range(images)
        ),
        batch_size=5000,
    )  # fmt: skip
    for number in range(people):
        user = User.objects.create_user(f"person-{number}")
        Membership.objects.create(project=project, user=user, role="annotator")


def count_leases() -> int:
    """Roughly, from the log: every place that became somebody's (renewals are few here)."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM ledger WHERE kind = 'place' AND state = 'open' AND person_id IS NOT NULL")
        return int(cursor.fetchone()[0])


# --- The processes --------------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--overlaps", nargs="+", type=int, default=[1, 3])
    parser.add_argument("--leases", type=int, default=20_000, help="of each database and overlap")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        return run_part(*options.part, options)
    print(f"$ python -m benchmarks.order {' '.join(sys.argv[1:])}")
    print(f"{machine_line()}; seed {options.seed}; {options.clients} clients")
    violations = 0
    for database in options.databases:
        for overlap in options.overlaps:
            violations += measure(database, overlap, options)
    print("VERDICT:", f"{violations} violations" if violations else "no violation")
    return 1 if violations else 0


def measure(database: str, overlap: int, options: argparse.Namespace) -> int:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="plusminus-order-"))
        env = {
            "DATA_DIR": folder, "SECRET_KEY": os.urandom(48).hex(), "LOG_LEVEL": "WARNING", "LEASE_SECONDS": "2",
            "SQLITE_SYNCHRONOUS": "OFF", "DJANGO_SETTINGS_MODULE": "labeler.settings",
        }  # fmt: skip
        if database == "postgresql":
            env["DATABASE_URL"] = stack.enter_context(postgres()).url
        manage(env, "migrate", "--verbosity", "0")
        run(env, "stage", str(overlap), options)
        stop = Path(folder) / "stop"
        begin = time.monotonic()
        parts = [start(env, "client", str(number), options) for number in range(options.clients)]
        parts.append(start(env, "publish", str(stop), options))
        parts.append(start(env, "watch", str(stop), options))
        outputs = [part.communicate()[0] for part in parts]
        spent = time.monotonic() - begin
        failed = [part for part in parts if part.returncode]
        did: Counter[str] = Counter()
        for output in outputs:
            did.update(json.loads(output.splitlines()[-1]) if output.strip() else {})
        verdict = json.loads(run(env, "check", str(overlap), options).splitlines()[-1])
    print(
        f"\n{database}, overlap {overlap}: {verdict['leases']:,} leases in {spent:.0f} s, each compared with "
        f"{verdict['places_compared'] / max(1, verdict['leases']):.0f} better places on average"
    )
    print("  " + ", ".join(f"{name} {number:,}" for name, number in sorted(did.items())))
    print(f"  given back by an undo {verdict['undone']:,}; passed over while being taken {verdict['passed_over']:,}")
    print(f"  violations: {len(verdict['violations'])}" + "".join(f"\n    {v}" for v in verdict["violations"][:5]))
    if failed:
        print(f"  {len(failed)} processes failed")
    is_short = verdict["leases"] < options.leases
    if is_short:
        print(f"  only {verdict['leases']:,} leases of {options.leases:,}")
    return len(verdict["violations"]) + len(failed) + is_short


def start(env: dict[str, str], part: str, argument: str, options: argparse.Namespace) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.order", "--part", part, argument, "--seed", str(options.seed)]
    command += ["--leases", str(options.leases), "--clients", str(options.clients)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.PIPE, text=True)


def run(env: dict[str, str], part: str, argument: str, options: argparse.Namespace) -> str:
    process = start(env, part, argument, options)
    output = process.communicate()[0]
    if process.returncode:
        raise RuntimeError(f"{part} failed")
    return output


def run_part(part: str, argument: str, options: argparse.Namespace) -> int:
    import django

    django.setup()
    from django.db import OperationalError, connection

    from benchmarks import ledger

    is_stopped = Path(os.environ["DATA_DIR"], "stop").exists
    result: dict[str, Any] = {}
    if part == "stage":
        images = max(2000, options.leases * 2)
        make_project(people=people_of(options.clients), images=images, overlap=int(argument), budget=300)
        ledger.install(connection)
    elif part == "client":
        rng = random.Random(options.seed * 1000 + int(argument))
        tab = Tab(f"person-{int(argument) % people_of(options.clients)}", rng)
        while not is_stopped():
            try:
                tab.step()
            except OperationalError as error:  # what a browser would send again
                if "database is locked" not in str(error):
                    raise
                tab.did["waited for SQLite in vain"] += 1
        result = dict(tab.did)
    elif part == "publish":
        result = dict(publish_and_sweep(lambda: not is_stopped(), every=1.0))
    elif part == "watch":
        deadline = time.monotonic() + 60 + options.leases / 20
        while count_leases() < options.leases * 1.15 + 50 and time.monotonic() < deadline:
            time.sleep(0.5)
        Path(argument).touch()
    elif part == "check":
        findings = ledger.check(ledger.read(connection), overlap=int(argument))
        result = vars(findings)
    print(json.dumps(result))
    return 0


def people_of(clients: int) -> int:
    """A quarter of the clients are second tabs."""
    return max(1, clients - clients // 4)


# --- The same in one process, for the test --------------------------------------------------------------------------


@contextmanager
def logged() -> Iterator[None]:
    from django.db import connection

    from benchmarks import ledger

    ledger.install(connection)
    try:
        yield
    finally:
        ledger.remove(connection)


def in_threads(*, clients: int, leases: int, seed: int, every: float) -> list[BaseException]:
    """Let so many clients work as threads until there were so many leases; returns what went wrong in them."""
    from django.db import connections

    is_over, errors = threading.Event(), []

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - a thread must not swallow what a test has to see
            errors.append(error)
            is_over.set()
        finally:
            connections.close_all()

    def annotate(number: int) -> None:
        tab = Tab(f"person-{number % people_of(clients)}", random.Random(seed + number))
        while not is_over.is_set():
            tab.step()

    works: list[Callable[[], object]] = [lambda number=number: annotate(number) for number in range(clients)]
    works.append(lambda: publish_and_sweep(lambda: not is_over.is_set(), every))
    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 120
    while count_leases() < leases and not is_over.is_set() and time.monotonic() < deadline:
        time.sleep(0.1)
    is_over.set()
    for thread in threads:
        thread.join(timeout=60)
    return errors


if __name__ == "__main__":
    sys.exit(main())
