"""Images without a label teach, too: what a network says of one as it is, it has to say of it turned, in another light
and partly covered.

Of photographs a handful of answers and a thousand such images are worth several times as many answers (docs/log.md).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from learner.augmentation import random_affine, random_view
from learner.config import Recipe
from learner.network import Network
from learner.pool import Pool

SURE = 0.9
"""What the teacher is less sure of teaches nothing."""

BEGINS = 200
"""Steps until it counts in full: at first nothing that is sure is worth much."""

MEMORY = 0.99
"""How much of the teacher stays from step to step; less in the first hundred."""


@dataclass
class Consistency:
    """The part of the loss that needs no labels, and its teacher: the average of the network over its last steps.

    Args:
        network: That is being trained.
        pool: Of pixels.
        positions: int64 `[n]`, images to learn from, whether they have a label or not.
        recipe: How many of them a step, and how far views go.
        generator: Draws all of it.

    Reference:
        Sohn et al., 2020, FixMatch, equations 3 and 4; Tarvainen, Valpola, 2017, Mean teachers are better role models,
        equation 2.
    """

    network: Network
    pool: Pool
    positions: npt.NDArray[np.int64]
    recipe: Recipe
    generator: torch.Generator
    teacher: Network = field(init=False)

    def __post_init__(self) -> None:
        self.teacher = copy.deepcopy(self.network).eval()
        self._gentle = replace(
            self.recipe,
            rotation=self.recipe.rotation / 4,
            scale=self.recipe.scale / 4,
            shear=self.recipe.shear / 6,
            shift=self.recipe.shift / 2,
        )

    def loss(self, step: int) -> Tensor:
        """Mean cross entropy of the network's view of new images to what the teacher is sure of; 0 for all others."""
        network, n = self.network, self.recipe.unlabelled
        drawn = torch.randint(len(self.positions), (n,), generator=self.generator).numpy()
        images = network.normalise(network.tensor_of(self.pool.inputs(self.positions[drawn])))
        with torch.no_grad():
            gentle = random_affine(images, self._gentle, self.generator)
            sureness_M, said_M = self.teacher.head(self.teacher.features_of(gentle)).softmax(1).max(1)
        masks = [mask.to(images.device) for mask in network.head.draw_masks(n, self.generator)]
        views = random_view(images, self.recipe, self.generator)
        losses_M = functional.cross_entropy(network.head(network.features_of(views), masks), said_M, reduction="none")
        loss: Tensor = (losses_M * (sureness_M >= SURE)).mean() * min(1.0, step / BEGINS)
        return loss

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Let the teacher take a step's share of the network."""
        moved = 1 - min(MEMORY, (step + 1) / (step + 10))
        for its, mine in zip(self.teacher.state_dict().values(), self.network.state_dict().values(), strict=True):
            if its.is_floating_point():
                its.lerp_(mine, moved)
            else:
                its.copy_(mine)  # how many minibatches an average has seen
