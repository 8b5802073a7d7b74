"""What the learner sees of an image: uint8 [channels, side, side], one format for a whole project."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from labeler.imaging.decode import SMALL_SIDE, DecodedImage, Pixels

LARGEST_SMALL = 40  # pixels of a side: what `choose_format` brings to 32 or less


@dataclass(frozen=True)
class PixelFormat:
    side: int
    channels: int


def choose_format(images: Sequence[DecodedImage]) -> PixelFormat:
    """Small grey images are seen as 28 x 28 (MNIST's size, which the networks know well), others by their usual size.

    The median side decides, so that one odd image does not; one image in colour makes the project one in colour.
    """
    side = float(np.median([max(image.width, image.height) for image in images]))
    is_grey = all(image.is_grey for image in images)
    if is_grey and side <= 32:
        return PixelFormat(28, 1)
    return PixelFormat(min((32, 48, SMALL_SIDE), key=lambda known: abs(known - side)), 1 if is_grey else 3)


def to_picture(data: bytes, side: int) -> Pixels:
    """What a backbone looks at: uint8 [3, side, side] of a stored picture; other shapes are stretched to a square, as
    they are for the learner. Raises what Pillow does where it cannot be read."""
    with Image.open(io.BytesIO(data)) as picture:
        picture.draft("RGB", (2 * side, 2 * side))  # a JPEG is read at about that size
        colour = picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(colour, dtype=np.uint8).transpose(2, 0, 1)


def kind_of(image: DecodedImage) -> str:
    """`small_grey`, `large_colour` and so on, by the picture itself: whatever the format of its project."""
    size = "large" if max(image.width, image.height) > LARGEST_SMALL else "small"
    return f"{size}_{'grey' if image.is_grey else 'colour'}"


def to_pixels(small: Pixels, form: PixelFormat) -> Pixels:
    """uint8 [channels, side, side]; other shapes are stretched to a square, so that nothing is cut off."""
    if small.shape[:2] != (form.side, form.side):
        resized = Image.fromarray(small).resize((form.side, form.side), Image.Resampling.BILINEAR)
        small = np.asarray(resized, dtype=np.uint8)
    if form.channels == 1:
        grey = small if small.ndim == 2 else np.asarray(Image.fromarray(small).convert("L"), dtype=np.uint8)
        return grey[None]
    colour = small if small.ndim == 3 else np.repeat(small[:, :, None], 3, axis=2)
    return np.ascontiguousarray(colour.transpose(2, 0, 1))
