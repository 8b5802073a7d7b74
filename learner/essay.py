"""The worked example that the product comes from: a small perceptron, and two ways to ask how sure it is.

A network is trained on all labelled images (784-256-64-10 on MNIST, Adam at 0.001, 5 epochs, minibatches of 512). Then
the same weights are asked twice: with 100 dropout masks, and with 100 samples of a Laplace approximation over all
weights (of the last layer alone where there are too many; the page says so). What comes out is a page of pictures
(`learner.pages`), and numbers about images that were kept for testing.
"""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from learner.config import Report, RoundConfig
from learner.errors import ConfigError, DivergedError
from learner.folder import Collection
from learner.metrics import Interval, Metrics, metrics, separation_interval
from learner.pool import Pool, describe
from learner.seeds import derive

if TYPE_CHECKING:
    from torch import Tensor

    from learner.fit import Fitted

EPOCHS, BATCH, RATE = 5, 512, 1e-3
LEAST_STEPS = 500  # small sources are gone over more often: 5 epochs of MNIST are 590 steps


@dataclass(frozen=True)
class Asked:
    """What one way of asking says about T test images.

    Args:
        name: Of the way, for people.
        mean_probs_T_C: float32.
        std_probs_T_C: float32, over the K samples.
        logit_stds_T_C: float32, of the logits, as the essay takes them.
        measures: By name, float32 `[T]`; see `learner.uncertainty`. And `"logit_std_entropy"`.
        metrics: Against the known labels.
        separations: By measure, how well it tells wrong predictions from right ones (AUROC); None: none is wrong.
        seconds: To take the approximation, and to predict the T images.
        notes: What people should know of it: where it is not what its name says.
    """

    name: str
    mean_probs_T_C: npt.NDArray[np.float32]
    std_probs_T_C: npt.NDArray[np.float32]
    logit_stds_T_C: npt.NDArray[np.float32]
    measures: dict[str, npt.NDArray[np.float32]]
    metrics: Metrics
    separations: dict[str, Interval | None]
    seconds: tuple[float, float]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class EssayRun:
    """The run as a whole: T test images with their labels, and what each way says of them."""

    pixels_T_C_H_W: npt.NDArray[np.uint8]
    labels_T: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    trained_on: int
    training_seconds: float
    asked: tuple[Asked, ...]


def run_essay(
    collection: Collection,
    train: npt.NDArray[np.int64],
    test: npt.NDArray[np.int64],
    *,
    posterior_samples: int,
    seed: int,
    report: Report,
) -> EssayRun:
    """Train the network and ask it both ways.

    Args:
        collection: Images with known labels.
        train: int64 positions to learn from.
        test: int64 positions to ask about.
        posterior_samples: K.
        seed: Of all chance.
        report: Called with the phases `"train"`, `"curvature"` and `"ask"`.

    Raises:
        ConfigError: If these are feature vectors: there would be nothing to look at.
        DivergedError: If the loss stops being finite.
    """
    from learner.estimators.laplace import Laplace
    from learner.estimators.mc_dropout import MCDropout

    pool, labels = Pool(collection.chunks), collection.labels
    if len(pool.shape) == 1:
        raise ConfigError(f"the essay shows images, and these are {describe(pool.shape)}; give it images")
    config = RoundConfig(
        n_classes=len(collection.class_names),
        architecture="mlp",
        posterior_samples=posterior_samples,
        laplace_prior="marginal_likelihood",
        seed=seed,
        device="cpu",
    )
    started = time.perf_counter()
    fitted = train_as_the_essay(pool, train, labels[train], config, report)
    trained = time.perf_counter() - started
    pixels = pool.inputs(test)
    started = time.perf_counter()
    dropout = MCDropout.around(fitted, pool, config)
    taken = time.perf_counter() - started
    asked = [_ask("MC dropout", dropout, pixels, labels[test], taken, report)]
    started = time.perf_counter()
    laplace = Laplace.around(fitted, pool, train, labels[train], config, report)
    taken = time.perf_counter() - started
    said = _ask("Laplace", laplace, pixels, labels[test], taken, report)
    asked.append(replace(said, notes=tuple(laplace.saved["notes"])))
    return EssayRun(pixels, labels[test], collection.class_names, len(train), trained, tuple(asked))


def train_as_the_essay(
    pool: Pool,
    positions: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    config: RoundConfig,
    report: Report,
) -> Fitted:
    """Plain Adam and cross entropy over shuffled epochs, with dropout, without augmentation.

    Raises:
        DivergedError: If the loss stops being finite.
    """
    import torch
    from torch.nn import functional

    from learner.fit import Fitted, input_statistics
    from learner.network import build

    started = time.perf_counter()
    mean, std = input_statistics(pool, positions, config.seed)
    generator = torch.Generator().manual_seed(derive(config.seed, "essay"))
    network = build(
        config.architecture, pool.shape, config.n_classes, input_mean=mean, input_std=std, generator=generator
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    epoch = -(-len(positions) // BATCH)
    epochs, losses = max(EPOCHS, -(-LEAST_STEPS // epoch)), []
    total = epochs * epoch
    for _ in range(epochs):
        order = torch.randperm(len(positions), generator=generator).numpy()
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            masks = network.head.draw_masks(len(rows), generator)
            loss = functional.cross_entropy(
                network(torch.from_numpy(pool.inputs(positions[rows])), masks), torch.from_numpy(labels[rows])
            )
            losses.append(float(loss.detach()))
            if not np.isfinite(losses[-1]):
                raise DivergedError(f"the training diverged at step {len(losses)}: look at the images and labels")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            report("train", len(losses), total)
    return Fitted(network, mean, std, total, float(np.mean(losses[-10:])), time.perf_counter() - started)


def _ask(
    name: str, estimator: object, pixels: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], taken: float,
    report: Report,
) -> Asked:  # fmt: skip
    import torch

    from learner.uncertainty import measure, std_entropy_of, summarise

    started = time.perf_counter()
    columns: dict[str, list[Tensor]] = {}
    step = estimator.minibatch  # type: ignore[attr-defined]
    for start in range(0, len(pixels), step):
        with torch.inference_mode():
            logits_M_K_C = logits_of(estimator, pixels[start : start + step])
            summary, logit_stds = summarise(logits_M_K_C.log_softmax(2)), logits_M_K_C.std(1, correction=0)
            values = {
                "mean": summary.mean_probs_N_C,
                "std": summary.std_probs_N_C,
                "logit_std": logit_stds,
                "logit_std_entropy": std_entropy_of(logit_stds),
                **measure(summary),
            }
        for key, value in values.items():
            columns.setdefault(key, []).append(value)
        report("ask", min(start + step, len(pixels)), len(pixels))
    arrays = {key: torch.cat(parts).numpy() for key, parts in columns.items()}
    mean, std, logit_std = (arrays.pop(key) for key in ("mean", "std", "logit_std"))
    is_wrong = mean.argmax(1) != labels
    return Asked(
        name=name,
        mean_probs_T_C=mean,
        std_probs_T_C=std,
        logit_stds_T_C=logit_std,
        measures=arrays,
        metrics=metrics(mean, labels),
        separations={key: separation_interval(scores, is_wrong) for key, scores in arrays.items()},
        seconds=(taken, time.perf_counter() - started),
    )


def logits_of(estimator: object, pixels_M_C_H_W: npt.NDArray[np.uint8]) -> Tensor:
    """What goes into the softmax, `logits_M_K_C`: the essay takes its deviations there."""
    from learner.estimators.laplace import Laplace, inputs_of
    from learner.estimators.mc_dropout import MCDropout

    if isinstance(estimator, Laplace):
        pixels = estimator.network.tensor_of(pixels_M_C_H_W)
        inputs = inputs_of(estimator.network, pixels, len(estimator.factors))
        return estimator.sampled.logits(inputs).permute(2, 0, 1)
    assert isinstance(estimator, MCDropout)
    network = estimator.network
    return estimator.folded.logits(inputs_of(network, network.tensor_of(pixels_M_C_H_W), 2)).permute(2, 0, 1)
