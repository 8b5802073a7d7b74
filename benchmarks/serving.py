"""How long does an annotator wait? Real server processes, people without thinking time, pools up to a million rows.

    python -m benchmarks.serving                                   # everything: about a quarter of an hour
    python -m benchmarks.serving --rate 2                          # people who answer twice a second
    python -m benchmarks.serving --pools 10000 --databases sqlite --seconds 5 --repeats 1

Each client does what the Label page does: it sends the answer with room for more (the reply brings the next image, so
`answer` is also how long one waits for it), fetches the image if it is too large to come along (with `--photos`), and
on every tenth answer loads its places anew (`next`). Clients are tasks of one load process beside the server, on the
same cores: what they take the server lacks, so the figures are an upper bound. The pools of one database are measured
in turns, so that whatever else the machine does meets them all alike.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlsplit

from benchmarks.servers import ROOT, Server, machine_line, manage, postgres, web_server

SLUG = "pool"
P95_GOAL_MS, RATIO_GOAL, GOAL_CLIENTS = 50.0, 1.2, 8
KINDS = ("answer", "next", "image")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    parser.add_argument("--pools", nargs="+", type=int, default=[10_000, 60_000, 1_000_000])
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="gunicorn processes; gunicorn.conf.py has 2 on 2 cores")
    parser.add_argument("--threads", type=int, default=8, help="threads of each; gunicorn.conf.py has 8")
    parser.add_argument(
        "--rate", type=float, default=0.0, help="answers a second of a person; 0: without thinking time"
    )
    parser.add_argument("--photos", action="store_true", help="images of 30 KB, fetched one by one, not of 1 KB")
    parser.add_argument("--no-fsync", action="store_true", help="PostgreSQL without fsync (not what one runs)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--load", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        print(json.dumps(asyncio.run(load(json.loads(options.load)))))
        return 0
    print(f"$ python -m benchmarks.serving {' '.join(sys.argv[1:])}")
    print(f"{machine_line()}; server and clients share them; seed {options.seed}")
    print(f"gunicorn: {options.workers} process(es) of {options.threads} threads; {options.seconds:.0f} s a run")
    failed = [database for database in options.databases if not measure_database(database, options)]
    print("VERDICT:", f"goals missed on {', '.join(failed)}" if failed else "all goals met")
    return 1 if failed else 0


@dataclass
class Stage:
    """A server with its own database, and what it did so far, by number of clients."""

    pool: int
    server: Server
    env: dict[str, str]
    people: dict[str, Any]
    runs: dict[int, list[dict[str, Any]]] = field(default_factory=dict)


def measure_database(database: str, options: argparse.Namespace) -> bool:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plusminus-serving-")))
        cluster = None
        if database == "postgresql":
            cluster = stack.enter_context(postgres(durable=not options.no_fsync))
        stages = [make_stage(stack, folder, pool, cluster, options) for pool in options.pools]
        for repeat in range(options.repeats):
            for clients in options.clients:
                for stage in stages:
                    run_once(stage, clients, options, seed=options.seed + 1000 * repeat + clients)
        report(database, stages, options)
        return judge(stages, options)


def make_stage(stack: ExitStack, folder: Path, pool: int, cluster: Server | None, options: argparse.Namespace) -> Stage:
    env = {"DATA_DIR": str(folder / f"data-{pool}"), "SECRET_KEY": os.urandom(48).hex(), "LOG_LEVEL": "WARNING"}
    if cluster is not None:
        base = cluster.url.rpartition("/")[0]
        env["DATABASE_URL"] = f"{base}/pool{pool}"
        create_database(cluster, f"pool{pool}")
    manage(env, "migrate", "--verbosity", "0")
    people = rows(env, "make", SLUG, pool, max(options.clients), options.seed, 240 if options.photos else 28)
    server = web_server(env, log=folder / f"web-{pool}.log", workers=options.workers, threads=options.threads)
    stack.callback(server.stop)
    server.start()
    return Stage(pool, server, env, people)


def create_database(cluster: Server, name: str) -> None:
    import psycopg

    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')


def rows(env: dict[str, str], *arguments: object) -> dict[str, Any]:
    """benchmarks/pools.py as a process of its own: the settings know one database."""
    command = [sys.executable, "-m", "benchmarks.pools", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def run_once(stage: Stage, clients: int, options: argparse.Namespace, seed: int) -> None:
    rows(stage.env, "refill", SLUG, min(stage.pool // 4, 10_000), seed)
    order = {
        "url": stage.server.url, "sessions": stage.people["sessions"][:clients], "classes": stage.people["classes"],
        "seconds": options.seconds, "seed": seed, "rate": options.rate,
    }  # fmt: skip
    command = [sys.executable, "-m", "benchmarks.serving", "--load", json.dumps(order)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    stage.runs.setdefault(clients, []).append(result)
    shown = "  ".join(f"{kind} {result[kind][0]:.1f}/{result[kind][1]:.1f} ms" for kind in KINDS)
    print(f"  {stage.pool:>9,} rows, {clients:>2} clients: {result['rate']:.0f} answers/s  {shown}", file=sys.stderr)


# --- The load process -----------------------------------------------------------------------------------------------


@dataclass
class Client:
    """One browser: a connection that is kept, a session, and the places that its page holds."""

    address: str
    session: str
    classes: list[int]
    rng: random.Random
    rate: float
    held: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    errors: list[str] = field(default_factory=list)

    async def run(self, until: float) -> None:
        host, _, port = self.address.partition(":")
        self.reader, self.writer = await asyncio.open_connection(host, int(port))
        answers = 0
        while time.monotonic() < until and not self.errors:
            if not self.held or answers % 10 == 0:
                self.held = (await self.call("next", {"want": 3, "holding": []})).get("items", [])
            if not self.held:
                self.errors.append("nothing to answer")
                return
            item = self.held.pop(0)
            if not item["src"].startswith("data:"):
                await self.call("image", None, item["src"])
            body = {
                "key": str(uuid.UUID(int=self.rng.getrandbits(128), version=4)), "image": item["image"],
                "candidate": item["candidate"], "outcome": "label", "label_class": self.rng.choice(self.classes),
                "seconds": 1.0, "want": 3, "holding": [each["candidate"] for each in self.held],
            }  # fmt: skip
            self.held += (await self.call("answer", body)).get("items", [])
            answers += 1
            if self.rate:
                await asyncio.sleep(self.rng.expovariate(self.rate))
        self.writer.close()

    async def call(self, kind: str, body: dict[str, Any] | None, url: str = "") -> dict[str, Any]:
        content = b"" if body is None else json.dumps(body).encode()
        token = "c" * 32
        head = (
            f"{'GET' if body is None else 'POST'} {url or f'/p/{SLUG}/label/{kind}/'} HTTP/1.1\r\n"
            f"Host: {self.address}\r\n"
            f"Cookie: sessionid={self.session}; csrftoken={token}\r\nX-CSRFToken: {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        begin = time.perf_counter()
        try:
            self.writer.write(head.encode() + content)
            async with asyncio.timeout(30):
                status, received = await self.reply()
        except (OSError, EOFError, TimeoutError) as error:
            self.errors.append(f"{kind}: {error!r}")
            return {}
        self.seconds[kind].append(time.perf_counter() - begin)
        if status != 200:
            self.errors.append(f"{kind}: {status} {received[:200]!r}")
            return {}
        return {} if body is None else dict(json.loads(received))

    async def reply(self) -> tuple[int, bytes]:
        """The least of HTTP that our server needs: what the load process takes the server lacks."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: (\d+)", head, re.IGNORECASE)
        if length is None:
            raise EOFError("a reply without its length")
        return int(head[9:12]), await self.reader.readexactly(int(length[1]))


async def load(order: dict[str, Any]) -> dict[str, Any]:
    address, rng = urlsplit(order["url"]).netloc, random.Random(order["seed"])
    clients = [
        Client(address, session, order["classes"], random.Random(rng.getrandbits(64)), order["rate"])
        for session in order["sessions"]
    ]
    await warm_up(clients)
    begin = time.monotonic()
    await all_of(clients, begin + order["seconds"])
    spent = time.monotonic() - begin
    errors = [error for client in clients for error in client.errors]
    result: dict[str, Any] = {
        "rate": sum(len(client.seconds["answer"]) for client in clients) / spent,
        "answers": sum(len(client.seconds["answer"]) for client in clients),
        "errors": len(errors),
        "first_errors": errors[:3],
    }
    for kind in KINDS:
        taken = [1000 * each for client in clients for each in client.seconds[kind]]
        cuts = quantiles(taken, n=100) if len(taken) > 1 else [0.0] * 99
        result[kind] = [cuts[49], cuts[94]]
    return result


async def warm_up(clients: list[Client]) -> None:
    """The first second of a server's threads (connections, imports) is not what people wait for all day."""
    await all_of(clients, time.monotonic() + 1.0)
    for client in clients:
        client.seconds = {kind: [] for kind in KINDS}


async def all_of(clients: list[Client], until: float) -> None:
    await asyncio.gather(*(client.run(until) for client in clients))


# --- What came out --------------------------------------------------------------------------------------------------


def report(database: str, stages: list[Stage], options: argparse.Namespace) -> None:
    print(f"\n{database}: median of {options.repeats} runs (lowest to highest); milliseconds as p50 / p95")
    head = f"{'rows':>9} {'clients':>7} {'answers/s':>20} {'answer':>31} {'next':>15} {'image':>15} {'errors':>6}"
    print(head)
    for stage in stages:
        for clients, runs in stage.runs.items():
            rates = [run["rate"] for run in runs]
            p95s = [run["answer"][1] for run in runs]
            cells = {kind: " / ".join(f"{middle(runs, kind, at):.1f}" for at in (0, 1)) for kind in KINDS}
            print(
                f"{stage.pool:>9,} {clients:>7} "
                f"{f'{median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f})':>20} "
                f"{cells['answer'] + f' ({min(p95s):.1f} to {max(p95s):.1f})':>31} "
                f"{cells['next']:>15} {cells['image']:>15} {sum(run['errors'] for run in runs):>6}"
            )
            for words in [words for run in runs for words in run["first_errors"]][:3]:
                print(f"          {words}")


def middle(runs: list[dict[str, Any]], kind: str, at: int) -> float:
    return median(run[kind][at] for run in runs)


def judge(stages: list[Stage], options: argparse.Namespace) -> bool:
    """No errors; p95 at eight clients; the largest pool against the smallest, run by run."""
    met = not any(run["errors"] for stage in stages for runs in stage.runs.values() for run in runs)
    print(f"no errors: {'yes' if met else 'NO'}")
    if GOAL_CLIENTS in options.clients:
        for kind in ("answer", "next"):
            worst = max(middle(stage.runs[GOAL_CLIENTS], kind, 1) for stage in stages)
            met &= worst < P95_GOAL_MS
            print(f"{kind}, p95 at {GOAL_CLIENTS} clients: {worst:.1f} ms at most (goal: under {P95_GOAL_MS:.0f} ms)")
    if len(stages) > 1:
        small, large = stages[0], stages[-1]
        for clients in options.clients:
            for kind in ("answer", "next"):
                pairs = zip(small.runs[clients], large.runs[clients], strict=True)
                ratios = [b[kind][0] / a[kind][0] for a, b in pairs]
                met &= median(ratios) <= RATIO_GOAL
                print(
                    f"{kind}, p50 at {clients} clients, {large.pool:,} rows to {small.pool:,}: {median(ratios):.2f} "
                    f"({min(ratios):.2f} to {max(ratios):.2f}; goal: at most {RATIO_GOAL})"
                )
    return met


if __name__ == "__main__":
    sys.exit(main())
