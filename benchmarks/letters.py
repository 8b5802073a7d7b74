"""A set of images that nothing here was tuned on: letters as the fonts of this machine draw them.

    python -m benchmarks.letters fonts/ letters.npz
    python -m benchmarks.labels letters.npz --seeds 10 --batch 2 --until 100

Each font that has all the letters gives one grey image of each, 28 x 28, bright on black, the letter's ink scaled to 22
pixels. Pictures that are equal to a former one are left out, and fonts whose letters are all one picture (a box for
what is missing). A quarter of the folders that hold fonts, drawn at random, is the test part, so that what is measured
is of families that the pool has nothing of. Debian's fonts, for instance:

    apt-get download $(apt-cache search --names-only '^fonts-' | cut -d' ' -f1); for each in *.deb; do dpkg -x $each fonts; done
"""  # noqa: E501 (a line for the shell)

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE, INK = 28, 22
DRAWN = 200  # the size in pixels at which a font draws; then it is scaled down
SUFFIXES = (".ttf", ".otf", ".pfb")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fonts", type=Path, help="a folder with fonts, at any depth")
    parser.add_argument("npz", type=Path, help="is written")
    parser.add_argument("--letters", default="ABCDEFGHIJ")
    options = parser.parse_args()
    images: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    labels: dict[str, list[int]] = {"train": [], "test": []}
    paths = sorted(path for path in options.fonts.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    folders = sorted({path.parent for path in paths})
    is_test = np.random.default_rng(0).permutation(len(folders)) % 4 == 0
    parts = {folder: "test" if held else "train" for folder, held in zip(folders, is_test, strict=True)}
    seen: set[bytes] = set()
    for path in paths:
        drawn = letters_of(path, options.letters)
        for label, picture in enumerate(drawn):
            if picture.tobytes() not in seen:
                seen.add(picture.tobytes())
                images[parts[path.parent]].append(picture)
                labels[parts[path.parent]].append(label)
    if not images["train"] or not images["test"]:
        parser.error(f"{options.fonts}: no two folders with fonts that have the letters {options.letters}")
    np.savez_compressed(
        options.npz,
        x_train=np.stack(images["train"]), y_train=np.array(labels["train"]),
        x_test=np.stack(images["test"]), y_test=np.array(labels["test"]),
    )  # fmt: skip
    counts = {part: len(of_part) for part, of_part in images.items()}
    print(f"{len(paths)} fonts in {len(folders)} folders; {counts['train']} images, {counts['test']} for measuring")


def letters_of(path: Path, letters: str) -> list[np.ndarray]:
    """A picture of each letter; none if the font has not all of them."""
    try:
        font = ImageFont.truetype(str(path), DRAWN)
        pictures = [picture_of(font, letter) for letter in letters]
        missing = picture_of(font, "\U0010fffd")
    except (OSError, ValueError):  # a font of bitmaps, or damaged
        return []
    shapes = {picture.tobytes() for picture in pictures if picture is not None}
    if len(shapes) < len(letters) or (missing is not None and missing.tobytes() in shapes):
        return []
    return [picture for picture in pictures if picture is not None]


def picture_of(font: ImageFont.FreeTypeFont, letter: str) -> np.ndarray | None:
    """The letter in the middle of the picture; None where it has no ink."""
    left, top, right, bottom = (int(each) for each in font.getbbox(letter))
    if not (0 < right - left < 10 * DRAWN and 0 < bottom - top < 10 * DRAWN):
        return None
    ink = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(ink).text((-left, -top), letter, fill=255, font=font)
    box = ink.getbbox()
    if box is None:
        return None
    ink = ink.crop(box)
    scale = INK / max(ink.size)
    ink = ink.resize([max(1, round(each * scale)) for each in ink.size], Image.Resampling.BOX)
    picture = Image.new("L", (SIDE, SIDE))
    picture.paste(ink, ((SIDE - ink.width) // 2, (SIDE - ink.height) // 2))
    return np.asarray(picture)


if __name__ == "__main__":
    main()
