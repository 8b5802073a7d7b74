"""What a pretrained network makes of images: one vector each, computed once and kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from learner.background import in_background
from learner.config import Report
from learner.errors import BackboneError

if TYPE_CHECKING:
    from torch import Tensor

    from learner.backbones import Backbone

BATCH = 32
"""Images at once: memory is that of so many, whatever the chunk. More are no faster on a CPU."""

Pixels = npt.NDArray[np.uint8]
Halves = npt.NDArray[np.float16]


def compute_features(
    backbone: Backbone, read: Callable[[int, int], Pixels], count: int, *, device: str = "auto", report: Report
) -> Halves:
    """Run the backbone over images.

    Each is brought to the backbone's side with antialiasing, whatever its shape; grey becomes three equal channels.
    Sums do not depend on what else is in the chunk, so the same image has the same features in every one of them, on
    one kind of machine.

    Args:
        backbone: See `learner.backbones.load_backbone`.
        read: Gives the images from `start` to `stop`, uint8 `[m, 1 or 3, height, width]`.
        count: How many there are.
        device: See `learner.config.DEVICES`.
        report: Called with the phase `"features"` after every `BATCH` images and, where those take longer, every half
            second; what it raises ends the work.

    Returns:
        float16 `[count, D]`, all finite.

    Raises:
        BackboneError: If a feature is NaN, or larger than float16 holds.
    """
    import torch

    from learner.fit import choose_device

    where = choose_device(device)
    module = backbone.module.to(where).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(pixels_m_C_H_W: Pixels) -> npt.NDArray[np.float32]:
        with torch.inference_mode():  # of this thread
            images = prepare(backbone, torch.from_numpy(np.array(pixels_m_C_H_W)).to(where))
            part_m_D: npt.NDArray[np.float32] = module(images).float().cpu().numpy()
            return part_m_D

    features: Halves | None = None
    report("features", 0, count)
    for start in range(0, count, BATCH):
        stop = min(start + BATCH, count)
        part = in_background(partial(run, read(start, stop)), partial(report, "features", start, count))
        if features is None:
            features = np.empty((count, part.shape[1]), np.float16)
        features[start:stop] = _halves(backbone.name, part)
        report("features", stop, count)
    return np.empty((0, 0), np.float16) if features is None else features


def prepare(backbone: Backbone, pixels_M_C_H_W: Tensor) -> Tensor:
    """Images of 0 to 255 as the backbone wants them: `[M, 3, side, side]`, normalised."""
    import torch
    from torch.nn import functional

    images = pixels_M_C_H_W.float()
    side = (backbone.side, backbone.side)
    if images.shape[-2:] != side:
        images = functional.interpolate(images, side, mode="bicubic", antialias=True, align_corners=False)
        images = images.clamp_(0, 255)
    images = images.expand(-1, 3, -1, -1)
    mean, std = (
        torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (backbone.mean, backbone.std)
    )
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def _halves(name: str, part_M_D: npt.NDArray[Any]) -> Halves:
    with np.errstate(over="ignore"):  # what float16 cannot hold becomes infinite, and is refused
        halves = part_M_D.astype(np.float16)
    if not (is_finite := np.isfinite(halves).all(1)).all():
        raise BackboneError(
            f"{name} makes NaN or infinite features of {int((~is_finite).sum())} of {len(halves)} images; "
            "take another backbone"
        )
    return halves
