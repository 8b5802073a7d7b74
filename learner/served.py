"""A model of PlusMinus without PlusMinus: numpy, onnxruntime and Pillow are all that this one file needs.

    python predict.py image.png another.jpg

    model = open_model(".")                     # a folder with served.json and model.onnx; the digest is checked
    said = model.predict([model.look(data)])    # bytes of image files
    said.mean, said.std                         # [images, classes]: mean probability, deviation over the K samples
    said.measures["mutual_information"]         # [images]: how unsure, in nats; see README.md

An image is brought to what the model has learned from exactly as an import does it.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from PIL import Image, ImageChops, ImageOps

FORMAT = 1
MODEL, ABOUT = "model.onnx", "served.json"
SMALL_SIDE = 64  # what is seen of an image's side, at most, unless a backbone looks at it
PNG_MAX_PIXELS, JPEG_QUALITY = 2**18, 92  # as pictures are stored, before a backbone looks at them
LOSSLESS = ("PNG", "GIF", "BMP", "TIFF")
BATCH = 32

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class NotServed(Exception):
    """The files are not what they say, in words."""


@dataclass(frozen=True)
class Said:
    """What the model says of some images.

    Args:
        mean: `[M, C]`, the mean probability of each class over the posterior samples.
        std: `[M, C]`, its standard deviation over them.
        measures: `[M]` each, by name.
    """

    mean: Floats
    std: Floats
    measures: dict[str, Floats]


@dataclass(frozen=True)
class Served:
    """A model that is ready.

    Args:
        about: What `served.json` says.
        session: Of onnxruntime.
    """

    about: Mapping[str, Any]
    session: onnxruntime.InferenceSession

    @property
    def classes(self) -> list[str]:
        """Their names, in the order of `Said.mean`."""
        return list(self.about["classes"])

    def look(self, data: bytes) -> Pixels:
        """What the model sees of an image file, uint8 `[channels, height, width]`."""
        form = self.about["input"]
        if form["kind"] == "picture":
            return picture_of(_stored(data, form["display_max_side"]), form["side"])
        return small_of(_small(_upright(data)[0]), form["side"], form["channels"])

    def predict(self, images: Sequence[Pixels]) -> Said:
        """Ask about some images, `BATCH` at a time."""
        names = [each.name for each in self.session.get_outputs()]
        parts = [
            self.session.run(names, {"pixels": np.stack(images[at : at + BATCH])})
            for at in range(0, len(images), BATCH)
        ]
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        mean, std, *measures = columns
        return Said(mean, std, dict(zip(names[2:], measures, strict=True)))


def open_model(folder: str | Path, *, threads: int = 1) -> Served:
    """Read the files of a model.

    Args:
        folder: With `served.json` and `model.onnx`.
        threads: That one prediction may use.

    Raises:
        NotServed: If a file is missing, or is not the one that was written with the other.
    """
    try:
        about = json.loads((Path(folder) / ABOUT).read_text(encoding="utf-8"))
        content = (Path(folder) / MODEL).read_bytes()
    except (OSError, ValueError) as error:
        raise NotServed(f"{folder} does not hold a model that can be read: {error}") from error
    return open_bytes(content, about, about.get("digest", ""), threads=threads)


def open_bytes(content: bytes, about: Mapping[str, Any], digest: str, *, threads: int = 1) -> Served:
    """The same of what was read elsewhere.

    Args:
        content: Of `model.onnx`.
        about: Of `served.json`.
        digest: The SHA-256 that the content must have.
        threads: See `open_model`.

    Raises:
        NotServed: If it has another one, or is of another format.
    """
    if about.get("format") != FORMAT:
        raise NotServed(f"the model is of format {about.get('format')}, this file reads {FORMAT}")
    if hashlib.sha256(content).hexdigest() != digest:
        raise NotServed(f"{MODEL} is not the file that was written with {ABOUT}: its digest is another")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.enable_cpu_mem_arena = False  # memory goes back after a large image
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise NotServed(f"onnxruntime {onnxruntime.__version__} cannot read {MODEL} ({error})") from error
    return Served(about, session)


def small_of(small: Pixels, side: int, channels: int) -> Pixels:
    """What a network of pixels sees: `[channels, side, side]`; other shapes are stretched."""
    if small.shape[:2] != (side, side):
        small = np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BILINEAR), np.uint8)
    if channels == 1:
        return (small if small.ndim == 2 else np.asarray(Image.fromarray(small).convert("L"), np.uint8))[None]
    colour = small if small.ndim == 3 else np.repeat(small[:, :, None], 3, axis=2)
    return np.ascontiguousarray(colour.transpose(2, 0, 1))


def picture_of(data: bytes, side: int) -> Pixels:
    """What a backbone sees of a stored picture: `[3, side, side]`; other shapes are stretched."""
    with Image.open(io.BytesIO(data)) as picture:
        picture.draft("RGB", (2 * side, 2 * side))  # a JPEG is read at about that size
        colour = picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(colour, np.uint8).transpose(2, 0, 1)


def _upright(data: bytes) -> tuple[Image.Image, bool]:
    """Eight bits a channel, grey or colour, turned as the camera says; and whether the file was lossless."""
    with Image.open(io.BytesIO(data)) as image:
        is_lossless = image.format in LOSSLESS or data[12:16] == b"VP8L"
        image.load()
        turned = ImageOps.exif_transpose(image)
    if turned.mode in ("I", "F") or turned.mode.startswith("I;16"):
        return _stretched(turned), is_lossless
    if turned.mode in ("1", "L") and "transparency" not in turned.info:
        return turned.convert("L"), is_lossless
    if turned.has_transparency_data:
        over = Image.new("RGBA", turned.size, (255, 255, 255, 255))
        over.alpha_composite(turned.convert("RGBA"))
        turned = over
    colour = turned if turned.mode == "RGB" else turned.convert("RGB")
    red, green, blue = colour.split()
    is_grey = all(ImageChops.difference(red, other).getbbox() is None for other in (green, blue))
    return (red if is_grey else colour), is_lossless


def _stretched(image: Image.Image) -> Image.Image:
    """More than 8 bits: the range of values that the image uses becomes 0 to 255."""
    values = np.nan_to_num(np.asarray(image, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    flat = min(255.0, max(0.0, low / 257))
    scaled = (values - low) * (255 / (high - low)) if high > low else np.full_like(values, flat)
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def _small(image: Image.Image) -> Pixels:
    size = min(image.width, SMALL_SIDE), min(image.height, SMALL_SIDE)
    if size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.array(image, np.uint8)


def _stored(data: bytes, display_max_side: int) -> bytes:
    """The picture as an import would store it, at most so large."""
    image, is_lossless = _upright(data)
    most = max(image.size)
    if most > display_max_side:
        scale = display_max_side / most
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    image.info = {}
    out = io.BytesIO()
    if is_lossless and image.width * image.height <= PNG_MAX_PIXELS:
        image.save(out, "PNG")
    else:
        image.save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return out.getvalue()


def lines(served: Served, names: Sequence[str], said: Said) -> list[str]:
    """`image.png  three: 0.93 ± 0.04, eight: 0.05 ± 0.03  mutual information 0.021`, for reading."""
    out = []
    for at, name in enumerate(names):
        likeliest = np.argsort(-said.mean[at])[:3]
        classes = ", ".join(f"{served.classes[c]}: {said.mean[at, c]:.2f} ± {said.std[at, c]:.2f}" for c in likeliest)
        unsure = said.measures["mutual_information"][at]
        out.append(f"{name}  {classes}  mutual information {unsure:.4f}")
    return out


def main(arguments: Sequence[str]) -> int:
    """Predict the images that are named; 0 if all could be read."""
    if not arguments:
        sys.stdout.write("python predict.py IMAGE [IMAGE ...]\n")
        return 2
    try:
        served = open_model(Path(__file__).resolve().parent)
    except NotServed as error:
        sys.stderr.write(f"{error}\n")
        return 1
    failed = 0
    for name in arguments:
        try:
            said = served.predict([served.look(Path(name).read_bytes())])
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            sys.stderr.write(f"{name}: cannot be read as an image ({error})\n")
            failed += 1
            continue
        sys.stdout.write("\n".join(lines(served, [name], said)) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
