"""A round once more, from its seed, its configuration and the files that it kept: the same bytes, or what differs.

On a CPU the same request gives the same bits, with the same number of threads, version of torch and kind of processor;
those are taken from the round where they can be chosen, and named where they cannot.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labeler.learning.files import CannotLearn, folder_of, in_words
from labeler.learning.kept import chunks_as_they_were, graph_as_it_was, read_training
from labeler.learning.pool import cannot_derive
from labeler.learning.requests import learner_config, training_digest
from labeler.models import Rerun, Round
from labeler.told import Told, keep, told

if TYPE_CHECKING:
    from learner.pool import Chunk as PixelChunk
    from learner.round import FitResult

Report = Callable[[int, int], None]
MOST_NAMED = 10  # files that differ
SURROUNDINGS: dict[str, Callable[..., Told]] = {
    "torch": lambda then, now: told("Another version of torch: %(then)s then, %(now)s now.", then=then, now=now),
    "processor": lambda then, now: told(
        "Other instructions of the processor: %(then)s then, %(now)s now.", then=then, now=now
    ),
}


def rerun(job: Rerun, report: Report) -> dict[str, Any]:
    """For a job. Raises CannotDerive."""
    with cannot_derive():
        return run_again(job.round, report)


def run_again(round_: Round, report: Report) -> dict[str, Any]:
    """Fit and score in a folder of its own, and compare with what the round has. Raises CannotLearn, naming what is
    gone; what differs is the result, as JSON.

    `training` says whether what the round learned from is as it was; if not, nothing is run.
    """
    began = time.monotonic()
    then = round_.metrics.get("fit", {})
    if "threads" not in then:
        raise CannotLearn(
            told(
                "Round %(number)s did not note what its bits depend on, so it cannot be run again.",
                number=str(round_.number),
            )
        )
    kept = read_training(round_)
    if training_digest(kept.training, kept.open_to, round_.config, round_.seed) != round_.training_digest:
        return {"is_equal": False, "training": False}
    with in_words(), ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        chunks = chunks_as_they_were(round_, scratch, stack)
        graph = graph_as_it_was(round_, stack)
        from learner.config import RoundRequest
        from learner.fit import choose_device

        config = learner_config(round_.config, seed=round_.seed)
        if str(choose_device(config.device)) != then["device"]:  # "auto" has another meaning here
            config = replace(config, device=then["device"])
        request = RoundRequest(
            chunks=chunks,
            train_positions=kept.training.positions,
            train_labels=kept.training.labels,
            config=config,
            directory=scratch / "round",
            graph=graph,
            propagate_to=kept.open_to,
            rejected=kept.training.rejected,
        )
        with _threads(then["threads"]):
            fitted = _fit_and_score(request, report)
        return {**_compared(round_, fitted, request.directory, chunks), "seconds": round(time.monotonic() - began, 1)}


def _fit_and_score(request: Any, report: Report) -> FitResult:
    from learner.round import fit as fit_model
    from learner.scoring import Scorer

    total, before = sum(chunk.count for chunk in request.chunks), 0
    fitted = fit_model(request, lambda *_: report(0, total))
    scorer = Scorer(request.directory)
    for chunk in request.chunks:
        scorer.score(chunk, lambda _phase, done, _n, before=before: report(before + done, total))  # type: ignore[misc]
        before += chunk.count
    return fitted


def _compared(round_: Round, fitted: FitResult, directory: Path, chunks: tuple[PixelChunk, ...]) -> dict[str, Any]:
    import torch

    from learner.model import MODEL_FILE
    from learner.scores import score_path

    old, then = folder_of(round_), round_.metrics["fit"]
    weights = [name for name in fitted.files if name != MODEL_FILE]
    scores = [str(score_path(directory, chunk.number).relative_to(directory)) for chunk in chunks]
    differing = [name for name in (*weights, *scores) if not _is_same(old / name, directory / name)]
    now = {"torch": torch.__version__, "processor": torch.backends.cpu.get_cpu_capability()}
    return {
        "is_equal": fitted.model_digest == then["model_digest"] and not differing,
        "training": True,
        "images": _training_digest(old / MODEL_FILE) == fitted.training_digest,
        "digest": fitted.model_digest,
        "digest_then": then["model_digest"],
        "weights": len(weights),
        "scores": len(scores),
        "differing": differing[:MOST_NAMED],
        "n_differing": len(differing),
        "missing": [name for name in differing if not (old / name).exists()][:MOST_NAMED],
        "largest": _largest_difference(old, directory, [chunk.number for chunk in chunks]) if differing else 0.0,
        "surroundings": [
            keep(made(then[name], now[name])) for name, made in SURROUNDINGS.items() if then[name] != now[name]
        ],
        "device": then["device"],
        "threads": then["threads"],
    }


def _is_same(one: Path, other: Path) -> bool:
    """Byte by byte."""
    try:
        if one.stat().st_size != other.stat().st_size:
            return False
        with one.open("rb") as first, other.open("rb") as second:
            while block := first.read(1 << 20):
                if block != second.read(1 << 20):
                    return False
    except FileNotFoundError:
        return False
    return True


def _training_digest(path: Path) -> str:
    """Of labels and images, as the learner wrote it down with the model. Empty: there is none any more."""
    try:
        return str(json.loads(path.read_text())["training_digest"])
    except (OSError, ValueError, KeyError):
        return ""


def _largest_difference(old: Path, new: Path, numbers: list[int]) -> float | None:
    """Of all mean probabilities; None where they cannot be compared."""
    from learner.errors import ArtifactError
    from learner.scores import read_scores

    largest = 0.0
    try:
        for number in numbers:
            one, other = (read_scores(folder, [number], "mean_probs_N_C").astype(float) for folder in (old, new))
            largest = max(largest, float(abs(one - other).max(initial=0.0)))
    except (ArtifactError, ValueError):
        return None
    return largest


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """torch's, as many as the round had: with others sums are made in another order."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
