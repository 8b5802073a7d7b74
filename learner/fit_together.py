"""Train several networks of linear layers at once: one batched product where the plain loop has S small ones.

Each network keeps its own random stream, images, statistics and loss; the gradient of the sum of the losses is that of
each, and AdamW works weight by weight. So it is the plain loop over `learner.fit.fit_network`, up to rounding.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from learner.config import Report
from learner.errors import DivergedError
from learner.fit import Fitted, Minibatches, diverged, fitted_from, optimisation
from learner.network import linear_layers


def fit_together(members: Sequence[Minibatches], steps: int, rate: float, report: Report) -> list[Fitted]:
    """Train networks of one architecture, each on its own minibatches, in lockstep.

    Args:
        members: From `learner.fit.prepare`; S of them, of linear layers with ReLUs between and nothing else.
        steps: Optimiser steps of each.
        rate: The peak of the learning rate.
        report: Called every step with the phase `"fit"`, in steps of all members.

    Raises:
        DivergedError: If the loss or the weights of one stop being finite; the message names it.
    """
    started, n_members, recipe = time.perf_counter(), len(members), members[0].recipe
    layers = list(zip(*(linear_layers(each.network) for each in members), strict=True))
    weights = [_stacked([layer.weight for layer in same]) for same in layers]
    biases = [_stacked([layer.bias for layer in same]) for same in layers]
    rates = members[0].network.head.rates
    optimizer, schedule = optimisation(
        [*weights, *biases], rate, recipe.weight_decay, steps, partial(report, "fit", 0, steps * n_members)
    )
    losses_steps_S = []
    for step in range(steps):
        views, masks, targets = zip(*(each.draw() for each in members), strict=True)
        masks_S_M_H = [torch.stack(same) for same in zip(*masks, strict=True)]
        logits_S_M_C = _logits(torch.stack(views).flatten(2), weights, biases, masks_S_M_H, rates)
        losses_S = functional.cross_entropy(
            logits_S_M_C.flatten(0, 1), torch.cat(targets), reduction="none", label_smoothing=recipe.label_smoothing
        ).view(n_members, -1).mean(1)  # fmt: skip
        losses_steps_S.append(losses_S.detach().cpu())
        _check_finite(losses_steps_S[-1], step, "loss is")
        optimizer.zero_grad(set_to_none=True)
        losses_S.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        report("fit", (step + 1) * n_members, steps * n_members)
    for each in (*weights, *biases):
        _check_finite(each.detach().flatten(1).sum(1).cpu(), steps, "the weights are")
    _unstack(layers, weights, biases)
    losses, seconds = torch.stack(losses_steps_S, 1).tolist(), (time.perf_counter() - started) / n_members
    return [fitted_from(each.network, of_one, seconds) for each, of_one in zip(members, losses, strict=True)]


def _logits(
    x_S_M_D: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    masks_S_M_H: Sequence[Tensor],
    rates: Sequence[float],
) -> Tensor:
    """As `Network.forward` for each member; the masks belong to the last layers, those of the head."""
    first_masked = len(weights) - len(masks_S_M_H)
    for i, (weights_S_H_D, biases_S_H) in enumerate(zip(weights, biases, strict=True)):
        if i > 0:
            x_S_M_D = x_S_M_D.relu()
        if i >= first_masked:
            x_S_M_D = x_S_M_D * masks_S_M_H[i - first_masked].to(x_S_M_D) / (1 - rates[i - first_masked])
        x_S_M_D = torch.baddbmm(biases_S_H.unsqueeze(1), x_S_M_D, weights_S_H_D.transpose(1, 2))
    return x_S_M_D


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack([part.detach() for part in parts]).requires_grad_()


def _unstack(layers: Sequence[Sequence[nn.Linear]], weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for same, weights_S, biases_S in zip(layers, weights, biases, strict=True):
            for number, layer in enumerate(same):
                layer.weight.copy_(weights_S[number])
                layer.bias.copy_(biases_S[number])


def _check_finite(values_S: Tensor, step: int, what: str) -> None:
    is_finite = np.isfinite(values_S.numpy())
    if not is_finite.all():
        raise DivergedError(f"member {int(is_finite.argmin()) + 1}: {diverged(step, what)}")
