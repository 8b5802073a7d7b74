"""What a round is asked to do: plain numbers and names, checked when they are made, stored with what they produced."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from learner.errors import ConfigError, LabelError, check_known
from learner.pool import Chunk, Shape

IMAGE_ARCHITECTURES = ("cnn", "gal_cnn", "mlp")
"""Networks that take pixels."""

FEATURE_ARCHITECTURES = ("head", "mlp")
"""Networks that take feature vectors."""

ARCHITECTURES = tuple(sorted({*IMAGE_ARCHITECTURES, *FEATURE_ARCHITECTURES}))
"""Networks of a round."""

FULL_ARCHITECTURES = ("deep_cnn",)
"""Networks that take pixels and minutes: `learner.distillation` trains them, and no round does."""

ESTIMATORS = ("bootstrap", "ensemble", "gaussian_process", "laplace", "mc_dropout", "swag")
"""Names that `learner.estimators.estimator_class` knows."""

LAPLACE_PRIORS = ("initial_weights", "marginal_likelihood")
"""Names that `learner.estimators.laplace.prior_precisions` knows."""

OWN_MEASURES = (
    "predictive_entropy",
    "expected_entropy",
    "mutual_information",
    "variation_ratio",
    "mean_std",
    "margin",
    "least_confidence",
    "std_entropy",
)
"""Names that `learner.uncertainty.measure` returns: of an image by itself. They cost next to nothing."""

MEASURES = (*OWN_MEASURES, "epig")
"""All measures. Each is larger where an answer is worth more. EPIG asks how much an answer tells about other images; it
costs as much as the rest of scoring together, and more with the square of the classes, so that a round computes it only
if it is told to (`RoundConfig.measures`)."""

WAYS = ("power", "soft_rank", "softmax", "top", "random")
"""Names that `learner.acquisition.rank` knows: how an order comes of one score an image."""

HERDING = "herding"
"""A way that chooses a batch as a whole and goes by a measure all the same; see `learner.acquisition.herding`."""

BATCH_ACQUISITIONS = {
    "batchbald": "mutual_information",
    "badge": "predictive_entropy",
    "k_centre": "predictive_entropy",
    "typicality": "predictive_entropy",
}
"""Acquisition functions that choose a batch as a whole, each with the measure that its candidates are shown with."""

ACQUISITIONS = (
    "random",
    *(
        f"{how}_{name}"
        for how in (*WAYS, HERDING)
        for name in MEASURES
        if how != "random" and name != "expected_entropy"
    ),
    *BATCH_ACQUISITIONS,
)
"""Names that `split_acquisition` knows. None goes by the expected entropy: it is high where the data are noisy, and
asking there teaches nothing."""

MOST_TARGET_FLOATS = 2**27
"""Numbers that EPIG's targets may need: half a GiB in single precision."""

MOST_EPIG_PRODUCTS = 2**30
"""Multiplications that EPIG may need for one image: some hundredths of a second on one core. With the defaults that is
327 classes."""

MLP_INPUTS = 28 * 28
"""Pixels up to which a perceptron learns at the rate of the convolutional networks."""

DEVICES = ("auto", "cpu", "cuda", "mps")

Report = Callable[[str, int, int], None]
"""Called as `report(phase, done, total)` through all work, often up to a hundred times a second and, unless a single
step is slower, at least once a second. It should be quick (throttle what is slow inside it). Whatever it raises aborts
the work at once and reaches the caller: that is how a round is cancelled."""


def split_acquisition(name: str) -> tuple[str, str]:
    """How an acquisition function chooses, one of `WAYS`, `HERDING` or one of `BATCH_ACQUISITIONS`, and a measure.

    It goes by that measure, or only shows it beside its candidates: `random` and all but BatchBALD of those that choose
    a batch as a whole look at no measure.

    Raises:
        UnknownNameError: If the name is not known.

    >>> split_acquisition("soft_rank_mutual_information"), split_acquisition("random")
    (('soft_rank', 'mutual_information'), ('random', 'predictive_entropy'))
    """
    check_known("acquisition function", name, ACQUISITIONS)
    if name in BATCH_ACQUISITIONS:
        return name, BATCH_ACQUISITIONS[name]
    if name == "random":
        return "random", "predictive_entropy"
    how = next(each for each in (*WAYS, HERDING) if name.startswith(f"{each}_"))
    return how, name.removeprefix(f"{how}_")


def is_of_a_whole(name: str) -> bool:
    """Whether an acquisition function chooses a batch as a whole, so that it needs images and model.

    >>> is_of_a_whole("batchbald"), is_of_a_whole("herding_margin"), is_of_a_whole("power_margin")
    (True, True, False)
    """
    how = split_acquisition(name)[0]
    return how == HERDING or how in BATCH_ACQUISITIONS


def ignore(_phase: str, _done: int, _total: int) -> None:
    """A report that does nothing."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. The defaults are what `docs/benchmarks.md` measures.

    Raises:
        ConfigError: If a number is out of its range.
    """

    steps: int | None = None  # optimiser steps; None: 500 up to 200 labels, then with the root of their number to 4,000
    batch: int = 64  # images a step, drawn with replacement
    learning_rate: float | None = None  # the peak of the one-cycle schedule; None: see `rate_for`
    weight_decay: float = 1e-2  # AdamW's, decoupled
    label_smoothing: float = 0.05  # keeps a fit on ten images from being sure of everything
    balance: float = 0.5  # 0 draws images alike, 1 draws classes alike; between: class weight = share ** (1 - balance)
    rotation: float = 20.0  # degrees either way
    scale: float = 0.2  # relative, either way
    shear: float = 0.3  # tangent, either way
    shift: float = 0.12  # share of the side, either way
    light: float = 0.0  # contrast and each channel's brightness, in deviations of the images, either way
    cutout: float = 0.0  # side of a square that is covered, as a share of the image's
    unlabelled: int = 0  # images without a label a step, see learner.consistency

    def __post_init__(self) -> None:
        _check(self.steps is None or 1 <= self.steps <= 1_000_000, "steps", self.steps, "1 to 1,000,000 or nothing")
        _check(1 <= self.batch <= 65_536, "batch", self.batch, "1 to 65,536")
        rate = self.learning_rate
        _check(rate is None or rate > 0, "learning_rate", rate, "above 0 or nothing")
        for name in ("weight_decay", "rotation", "shear", "light", "unlabelled"):
            _check(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        for name in ("label_smoothing", "scale", "shift", "cutout"):
            _check(0 <= getattr(self, name) < 1, name, getattr(self, name), "from 0 to below 1")
        _check(0 <= self.balance <= 1, "balance", self.balance, "from 0 to 1")

    def steps_for(self, n_labels: int) -> int:
        """Optimiser steps for a number of labelled images.

        >>> Recipe().steps_for(10), Recipe().steps_for(800), Recipe().steps_for(60_000), Recipe(steps=5).steps_for(10)
        (500, 1000, 4000, 5)
        """
        if self.steps is not None:
            return self.steps
        return round(min(4000.0, 500 * math.sqrt(max(1.0, n_labels / 200))))

    def rate_for(self, shape: Shape, architecture: str) -> float:
        """The peak learning rate of an architecture for inputs of some shape.

        8e-3. Vectors are not augmented, so that less is to be learned: 2e-3. A perceptron on images has a weight for
        every pixel, and a step of AdamW moves all of them by the rate: past 28 x 28 grey pixels the rate falls with
        their number, so that a step moves what a neuron puts out no farther (docs/log.md).

        >>> Recipe().rate_for((1, 28, 28), "mlp"), Recipe().rate_for((3, 56, 56), "mlp")
        (0.008, 0.0006666666666666666)
        >>> Recipe().rate_for((3, 56, 56), "cnn"), Recipe().rate_for((128,), "mlp")
        (0.008, 0.002)
        >>> Recipe(learning_rate=0.1).rate_for((3, 56, 56), "mlp")
        0.1
        """
        if self.learning_rate is not None:
            return self.learning_rate
        if len(shape) == 1:
            return 2e-3
        return 8e-3 * min(1.0, MLP_INPUTS / math.prod(shape)) if architecture == "mlp" else 8e-3


@dataclass(frozen=True)
class RoundConfig:
    """Everything that, with the labels and the images, decides what a round produces.

    Raises:
        UnknownNameError: If a name is not known; the message lists the known ones.
        ConfigError: If a number is out of its range.
    """

    n_classes: int  # C
    architecture: str = "cnn"  # see ARCHITECTURES; of a full network FULL_ARCHITECTURES
    estimator: str = "mc_dropout"  # see ESTIMATORS
    acquisition: str = "herding_predictive_entropy"  # see ACQUISITIONS
    coldness: float = (
        8.0  # beta of sampling: 0 is random, infinity is top; for a soft rank about 1, 8 is as good as top
    )
    apart: float = 0.05  # least squared distance of two candidates of a batch, in those of random pairs; 0: any
    epig: bool = False  # compute EPIG though the acquisition function does not go by it
    epig_targets: int = 100  # T, images drawn at random that EPIG wants to know more about
    ignored: int = 0  # so many of the first numbers of a vector are not looked at; a round sets it, see `learner.round`
    posterior_samples: int = 100  # K
    members: int = 5  # S, networks of a bootstrap or an ensemble
    member_dropout: bool = False  # K dropout masks spread over the members; without, each member is one sample
    temperature_scaling: bool = False  # of the members, on answers that each left out
    laplace_prior: str = "initial_weights"  # see LAPLACE_PRIORS
    budget: int = 10  # B, how many candidates a round chooses
    seed: int = 0
    device: str = "auto"  # see DEVICES; "auto" takes CUDA, then MPS, then the CPU
    threads: int | None = None  # torch's threads; for whoever owns the process (command line, worker), never set here
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        check_known("architecture", self.architecture, (*ARCHITECTURES, *FULL_ARCHITECTURES))
        check_known("estimator", self.estimator, ESTIMATORS)
        check_known("prior of Laplace", self.laplace_prior, LAPLACE_PRIORS)
        check_known("acquisition", self.acquisition, ACQUISITIONS)
        check_known("device", self.device, DEVICES)
        _check(2 <= self.n_classes <= 100_000, "n_classes", self.n_classes, "2 to 100,000")
        _check(0 <= self.coldness < float("inf"), "coldness", self.coldness, "0 or more and finite")
        _check(0 <= self.apart < 1, "apart", self.apart, "from 0 to below 1")
        _check(self.ignored >= 0, "ignored", self.ignored, "0 or more")
        _check(1 <= self.epig_targets <= 10_000, "epig_targets", self.epig_targets, "1 to 10,000")
        _check(1 <= self.posterior_samples <= 10_000, "posterior_samples", self.posterior_samples, "1 to 10,000")
        _check(2 <= self.members <= 100, "members", self.members, "2 to 100")
        _check(1 <= self.budget <= 1_000_000, "budget", self.budget, "1 to 1,000,000")
        _check(0 <= self.seed < 2**63, "seed", self.seed, "0 to 2**63 - 1")
        _check(self.threads is None or 1 <= self.threads <= 1024, "threads", self.threads, "1 to 1,024 or nothing")

        if "epig" in self.measures:
            self._check_epig()

    def _check_epig(self) -> None:
        """EPIG compares every class of an image with every class of every target."""
        floats = self.epig_targets * self.posterior_samples * self.n_classes
        costs = (
            ("numbers", floats, MOST_TARGET_FLOATS),
            ("multiplications an image", floats * self.n_classes, MOST_EPIG_PRODUCTS),
        )
        for words, cost, most in costs:
            if cost > most:
                raise ConfigError(
                    f"{self.posterior_samples} posterior samples of {self.n_classes} classes against "
                    f"{self.epig_targets} EPIG targets are {cost:,} {words}, at most {most:,} are allowed: take fewer "
                    "samples or targets, or another measure: mutual_information costs next to nothing"
                )

    @property
    def measures(self) -> tuple[str, ...]:
        """Which of `MEASURES` this round computes."""
        has_epig = self.epig or split_acquisition(self.acquisition)[1] == "epig"
        return MEASURES if has_epig else OWN_MEASURES

    @property
    def model(self) -> str:
        """Estimator and network, as messages name them.

        >>> RoundConfig(n_classes=2, estimator="laplace", architecture="mlp").model
        'laplace of mlp'
        """
        return f"{self.estimator} of {self.architecture}"

    def to_json(self) -> str:
        """This config as JSON text.

        >>> RoundConfig.from_json(RoundConfig(n_classes=10).to_json()) == RoundConfig(n_classes=10)
        True
        """
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The config that `to_json` wrote.

        Raises:
            ConfigError: If the text is no JSON object, a key is unknown, a key is missing, or a value is out of range.
        """
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigError(f"the config is not JSON: {error}") from error
        return cls.from_dict(content)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The config in a mapping, as JSON gives it; raises as `from_json` does."""
        if not isinstance(content, Mapping):
            raise ConfigError("the config is not a JSON object")
        values = dict(content)
        try:
            if "recipe" in values:
                values["recipe"] = Recipe(**_known_keys(Recipe, values["recipe"]))
            return cls(**_known_keys(cls, values))
        except TypeError as error:
            raise ConfigError(f"the config does not fit: {error}") from error


@dataclass(frozen=True)
class RoundRequest:
    """One round to run.

    Args:
        chunks: The pool's files of pixels or features.
        train_positions: int64 `[M]`, positions of the labelled images.
        train_labels: int64 `[M]`, their classes, 0 to C - 1.
        config: What to do.
        directory: Where all files of this round go.
        graph: The pool's, a file that `learner.graph.pool_graph` wrote: labels are passed on by it; None: none are.
        propagate_to: int64, images that may get a label so, such as those that wait for an answer.
        rejected: int64, images that people say show nothing of any class: what hangs together with them gets no label.

    Raises:
        LabelError: If positions and labels differ in length, there are none, all are of one class, a label is outside
            0 to C - 1, or a position occurs twice; if an image with a label is rejected.
    """

    chunks: tuple[Chunk, ...]
    train_positions: npt.NDArray[np.int64]
    train_labels: npt.NDArray[np.int64]
    config: RoundConfig
    directory: Path
    graph: Path | None = None
    propagate_to: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    rejected: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        object.__setattr__(self, "chunks", tuple(self.chunks))
        object.__setattr__(self, "train_positions", np.asarray(self.train_positions, dtype=np.int64))
        object.__setattr__(self, "train_labels", np.asarray(self.train_labels, dtype=np.int64))
        object.__setattr__(self, "directory", Path(self.directory))
        object.__setattr__(self, "propagate_to", np.asarray(self.propagate_to, dtype=np.int64))
        object.__setattr__(self, "rejected", np.asarray(self.rejected, dtype=np.int64))
        check_labels(self.train_positions, self.train_labels, self.config.n_classes)
        if self.config.architecture in FULL_ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise ConfigError(f"{self.config.architecture} takes minutes: no round trains it, but {known}")
        if len(both := np.intersect1d(self.rejected, self.train_positions)):
            raise LabelError(f"image {both[0]} has a label and is rejected")
        seen = np.unique(self.train_labels)
        if len(seen) == 1:
            n = len(self.train_labels)
            what = "there is one label to learn from" if n == 1 else f"all {n} labels to learn from are of one class"
            raise LabelError(
                f"{what}: a model needs at least two classes; answer images of another class ({self.config.model})"
            )


def check_labels(
    positions: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], n_classes: int, kind: str = "training"
) -> None:
    """Refuse labels that do not fit their images.

    Args:
        positions: int64 `[n]`.
        labels: int64 `[n]`.
        n_classes: C.
        kind: What the labels are for, to say so in the message.

    Raises:
        LabelError: If there are none, the lengths differ, a label is outside 0 to C - 1, or a position occurs twice.
    """
    if positions.ndim != 1 or positions.shape != labels.shape:
        raise LabelError(f"{kind} positions and labels differ: {list(positions.shape)} and {list(labels.shape)}")
    if not len(labels):
        raise LabelError(f"there are no {kind} labels yet")
    if labels.min() < 0 or labels.max() >= n_classes:
        raise LabelError(f"{kind} labels go from {labels.min()} to {labels.max()}, expected 0 to {n_classes - 1}")
    if len(np.unique(positions)) != len(positions):
        raise LabelError(f"an image occurs twice among the {kind} labels")


def _known_keys(cls: type, values: object) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{cls.__name__} is not a JSON object")
    names = [each.name for each in fields(cls)]
    for key in values:
        check_known(f"setting of {cls.__name__}", str(key), names)
    return dict(values)


def _check(is_fine: bool, name: str, value: object, expected: str) -> None:
    if not is_fine:
        raise ConfigError(f"{name} is {value}, expected {expected}")
