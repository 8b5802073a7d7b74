"""Random views of a minibatch, made on tensors in one call."""

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


def random_view(images_M_C_H_W: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """An affine view of each image, in another light and with a part covered as far as the recipe says.

    Args:
        images_M_C_H_W: Float images, normalised: what is covered becomes 0, which is their mean.
        recipe: How far each goes.
        generator: A CPU generator.

    Returns:
        A tensor of the same shape.

    Reference:
        DeVries, Taylor, 2017, Improved regularization of convolutional neural networks with cutout.
    """
    views = random_affine(images_M_C_H_W, recipe, generator)
    if recipe.light:
        views = _in_other_light(views, recipe.light, generator)
    return _partly_covered(views, recipe.cutout, generator) if recipe.cutout else views


def _in_other_light(images_M_C_H_W: Tensor, light: float, generator: torch.Generator) -> Tensor:
    n, channels = images_M_C_H_W.shape[:2]
    spread = (torch.rand((n, 1 + channels), generator=generator) * 2 - 1) * light
    contrast, brightness = spread[:, :1, None, None], spread[:, 1:, None, None]
    return images_M_C_H_W * (1 + contrast.to(images_M_C_H_W)) + brightness.to(images_M_C_H_W)


def _partly_covered(images_M_C_H_W: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """With one rectangle of 0 each, whose centre is anywhere in the image."""
    n, is_covered = len(images_M_C_H_W), []
    for side in images_M_C_H_W.shape[2:]:
        centre = torch.rand((n, 1), generator=generator) * side
        is_covered.append(((torch.arange(side) + 0.5)[None] - centre).abs() < share * side / 2)
    covered = (is_covered[0][:, None, :, None] & is_covered[1][:, None, None, :]).to(images_M_C_H_W.device)
    return images_M_C_H_W.masked_fill(covered, 0.0)
