"""Projects of a server, as objects: what programs do with them most. `connection` does everything else."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from .connection import Connection, Json, Refused

PART_BYTES = 8 * 2**20
OVER = ("done", "failed", "cancelled")
Told = Callable[[int, int], object]  # how far something is: done, of how many


def _untold(_done: int, _total: int) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int | None

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


@dataclass(frozen=True)
class Question:
    """An image to answer; it is the person's for some minutes. `likely` is `class: mean ± std`, where that is told."""

    candidate: int
    image: int
    name: str
    picture: str
    reason: str
    likely: list[str]


@dataclass(frozen=True)
class Round:
    number: int
    state: str
    accuracy: Interval | None
    done: int
    total: int
    error: str
    json: Json

    @property
    def is_over(self) -> bool:
        return self.state in OVER


@dataclass(frozen=True)
class Prediction:
    """Of an image: `(class, mean, std)`, the likeliest first."""

    image: int
    classes: list[tuple[str, float, float]]


@dataclass(frozen=True)
class NewPrediction:
    """Of an image that is not in the project, by the model of a round: `(class, mean, std)`, the likeliest first, and
    how unsure it is by each measure."""

    round: int
    classes: list[tuple[str, float, float]]
    measures: dict[str, float]
    in_charge: bool  # whether that model is; else the one in charge is not prepared, and the last one answers

    def __str__(self) -> str:
        return ", ".join(f"{name}: {mean:.2f} ± {std:.2f}" for name, mean, std in self.classes)


class PlusMinus:
    """A server, for the person of a token. Both may come from the environment: PLUSMINUS_URL, PLUSMINUS_TOKEN."""

    def __init__(self, url: str = "", token: str = "", *, patience: float = 60.0) -> None:
        url = url or os.environ.get("PLUSMINUS_URL", "http://127.0.0.1:8000")
        self.connection = Connection(url, token or os.environ.get("PLUSMINUS_TOKEN", ""), patience=patience)

    def __enter__(self) -> PlusMinus:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.connection.close()

    def me(self) -> str:
        return str(self.connection.get("/me")["person"]["username"])

    def projects(self) -> list[Project]:
        return [Project(self.connection, row["slug"]) for row in self.connection.pages("/projects")]

    def project(self, slug: str) -> Project:
        """Raises Refused, with the status 404, where there is none for this person."""
        self.connection.get(f"/projects/{slug}")
        return Project(self.connection, slug)

    def make_project(self, name: str, classes: list[str], guidelines: str = "") -> Project:
        made = self.connection.post("/projects", {"name": name, "classes": classes, "guidelines": guidelines})
        return Project(self.connection, made["slug"])


class Project:
    def __init__(self, connection: Connection, slug: str) -> None:
        self.connection, self.slug = connection, slug
        self._root = f"/projects/{slug}"
        self._classes: dict[str, int] | None = None

    def about(self) -> Json:
        found: Json = self.connection.get(self._root)
        return found

    def change_learning(self, **values: Any) -> Json:
        """Settings by their names, such as `retrain_every=20`."""
        found: Json = self.connection.patch(f"{self._root}/learning", values)
        return found

    def classes(self) -> dict[str, int]:
        """The id of each class that is offered, by its name."""
        if self._classes is None:
            rows = self.connection.pages(f"{self._root}/classes", limit=500)
            self._classes = {row["name"]: row["id"] for row in rows}
        return self._classes

    # --- In -----------------------------------------------------------------------------------------------------------

    def import_file(self, path: str | Path, *, told: Told = _untold, wait: bool = True) -> Json:
        """Upload a file (an archive, an image, an .npz) and wait until its images are in. Raises Refused.

        `told` hears of bytes, then of images. The reply counts what was added, doubled and refused.
        """
        path = Path(path)
        job = self.connection.post(f"{self._root}/imports")["id"]
        with path.open("rb") as file:
            self._upload(job, path.name, file, path.stat().st_size, told)
        found: Json = self.connection.post(f"{self._root}/imports/{job}/finish")
        while wait and found["state"] not in OVER:
            time.sleep(0.5)
            found = self.connection.get(f"{self._root}/imports/{job}")
            told(found["done"], found["total"])
        if found["state"] == "failed":
            raise Refused(409, {"detail": found["error"]})
        return found

    def _upload(self, job: int, name: str, file: BinaryIO, size: int, told: Told) -> None:
        address, offset = f"{self._root}/imports/{job}/files", 0
        while offset < size or offset == size == 0:
            file.seek(offset)
            try:
                reply = self.connection.put_bytes(address, file.read(PART_BYTES), name=name, size=size, offset=offset)
                offset = reply["received"]
            except Refused as refused:
                if refused.status != 409 or "received" not in refused.problem:
                    raise
                offset = refused.problem["received"]  # a part that was sent again was there already
            told(offset, size)
            if size == 0:
                return

    def refusals(self, job: int) -> Iterator[Json]:
        """Files of an import that did not become images, by name, with the reason."""
        return self.connection.pages(f"{self._root}/imports/{job}/refusals", limit=500)

    def take_labels(self, job: int, *, as_classes: bool = True, as_answers: bool = False) -> None:
        """What came with the images (folders, an .npz): make classes of the names, take the labels as answers."""
        for wanted, take in ((as_classes, "classes"), (as_answers, "answers")):
            if wanted:
                self.connection.post(f"{self._root}/imports/{job}/labels", {"take": take})
        self._classes = None

    # --- Labelling ----------------------------------------------------------------------------------------------------

    def questions(self, want: int = 1, holding: list[int] | None = None) -> list[Question]:
        """Lease what to answer next; empty: there is nothing now."""
        found = self.connection.post(f"{self._root}/queue/next", {"want": want, "holding": holding or []})
        names = Question.__dataclass_fields__
        return [Question(**{name: item[name] for name in names}) for item in found["items"]]

    def picture(self, image: int) -> bytes:
        return self.connection.bytes_of(f"{self._root}/images/{image}/picture")

    def answer(
        self, question: Question, *, label: str = "", outcome: str = "label", seconds: float | None = None
    ) -> uuid.UUID:
        """Answer with a class by its name, or with the outcome `skip`, `unsure` or `bad_image`. Returns its key."""
        key = uuid.uuid4()
        body: Json = {"key": str(key), "image": question.image, "candidate": question.candidate, "outcome": outcome}
        if outcome == "label":
            body["label_class"] = self.classes()[label]
        if seconds is not None:
            body["seconds"] = seconds
        self.connection.post(f"{self._root}/answers", body)
        return key

    def undo(self, key: uuid.UUID) -> None:
        self.connection.post(f"{self._root}/answers/{key}/undo", {"key": str(uuid.uuid4())})

    def images(self, **narrowed: Any) -> Iterator[Json]:
        """By `state`, `label` (an id), `holdout` (yes or no), `name`."""
        return self.connection.pages(f"{self._root}/images", **narrowed)

    def labels(self) -> Iterator[Json]:
        return self.connection.pages(f"{self._root}/labels", limit=500)

    def offered(self, image: int) -> str | None:
        """The label that came with an image; for managers."""
        found: str | None = self.connection.get(f"{self._root}/images/{image}")["offered_label"]
        return found

    # --- Rounds -------------------------------------------------------------------------------------------------------

    def start_round(self) -> Round:
        return _round(self.connection.post(f"{self._root}/rounds"))

    def round(self, number: int) -> Round:
        return _round(self.connection.get(f"{self._root}/rounds/{number}"))

    def newest_round(self) -> Round | None:
        items = self.connection.get(f"{self._root}/rounds", limit=1)["items"]
        return _round(items[0]) if items else None

    def watch(self, number: int, told: Callable[[Round], object] = lambda _: None, *, pause: float = 1.0) -> Round:
        """Wait until a round is over."""
        while True:
            found = self.round(number)
            told(found)
            if found.is_over:
                return found
            time.sleep(pause)

    def learn(self, told: Callable[[Round], object] = lambda _: None) -> Round:
        """Start a round, or take the one that runs, and wait until it is over.

        A round gives way where another begins on something better meanwhile (it is cancelled): then that one counts.
        """
        try:
            number = self.start_round().number
        except Refused as refused:
            newest = self.newest_round()
            if refused.status != 409 or newest is None or newest.is_over:
                raise
            number = newest.number
        while True:
            found = self.watch(number, told)
            newest = self.newest_round()
            if found.state != "cancelled" or newest is None or newest.number == number:
                return found
            number = newest.number

    def predictions(self, round_number: int = 0, top: int = 5) -> Iterator[Prediction]:
        """What a round says of each image (0: the one in charge)."""
        for row in self.connection.pages(f"{self._root}/predictions", round=round_number, top=top, limit=500):
            yield Prediction(row["image"], [(each["name"], each["mean"], each["std"]) for each in row["classes"]])

    # --- New images ---------------------------------------------------------------------------------------------------

    def prepare(self, round_number: int = 0, told: Told = _untold) -> int:
        """Have a model made ready for new images (0: the one in charge) and wait for it; what failed before is begun
        anew. Returns its round. Raises Refused, with the server's words, where it fails."""
        number = round_number or self.connection.get(f"{self._root}/model")["round"]
        if number is None:
            raise Refused(409, {"detail": "No model is in charge yet. The first round that learns makes one."})
        address = f"{self._root}/rounds/{number}/prepare"
        job = self.connection.post(f"{address}?again=true")
        while job["state"] not in OVER:
            time.sleep(1)
            job = self.connection.get(address)
            told(int(job["state"] == "done"), 1)
        if job["state"] != "done":
            raise Refused(409, {"detail": job["error"] or f"It was {job['state']}."})
        return int(number)

    def predict(self, image: str | Path | bytes) -> NewPrediction:
        """What the prepared model says of an image that is not in the project. Nothing of it is kept there."""
        data = image if isinstance(image, bytes) else Path(image).read_bytes()
        found = self.connection.post_bytes(f"{self._root}/predict", data)
        classes = [(each["name"], each["mean"], each["std"]) for each in found["classes"]]
        measures = {each["name"]: each["value"] for each in found["measures"]}
        return NewPrediction(found["round"], classes, measures, found["in_charge"])

    def predict_archive(
        self,
        archive: str | Path,
        path: str | Path,
        *,
        format: str = "csv",  # noqa: A002
        told: Told = _untold,
    ) -> Json:
        """Ask about all images of an archive, and keep the table (csv or jsonl) at `path`."""
        archive = Path(archive)
        sent = {"archive": (archive.name, archive.read_bytes())}
        job: Json = self.connection.post_form(f"{self._root}/archives", {"format": format}, **sent)
        address = f"{self._root}/archives/{job['id']}"
        while job["state"] not in OVER:
            time.sleep(0.5)
            job = self.connection.get(address)
            told(job["done"], job["total"])
        if job["state"] != "done":
            raise Refused(409, {"detail": job["error"] or f"It was {job['state']}."})
        self._keep(f"{address}/file", Path(path))
        return job

    # --- Out ----------------------------------------------------------------------------------------------------------

    def export(self, path: str | Path, *, format: str = "csv", unlabelled: bool = False, told: Told = _untold) -> Path:  # noqa: A002
        """Ask for a file with all labels, wait for it and keep it at `path`."""
        body = {"format": format, "images": "all" if unlabelled else "labelled"}
        job = self.connection.post(f"{self._root}/exports", body)
        address = f"{self._root}/exports/{job['id']}"
        while job["state"] not in OVER:
            time.sleep(0.5)
            job = self.connection.get(address)
            told(job["done"], job["total"])
        if job["state"] != "done":
            raise Refused(409, {"detail": job["error"] or f"The export was {job['state']}."})
        return self._keep(f"{address}/file", Path(path))

    def model(self, round_number: int, path: str | Path) -> Path:
        """The weights and settings of a round's model, as a zip."""
        return self._keep(f"{self._root}/rounds/{round_number}/model", Path(path))

    def _keep(self, address: str, path: Path) -> Path:
        """Under another name until it is whole."""
        part = path.with_name(f".{path.name}.part")
        with self.connection.download(address) as reply, part.open("wb") as file:
            for piece in reply.iter_bytes():
                file.write(piece)
        part.replace(path)
        return path


def _round(row: Json) -> Round:
    measured, progress = row["accuracy"], row["progress"] or {"done": 0, "total": 0}
    accuracy = Interval(measured["value"], measured["low"], measured["high"], measured["n"]) if measured else None
    return Round(row["number"], row["state"], accuracy, progress["done"], progress["total"], row["error"], row)
