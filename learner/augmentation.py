"""Random affine views of a minibatch, made on tensors in one call."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from learner.config import Recipe


def random_affine(images_M_C_H_W: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Rotate, scale, shear and shift each image by its own random amount. Never flips: digits and signs would change.

    Args:
        images_M_C_H_W: Float images; what comes in from outside repeats the border.
        recipe: How far each goes.
        generator: A CPU generator: the amounts are drawn on the CPU, so that they are the same on every device.

    Returns:
        A tensor of the same shape, sampled bilinearly.
    """
    n = len(images_M_C_H_W)
    spread_M_6 = torch.rand((n, 6), generator=generator) * 2 - 1
    turn, scale_x, scale_y, shear, shift_x, shift_y = spread_M_6.unbind(1)
    angle = turn * math.radians(recipe.rotation)
    wide, high = 1 + scale_x * recipe.scale, 1 + scale_y * recipe.scale
    tilt = shear * recipe.shear
    cos, sin = angle.cos(), angle.sin()
    row_x = torch.stack([cos * wide, (cos * tilt - sin) * high, 2 * shift_x * recipe.shift], dim=1)
    row_y = torch.stack([sin * wide, (sin * tilt + cos) * high, 2 * shift_y * recipe.shift], dim=1)
    theta_M_2_3 = torch.stack([row_x, row_y], dim=1).to(images_M_C_H_W)
    grid = functional.affine_grid(theta_M_2_3, list(images_M_C_H_W.shape), align_corners=False)
    return functional.grid_sample(images_M_C_H_W, grid, padding_mode="border", align_corners=False)
