"""Kill everything at random while people answer: is an answer lost or doubled, is a round stuck?

    python -m benchmarks.chaos --kills 100                # PostgreSQL and Redis
    python -m benchmarks.chaos --kills 100 --embedded     # SQLite and the broker that is a folder

Eight simulated annotators answer over HTTP, with the outbox of the Label page: the same key again until the server has
it. Meanwhile web, learner, worker, background, beat, Redis (which forgets its messages) and PostgreSQL get SIGKILL, and
come back.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.servers import Server, machine_line, manage, postgres, redis, web_server, worker

CALM_SECONDS = 75  # watched after the last kill, with everything up
STUCK_SECONDS = 60
CLIENTS = 8


@dataclass
class Watch:
    """How long an unfinished round has shown no change since everything was up."""

    is_stopped: threading.Event = field(default_factory=threading.Event)
    recovered_at: float = field(default_factory=time.monotonic)
    is_up: bool = True
    longest: float = 0.0
    seen: tuple[object, ...] = ()
    changed_at: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        from django.db import Error, connection

        while not self.is_stopped.wait(0.5):
            try:
                self.look()
            except Error:
                connection.close()

    def look(self) -> None:
        from django.db.models import Sum

        from labeler.models import Round
        from labeler.models.rounds import UNFINISHED

        rows = Round.objects.filter(state__in=UNFINISHED).annotate(scored=Sum("chunks__scored"))
        seen = tuple(rows.values_list("pk", "state", "progress_done", "claim", "scored", "attempts"))
        now = time.monotonic()
        if seen != self.seen or not seen:
            self.seen, self.changed_at = seen, now
        elif self.is_up:
            self.longest = max(self.longest, now - max(self.changed_at, self.recovered_at))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--every", type=float, default=3.0, help="mean seconds between kills")
    parser.add_argument("--rate", type=float, default=2.0, help="answers a second of each client; 0: without pause")
    parser.add_argument("--embedded", action="store_true", help="SQLite and the filesystem broker")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"$ python -m benchmarks.chaos {' '.join(sys.argv[1:])}")
    print(machine_line())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plusminus-chaos-")))
        servers = start_servers(stack, folder, is_embedded=options.embedded)
        people = set_the_stage(folder, options.seed)
        problems = storm(servers, people, options)
        if problems:
            show_logs(folder)
    print("VERDICT:", "; ".join(problems) if problems else "nothing lost, nothing doubled, nothing stuck")
    return 1 if problems else 0


def start_servers(stack: ExitStack, folder: Path, *, is_embedded: bool) -> dict[str, Server]:
    env = {"DATA_DIR": str(folder / "data"), "SECRET_KEY": os.urandom(48).hex(), "LEARNER_THREADS": "1"}
    servers = {}
    if not is_embedded:
        servers["postgres"] = stack.enter_context(postgres())
        servers["redis"] = stack.enter_context(redis())
        env |= {"DATABASE_URL": servers["postgres"].url, "REDIS_URL": servers["redis"].url}
    os.environ.update(env)
    os.environ["DJANGO_SETTINGS_MODULE"] = "labeler.settings"
    os.environ["LOG_LEVEL"] = "WARNING"  # of this process
    manage(env, "migrate", "--verbosity", "0")
    manage(env, "collectstatic", "--verbosity", "0", "--no-input")
    servers["web"] = web_server(env, log=folder / "web.log", workers=2)
    for kind in ("learner", "worker", "importer", "messenger", "background", "beat"):
        servers[kind] = worker(kind, env, log=folder / f"{kind}.log")
    for name in ("web", "learner", "worker", "importer", "messenger", "background", "beat"):
        stack.callback(servers[name].kill)
    return servers


def set_the_stage(folder: Path, seed: int) -> dict[str, Any]:
    """scikit-learn's digits, six times with noise, in a project that learns often; people with a session each."""
    import django

    django.setup()
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore
    from sklearn.datasets import load_digits

    from labeler.models import LabelClass, LearningConfig, Membership, OfferedLabel, Project, Role, User
    from labeler.services.importing import import_local

    digits, rng = load_digits(), np.random.default_rng(seed)
    images = np.concatenate([digits.images * 16] * 6)
    noisy = np.clip(images + rng.normal(0, 12, images.shape), 0, 255).astype(np.uint8)
    np.savez(folder / "digits.npz", x=noisy, y=np.tile(digits.target, 6).astype(np.uint8))
    boss = User.objects.create_user("boss")
    project = Project.objects.create(name="Chaos", slug="chaos", created_by=boss)
    LearningConfig.objects.create(
        project=project, architecture="mlp", posterior_samples=20, budget=60, retrain_every=20, cooldown_seconds=2
    )
    names = [str(number) for number in range(10)]
    classes = {name: LabelClass.objects.create(project=project, name=name, colour="#0072b2") for name in names}
    job = import_local(project=project, path=folder / "digits.npz", by=boss)
    assert job.state == "done", job.error
    sessions = []
    for number in range(CLIENTS):
        user = User.objects.create_user(f"person{number}")
        Membership.objects.create(project=project, user=user, role=Role.ANNOTATOR)
        session = SessionStore()
        session[SESSION_KEY], session[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
        session[BACKEND_SESSION_KEY] = "labeler.authentication.PersonBackend"
        session.save()
        sessions.append(session.session_key)
    offered = OfferedLabel.objects.values_list("image_id", "class_name")
    truth = {image: classes[name].pk for image, name in offered}
    print(f"{job.added:,} images, {CLIENTS} clients, a round every 20 answers")
    return {"sessions": sessions, "truth": truth, "classes": [each.pk for each in classes.values()]}


def storm(servers: dict[str, Server], people: dict[str, Any], options: argparse.Namespace) -> list[str]:
    from labeler import oracle
    from labeler.oracle import CannotAnswer, Oracle, Tally

    oracle.LONGEST_PAUSE = 1.0  # the page waits longer; here more answers shall meet kills

    class Client(Oracle):
        """Signed in already: passwords are another test's."""

        session = ""

        def sign_in(self) -> None:
            self.client.cookies.set("sessionid", self.session)
            self.client.cookies.set("csrftoken", "c" * 32)

    for name in ("web", "learner", "worker", "importer", "messenger", "background", "beat"):
        servers[name].start()
    tally, calm, broken = Tally(), threading.Event(), []

    def annotate(number: int) -> None:
        client = Client(
            url=servers["web"].url, slug="chaos", username="", password="", truth=people["truth"],
            class_ids=people["classes"], rate=options.rate, error=0.05, seed=options.seed + number, tally=tally,
            go_on=lambda: not calm.is_set(), fetch_images=False,
        )  # fmt: skip
        client.session = people["sessions"][number]
        try:
            client.run()
        except CannotAnswer as error:
            broken.append(f"client {number} gave up: {error}")

    watch = Watch()
    threads = [threading.Thread(target=annotate, args=(number,)) for number in range(CLIENTS)]
    watcher = threading.Thread(target=watch.run)
    started = time.monotonic()
    for thread in (*threads, watcher):
        thread.start()
    kills = kill_at_random(servers, watch, options)
    print(f"{options.kills} kills in {time.monotonic() - started:.0f} s: {dict(kills.most_common())}")
    storm_ended = time.monotonic()
    answers_then, rounds_then = tally.answers, count_rounds()
    time.sleep(CALM_SECONDS)
    rounds_after = count_rounds() - rounds_then
    calm.set()
    for thread in threads:
        thread.join(timeout=120)
    watch.is_stopped.set()
    watcher.join()
    print(
        f"answers acknowledged: {len(tally.keys):,}, {tally.answers - answers_then:,} of them in the "
        f"{time.monotonic() - storm_ended:.0f} s after the last kill; sent again: {tally.retries:,}"
    )
    problems = broken + [f"{thread.name} still waits for its answer" for thread in threads if thread.is_alive()]
    return problems + check(tally.keys, watch, rounds_after)


def kill_at_random(servers: dict[str, Server], watch: Watch, options: argparse.Namespace) -> Counter[str]:
    """One kill after another; each comes back after up to three seconds, while others may be down."""
    rng, kills = random.Random(options.seed), Counter()
    back_at: dict[str, float] = {}
    while sum(kills.values()) < options.kills or back_at:
        for name in [name for name, at in back_at.items() if at <= time.monotonic()]:
            servers[name].start(wait=False)
            del back_at[name]
        up = [name for name in servers if name not in back_at]
        if up and sum(kills.values()) < options.kills and rng.random() < 0.1 / options.every:
            name = rng.choice(up)
            watch.is_up = False
            servers[name].kill()
            kills[name] += 1
            back_at[name] = time.monotonic() + rng.uniform(0, 3)
        time.sleep(0.1)
    for server in servers.values():
        server.wait_up()
    watch.recovered_at, watch.is_up = time.monotonic(), True
    return kills


def count_rounds() -> int:
    from labeler.models import Round

    return patiently(lambda: Round.objects.filter(state="done").count())


def patiently(read: Any) -> Any:
    """The first statement after PostgreSQL was killed finds a connection that is gone."""
    from django.db import Error, connection

    for _ in range(20):
        with suppress(Error):
            return read()
        connection.close()
        time.sleep(0.5)
    return read()


def check(acknowledged: list[str], watch: Watch, rounds_after: int) -> list[str]:
    from labeler.models import Annotation, Candidate, Image, Round
    from labeler.models.rounds import UNFINISHED

    problems = []
    stored = Counter(str(key) for key in patiently(lambda: list(Annotation.objects.values_list("key", flat=True))))
    if lost := set(acknowledged) - set(stored):
        problems.append(f"{len(lost)} answers lost")
    if doubled := [key for key, n in stored.items() if n > 1]:
        problems.append(f"{len(doubled)} answers doubled")
    if unknown := set(stored) - set(acknowledged):
        problems.append(f"{len(unknown)} answers in the database that no client has had acknowledged")
    states = Counter(Round.objects.values_list("state", flat=True))
    failures = Counter(Round.objects.filter(state="failed").values_list("error", flat=True))
    print(f"answers stored: {sum(stored.values()):,}; rounds: {dict(states)}, {rounds_after} done after the storm")
    for error, n in failures.items():
        print(f"  {n} failed: {error}")
    print(f"longest stand-still of a round while everything was up: {watch.longest:.1f} s")
    if watch.longest > STUCK_SECONDS:
        problems.append(f"a round was stuck for {watch.longest:.0f} s")
    if not rounds_after:
        problems.append("no round ended after the storm")
    for round_ in Round.objects.filter(state="done"):
        ranks = sorted(set(Candidate.objects.filter(round=round_).values_list("rank", flat=True)))
        if ranks != list(range(1, len(ranks) + 1)):
            problems.append(f"the ranks of round {round_.number} have gaps")
    if Round.objects.filter(state__in=UNFINISHED).count() > 1:
        problems.append("two unfinished rounds")
    live = Annotation.objects.filter(retracted_at=None).exclude(outcome__in=["undo", "skip"])
    people = Counter(live.values_list("image_id", flat=True))
    labels = dict(live.filter(outcome="label").values_list("image_id", "label_class_id"))
    labelled = dict(Image.objects.filter(state="labelled").values_list("pk", "label_id"))
    if wrong := [image for image, n in people.items() if n == 1 and labelled.get(image) != labels.get(image)]:
        problems.append(f"{len(wrong)} images whose label is not their answer")
    print(f"images answered by more than one person: {sum(n > 1 for n in people.values())}")
    if Candidate.objects.filter(state="open", image__in=list(labelled), leased_to=None).exists():
        problems.append("labelled images stand in the queue")
    return problems


def show_logs(folder: Path) -> None:
    for log in sorted(folder.glob("*.log")):
        print(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}")


if __name__ == "__main__":
    sys.exit(main())
