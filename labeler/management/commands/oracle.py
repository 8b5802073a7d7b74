"""Simulated annotators for a newcomer, a test or a benchmark to watch the loop run."""

import fcntl
import math
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import islice
from typing import Any

import httpx
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from labeler.models import OfferedLabel, Project
from labeler.oracle import CannotAnswer, Oracle, Tally, percentiles
from labeler.services.people import make_simulated

MOST_ANNOTATORS = 256


class Command(BaseCommand):
    help = (
        "Answer from the known labels through the real pages, as simulated annotators. Needs a running server "
        "(make demo, make up) and images whose labels are known (imported from class folders or an .npz)."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project", help="the project's address name, such as digits")
        parser.add_argument("--annotators", type=int, default=3)
        parser.add_argument("--rate", type=float, default=2.0, help="answers a second of each; 0: as fast as it goes")
        parser.add_argument("--error", type=float, default=0.0, help="share of wrong answers, 0 to 1")
        parser.add_argument("--answers", type=int, default=0, help="stop after so many in all (0: go on)")
        parser.add_argument("--url", default="", help="default: the server that runs on this data folder")
        parser.add_argument("--seed", type=int, default=0)

    def handle(self, *args: Any, **options: Any) -> None:
        project = self._project(options["project"])
        if not 0 <= options["error"] <= 1 or not 0 <= options["rate"] < math.inf:
            raise CommandError("--error is from 0 to 1, and --rate a number from 0 on.")
        if not 1 <= options["annotators"] <= MOST_ANNOTATORS or options["answers"] < 0:
            raise CommandError(f"--annotators is from 1 to {MOST_ANNOTATORS}, and --answers from 0 on (0: go on).")
        self.tally, self.is_stopping = Tally(limit=options["answers"]), threading.Event()
        with ExitStack() as self.taken:
            oracles = self._oracles(project, options)
            begin = time.monotonic()
            self._run(oracles)
        self._sum_up(time.monotonic() - begin)

    def _oracles(self, project: Project, options: dict[str, Any]) -> list[Oracle]:
        truth, class_ids = self._truth(project)
        url = self._running_server(options["url"])
        return [
            Oracle(
                url=url,
                slug=project.slug,
                username=username,
                password=password,
                truth=truth,
                class_ids=class_ids,
                rate=options["rate"],
                error=options["error"],
                seed=options["seed"] * MOST_ANNOTATORS + number - 1,  # no two runs share an annotator
                tally=self.tally,
                go_on=self._go_on,
            )
            for number, (username, password) in self._people(project, options["annotators"])
        ]

    def _run(self, oracles: list[Oracle]) -> None:
        threads = [threading.Thread(target=self._guarded, args=(oracle,), daemon=True) for oracle in oracles]
        for thread in threads:
            thread.start()
        with tqdm(total=self.tally.limit or None, unit=" answers", desc="Answering") as bar:
            try:
                while any(thread.is_alive() for thread in threads):
                    time.sleep(0.2)
                    bar.update(self.tally.answers - bar.n)
            except KeyboardInterrupt:
                self.is_stopping.set()
            bar.update(self.tally.answers - bar.n)
        with suppress(KeyboardInterrupt):  # pressed once more: what was done is summed up all the same
            for thread in threads:
                thread.join(timeout=5)

    def _guarded(self, oracle: Oracle) -> None:
        try:
            oracle.run()
        except (CannotAnswer, httpx.HTTPError) as error:
            self.tally.add("errors", f"{oracle.username}: {error}")

    def _go_on(self) -> bool:
        return not self.is_stopping.is_set()

    def _project(self, slug: str) -> Project:
        project = Project.objects.filter(slug=slug).first()
        if project is None:
            known = ", ".join(Project.objects.values_list("slug", flat=True)[:20]) or "none yet: make demo makes one"
            raise CommandError(f"There is no project “{slug}”. Known: {known}.")
        return project

    def _truth(self, project: Project) -> tuple[dict[int, int], list[int]]:
        classes = {row.name.casefold(): row.pk for row in project.classes.filter(is_archived=False)}
        offered = OfferedLabel.objects.filter(image__project=project).values_list("image_id", "class_name")
        truth = {image: classes[name.casefold()] for image, name in offered.iterator() if name.casefold() in classes}
        if not truth:
            raise CommandError(
                f"No image of “{project.slug}” has a known label that is one of its classes. Import images from class "
                "folders or an .npz, and give the classes the folders' names."
            )
        return truth, list(classes.values())

    def _running_server(self, url: str) -> str:
        address = settings.DATA_DIR / "address"
        if not url and not address.exists():
            raise CommandError("No server runs on this data folder. Start one (make demo, make up), or give --url.")
        url = url or address.read_text().strip()
        try:
            httpx.get(f"{url}/health", timeout=10)
        except httpx.HTTPError as error:
            raise CommandError(f"The server at {url} does not answer ({error}).") from error
        return url.rstrip("/")

    def _people(self, project: Project, count: int) -> list[tuple[int, tuple[str, str]]]:
        """By their numbers: the first ones that no other run on this data folder uses."""
        numbers = list(islice(self._free_numbers(), count))
        if len(numbers) < count:
            raise CommandError(
                f"Other runs use so many of the {MOST_ANNOTATORS} simulated annotators that {count} more are not left. "
                "End one of them, or take fewer annotators."
            )
        try:
            return list(zip(numbers, make_simulated(project=project, numbers=numbers), strict=True))
        except ValidationError as error:
            raise CommandError(error.message) from error

    def _free_numbers(self) -> Iterator[int]:
        """Each is this run's from then on, until it ends, however it does: a new password would sign out the others."""
        folder = settings.DATA_DIR / "oracles"
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, MOST_ANNOTATORS + 1):
            file = (folder / f"oracle-{number}.lock").open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            self.taken.enter_context(file)
            yield number

    def _sum_up(self, seconds: float) -> None:
        tally = self.tally
        lines = [f"{tally.answers:,} answers in {seconds:.0f} s, {tally.answers / max(seconds, 1e-9):.1f} a second"]
        for words, values in [
            ("answer", tally.answer_seconds),
            ("next", tally.next_seconds),
            ("image", tally.image_seconds),
        ]:
            if (both := percentiles(values)) is not None:
                lines.append(f"{words:7} p50 {both[0]:.0f} ms, p95 {both[1]:.0f} ms")
        lines.append(
            f"wrong on purpose {tally.wrong_on_purpose:,}, unsure {tally.unsure:,}, sent again {tally.retries:,}"
        )
        lines.append(f"errors {len(tally.errors):,}" + "".join(f"\n  {words}" for words in tally.errors[:10]))
        self.stdout.write("\n".join(lines))
        if tally.errors:
            raise CommandError("Not all went well.")
