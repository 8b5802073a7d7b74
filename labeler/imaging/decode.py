"""Bytes of unknown origin to a clean image: known format, within limits, upright, without metadata, re-encoded."""

from __future__ import annotations

import hashlib
import io
import threading
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from django.utils.translation import gettext_noop
from PIL import Image, ImageChops
from PIL.JpegImagePlugin import JpegImageFile

from labeler.imaging.memory import give_back
from labeler.imaging.sniff import FORMATS, LOSSLESS, name_of_other_content, name_of_unreadable, webp_size
from labeler.told import Told, amount, told

# The caps below come before any pixel is decoded, and say in words what Pillow would only warn of.
Image.MAX_IMAGE_PIXELS = None

Pixels = npt.NDArray[np.uint8]
SMALL_SIDE = 64  # the most that a learner sees of a side
PNG_MAX_PIXELS = 2**18  # larger lossless images are shown as JPEG: a fifth of the bytes
JPEG_QUALITY = 92
TAKEN = gettext_noop("PNG, JPEG, WebP, GIF, BMP and TIFF are taken.")
LARGE_PIXELS = 4_000_000  # larger ones are decoded one at a time, so that memory does not grow with the threads
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = {TURNS[number] for number in (5, 6, 7, 8)}
_one_large_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Limits:
    """What one image and one archive may cost."""

    max_bytes: int
    max_pixels: int
    max_aspect_ratio: int
    display_max_side: int
    max_entries: int
    max_total_bytes: int
    max_ratio: int
    # JPEGs of up to so many pixels are decoded at a fraction of their size, so that no more than `max_pixels` are made
    draft_pixels: int = 0


@dataclass(frozen=True)
class DecodedImage:
    """`width` and `height` are of the upright original; `data` may be scaled down. `small` is uint8 [h, w] when grey,
    [h, w, 3] in colour, at most 64 a side. `content_hash` is of the decoded pixels: the same picture in another
    container has the same, unless it was decoded at a fraction of its size."""

    width: int
    height: int
    is_grey: bool
    data: bytes
    media_type: str
    content_hash: str
    small: Pixels


@dataclass(frozen=True)
class Refused:
    """Why a file did not become an image, in words."""

    reason: str


def decode(data: bytes, limits: Limits) -> DecodedImage | Refused:
    """The content decides what a file is, never its name. Animations are refused: their one label would be a guess."""
    if not data:
        return Refused(told("The file is empty."))
    if len(data) > limits.max_bytes:
        size, most = amount(len(data) / 2**20, 1), amount(limits.max_bytes / 2**20, 1)
        return Refused(told("The file has %(size)s MiB; at most %(most)s MiB are taken.", size=size, most=most))
    other = name_of_other_content(data)
    if other:
        return Refused(told("This is %(what)s, not an image. %(taken)s", what=told(other), taken=told(TAKEN)))
    try:
        sides = webp_size(data)
        why = _size_refusal(*sides, limits) if sides else ""
        if why:
            return Refused(why)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return _decode_opened(image, data, limits)
    except MemoryError:
        return Refused(told("The image needs more memory to decode than the server has."))
    except Exception as error:  # noqa: BLE001 - a decoder may raise anything on hostile bytes; one file ends no import
        return Refused(_decoder_refusal(data, error))


def from_array(array: Pixels, limits: Limits) -> DecodedImage | Refused:
    """An image of an array file: uint8 [h, w] or [h, w, 3]."""
    why = _size_refusal(array.shape[1], array.shape[0], limits)
    return Refused(why) if why else _encode(_plain(Image.fromarray(array)), limits, is_lossless=True)


def _decode_opened(image: Image.Image, data: bytes, limits: Limits) -> DecodedImage | Refused:
    size = image.size
    _draft(image, limits)
    why = _size_refusal(*(image.size if image.width * image.height <= limits.max_pixels else size), limits)
    if why:
        return Refused(why)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # MPO: a photograph with a preview behind it
        return Refused(_frames_refusal(image.format == "TIFF", frames))
    if image.format == "PNG":
        with Image.open(io.BytesIO(data), formats=["PNG"]) as copy:
            copy.verify()  # checksums, which loading does not look at
    if image.width * image.height < LARGE_PIXELS:
        return _load(image, data, limits, size)
    with _one_large_at_a_time:
        try:
            return _load(image, data, limits, size)
        finally:
            image.close()
            give_back()


def _draft(image: Image.Image, limits: Limits) -> None:
    """A large JPEG is made at a half, a quarter or an eighth: not a progressive one, which is in memory as a whole."""
    pixels = image.width * image.height
    if not limits.max_pixels < pixels <= limits.draft_pixels:
        return
    if isinstance(image, JpegImageFile) and not image.info.get("progressive"):
        part = next((part for part in (2, 4, 8) if pixels <= limits.max_pixels * part * part), 8)
        image.draft(None, (image.width // part, image.height // part))


def _load(image: Image.Image, data: bytes, limits: Limits, size: tuple[int, int]) -> DecodedImage | Refused:
    is_lossless = image.format in LOSSLESS or data[12:16] == b"VP8L"
    is_draft = image.size != size
    image.load()
    turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    plain = _plain(image)
    found = _encode(plain.transpose(turn) if turn is not None else plain, limits, is_lossless)
    if is_draft:
        width, height = size if turn not in SIDEWAYS else size[::-1]
        found = replace(found, width=width, height=height)
    return found


def _plain(image: Image.Image) -> Image.Image:
    """8 bits a channel, grey (L) or colour (RGB), no transparency; colour that is all grey becomes grey."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _stretched(image)
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return image.convert("L")
    if image.has_transparency_data:
        over = Image.new("RGBA", image.size, (255, 255, 255, 255))
        over.alpha_composite(image.convert("RGBA"))
        image = over
    colour = image if image.mode == "RGB" else image.convert("RGB")
    red, green, blue = colour.split()
    is_grey = ImageChops.difference(red, green).getbbox() is None and ImageChops.difference(red, blue).getbbox() is None
    return red if is_grey else colour


def _stretched(image: Image.Image) -> Image.Image:
    """More than 8 bits: the range of values that the image uses is spread over 0 to 255.

    Cameras and microscopes put 10 or 12 bits into 16: by the range of the type they would be black.
    """
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    flat = min(255.0, max(0.0, low / 257))  # one value all over: by the range of the type
    scaled = (values - low) * (255 / (high - low)) if high > low else np.full_like(values, flat)
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def _encode(image: Image.Image, limits: Limits, is_lossless: bool) -> DecodedImage:
    width, height = image.size
    is_grey = image.mode == "L"
    digest = hashlib.sha256(f"{image.mode} {width} {height} ".encode())
    digest.update(image.tobytes())
    small_size = min(width, SMALL_SIDE), min(height, SMALL_SIDE)
    small = image if small_size == image.size else image.resize(small_size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    if max(width, height) > limits.display_max_side:
        scale = limits.display_max_side / max(width, height)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    as_png = is_lossless and image.width * image.height <= PNG_MAX_PIXELS
    image.info = {}  # no comment, profile or date goes along
    out = io.BytesIO()
    if as_png:
        image.save(out, "PNG")
    else:
        image.save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return DecodedImage(
        width=width,
        height=height,
        is_grey=is_grey,
        data=out.getvalue(),
        media_type="image/png" if as_png else "image/jpeg",
        content_hash=digest.hexdigest(),
        small=np.array(small, dtype=np.uint8),
    )


def _size_refusal(width: int, height: int, limits: Limits) -> str:
    if width < 1 or height < 1:
        return told("The image has no pixels.")
    if width * height > limits.max_pixels:
        return told(
            "The image has %(width)s × %(height)s pixels; at most %(most)s in all are taken.",
            width=width, height=height, most=limits.max_pixels,
        )  # fmt: skip
    if max(width, height) > limits.max_aspect_ratio * min(width, height):
        return told(
            "The image is %(width)s × %(height)s: one side is more than %(most)s times the other.",
            width=width, height=height, most=limits.max_aspect_ratio,
        )  # fmt: skip
    return ""


def _frames_refusal(is_pages: bool, frames: int) -> Told:
    if is_pages:
        return told(
            "This is several pages (%(frames)s frames). Save the frame that is meant as an image of its own.",
            frames=frames,
        )
    return told(
        "This is an animation (%(frames)s frames). Save the frame that is meant as an image of its own.", frames=frames
    )


def _decoder_refusal(data: bytes, error: Exception) -> str:
    """In words for people: what decoders say is for programmers."""
    other = name_of_unreadable(data)
    if other:
        return told("This is %(what)s. %(taken)s", what=told(other), taken=told(TAKEN))
    if isinstance(error, NotImplementedError) or "unsupported" in str(error).lower():
        return told("The image is stored in a way that is not read here. Save it as PNG or JPEG.")
    return told("The image is damaged or cut off.")
