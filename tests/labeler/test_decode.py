"""Every kind of file that people and attackers call an image has one clear outcome."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labeler.imaging.decode import DecodedImage, Limits, Refused, decode, from_array
from labeler.imaging.pixels import PixelFormat, choose_format, to_pixels

ROOT = Path(__file__).resolve().parents[2]
LIMITS = Limits(
    max_bytes=4_000_000,
    max_pixels=4_000_000,
    max_aspect_ratio=100,
    display_max_side=512,
    max_entries=1000,
    max_total_bytes=10**9,
    max_ratio=200,
)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def decoded(data: bytes, limits: Limits = LIMITS) -> DecodedImage:
    result = decode(data, limits)
    assert isinstance(result, DecodedImage), result
    return result


def reason(data: bytes, limits: Limits = LIMITS) -> str:
    result = decode(data, limits)
    assert isinstance(result, Refused), result
    return result.reason


def shown(image: DecodedImage) -> Image.Image:
    return Image.open(io.BytesIO(image.data))


def png_header_only(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is huge, with the pixels of none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    ihdr = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    idat = zlib.compress(b"\x00" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"IDAT", idat) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF", "WEBP", "JPEG"])
def test_it_takes_each_format_and_stores_png_or_jpeg(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    image = decoded(encoded(Image.fromarray(noise(40, 30)), kind, **options))
    assert (image.width, image.height) == (30, 40)
    assert image.media_type == ("image/jpeg" if kind == "JPEG" else "image/png")
    assert shown(image).size == (30, 40)
    assert image.is_grey
    assert image.small.shape == (40, 30)


def test_it_recognises_the_same_picture_in_other_containers():
    picture = Image.fromarray(noise(20, 20))
    hashes = {decoded(encoded(picture, kind)).content_hash for kind in ("PNG", "GIF", "BMP", "TIFF")}
    hashes.add(decoded(encoded(picture.convert("RGB"), "PNG")).content_hash)
    hashes.add(from_array(noise(20, 20), LIMITS).content_hash)
    assert len(hashes) == 1
    assert decoded(encoded(Image.fromarray(noise(20, 21)), "PNG")).content_hash not in hashes


def test_pixels_of_a_lossless_image_come_through_exactly():
    colour = noise(17, 23, 3)
    image = decoded(encoded(Image.fromarray(colour), "PNG"))
    assert (np.asarray(shown(image)) == colour).all()
    assert (image.small == colour).all()
    assert not image.is_grey


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (1, 1)), (6, (0, 1)), (8, (1, 0))])
def test_it_turns_photographs_upright(orientation, corner):
    pixels = np.zeros((40, 60, 3), dtype=np.uint8)
    pixels[:20, :30] = 255  # a white quarter at the top left
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decoded(encoded(Image.fromarray(pixels), "JPEG", exif=exif.tobytes(), quality=95))
    assert (image.width, image.height) == ((40, 60) if orientation in (6, 8) else (60, 40))
    upright = np.asarray(shown(image).convert("L"))
    height, width = upright.shape
    y, x = (height - 5 if corner[0] else 5), (width - 5 if corner[1] else 5)
    assert upright[y, x] > 200
    assert upright[height - 1 - y, width - 1 - x] < 50


def test_it_drops_all_metadata():
    exif = Image.Exif()
    exif[0x010E] = "SECRET PLACE"
    exif.get_ifd(0x8825)[1] = "N"
    jpeg = encoded(Image.fromarray(noise(20, 20, 3)), "JPEG", exif=exif.tobytes(), comment=b"SECRET COMMENT")
    text = __import__("PIL.PngImagePlugin", fromlist=["PngInfo"]).PngInfo()
    text.add_text("Author", "SECRET PERSON")
    png = encoded(Image.fromarray(noise(20, 20)), "PNG", pnginfo=text, exif=exif.tobytes())
    for data in (jpeg, png):
        assert b"SECRET" in data
        image = decoded(data)
        assert b"SECRET" not in image.data
        assert b"Exif" not in image.data
        assert not shown(image).getexif()


def test_a_polyglot_loses_what_was_hidden_in_it():
    payload = b"<script>alert(1)</script>"
    for data in (
        encoded(Image.fromarray(noise(9, 9)), "PNG") + payload,
        b"GIF89a" + encoded(Image.fromarray(noise(9, 9)), "GIF")[6:] + b"PK\x03\x04" + payload,
    ):
        assert payload not in decoded(data).data


def test_16_bit_is_spread_by_the_range_it_uses():
    twelve_bits = np.linspace(100, 4095, 64, dtype=np.uint16).reshape(8, 8)
    image = decoded(encoded(Image.fromarray(twelve_bits), "PNG"))
    assert image.is_grey
    assert image.small.min() == 0
    assert image.small.max() == 255
    assert decoded(encoded(Image.fromarray(np.full((4, 4), 0xFFFF, np.uint16)), "TIFF")).small.min() == 255
    assert decoded(encoded(Image.fromarray(np.array([[np.nan, 1.0]], np.float32)), "TIFF")).small.tolist() == [[0, 255]]


def test_cmyk_palette_bits_and_transparency_become_grey_or_colour():
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red = decoded(encoded(cmyk, "JPEG", quality=95)).small[4, 4]
    assert red[0] > 200
    assert red[1:].max() < 60
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 0, 0, 255])
    assert decoded(encoded(palette, "PNG")).small[0, 0].tolist() == [0, 0, 255]
    assert decoded(encoded(Image.new("1", (8, 8), 1), "PNG")).small.max() == 255
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert decoded(encoded(clear, "PNG")).small.min() == 255  # over white
    grey_alpha = Image.new("LA", (8, 8), (0, 0))
    assert decoded(encoded(grey_alpha, "PNG")).small.min() == 255


def test_animations_and_pages_are_refused_in_words():
    frames = [Image.fromarray(noise(9, 9)), Image.fromarray(255 - noise(9, 9))]
    for kind in ("GIF", "WEBP", "PNG"):
        assert "an animation (2 frames)" in reason(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert "several pages" in reason(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    assert decoded(encoded(frames[0], "GIF", save_all=True)).width == 9


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_truncated_files_are_refused(kind):
    whole = encoded(Image.fromarray(noise(60, 60)), kind)
    for share in (0.2, 0.5, 0.9):
        # what the decoder says ("Truncated File Read") is for programmers
        assert reason(whole[: int(len(whole) * share)]) == "The image is damaged or cut off."


def test_a_png_with_a_wrong_checksum_is_refused():
    whole = bytearray(encoded(Image.fromarray(noise(60, 60)), "PNG"))
    whole[-14] ^= 1  # the checksum of the pixels
    assert "damaged" in reason(bytes(whole))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "SVG"),
        (b"\xef\xbb\xbf  <svg onload=alert(1)>", "SVG"),
        ("<svg/>".encode("utf-16"), "SVG"),
        (b"<!doctype html><script>alert(1)</script>", "HTML"),
        (b"<HTML><body>", "HTML"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04rest", "archives inside archives"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x7fELF", "program"),
        (b"\x00\x00\x00\x18ftypheic", "HEIC"),
        (b"\x00\x00\x00\x18ftypmp42", "video"),
        (b"\x93NUMPY\x01\x00", "NumPy"),
        (b"just words", "This is a text file, not an image. PNG, JPEG"),
        ("Umlaute: äöü".encode()[:-1], "a text file"),
        ("words".encode("utf-16"), "a text file"),
        (b"BMW builds cars\n" * 9, "a text file"),
        (b"BM\x00\x01\x02", "damaged"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "This is not an image. PNG, JPEG"),
        (bytes(range(128, 256)), "This is not an image. PNG, JPEG"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"GIF89a", "damaged"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a text file"),
    ],
)
def test_what_is_no_image_is_refused_with_its_reason(data, words):
    assert words in reason(data)


def test_sizes_are_capped_before_a_pixel_is_decoded():
    assert "20,000 × 20,000" in reason(png_header_only(20_000, 20_000))
    assert "one side is more than 100 times" in reason(encoded(Image.new("L", (1010, 10)), "PNG"))
    assert "at most 3.8 MiB" in reason(b"\x89PNG" + b"0" * 5_000_000)
    huge_webp = (
        b"RIFF\x00\x00\x00\x00WEBPVP8X" + struct.pack("<I", 10) + b"\x00" * 4 + b"\xff\xff\x00\xff\xff\x00" + b"\0" * 9
    )
    assert "65,536 × 65,536" in reason(huge_webp)


def test_one_pixel_is_an_image():
    image = decoded(encoded(Image.new("L", (1, 1), 7), "PNG"))
    assert (image.width, image.height) == (1, 1)
    assert to_pixels(image.small, PixelFormat(28, 1)).tolist() == np.full((1, 28, 28), 7).tolist()


def test_large_images_are_stored_scaled_down():
    image = decoded(encoded(Image.fromarray(noise(600, 1200, 3)), "JPEG"))
    assert (image.width, image.height) == (1200, 600)
    assert shown(image).size == (512, 256)
    assert image.small.shape == (64, 64, 3)


def test_hostile_bytes_never_raise():
    rng = np.random.default_rng(7)
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
        whole = encoded(Image.fromarray(noise(24, 24, 3)), kind)
        for _ in range(60):
            data = bytearray(whole)
            for _ in range(int(rng.integers(1, 8))):
                data[int(rng.integers(len(data)))] = int(rng.integers(256))
            assert isinstance(decode(bytes(data), LIMITS), DecodedImage | Refused)


def images_of(*shapes: tuple[int, ...]) -> list[DecodedImage]:
    return [from_array(noise(*shape), LIMITS) for shape in shapes]


def test_the_format_of_the_project_follows_its_first_images():
    assert choose_format(images_of((28, 28))) == PixelFormat(28, 1)
    assert choose_format(images_of((8, 8))) == PixelFormat(28, 1)
    assert choose_format(images_of((32, 32, 3))) == PixelFormat(32, 3)
    assert choose_format(images_of((50, 40))) == PixelFormat(48, 1)
    assert choose_format(images_of((100, 100, 3))) == PixelFormat(64, 3)
    assert choose_format(images_of((28, 28), (28, 28), (28, 28), (500, 500))) == PixelFormat(28, 1)
    assert choose_format(images_of((28, 28), (28, 28, 3))).channels == 3


def test_pixels_are_converted_to_the_format():
    grey, colour = noise(28, 28), noise(64, 64, 3)
    assert (to_pixels(grey, PixelFormat(28, 1))[0] == grey).all()
    assert (to_pixels(grey, PixelFormat(28, 3)) == grey).all()
    assert (to_pixels(colour, PixelFormat(64, 3)) == colour.transpose(2, 0, 1)).all()
    assert to_pixels(colour, PixelFormat(28, 1)).shape == (1, 28, 28)
    assert to_pixels(noise(8, 8), PixelFormat(28, 1)).shape == (1, 28, 28)


LOOK = replace(LIMITS, max_pixels=40_000, draft_pixels=1_000_000)


@pytest.mark.parametrize(("orientation", "size"), [(1, (600, 300)), (3, (600, 300)), (6, (300, 600))])
def test_of_a_large_jpeg_a_smaller_picture_is_made(orientation, size):
    image = Image.new("RGB", (600, 300), (10, 20, 200))
    image.paste((200, 20, 10), (0, 0, 300, 300))
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decoded(encoded(image, "JPEG", exif=exif.tobytes()), LOOK)
    assert (found.width, found.height) == size
    assert shown(found).size == ((150, 75) if size == (600, 300) else (75, 150))
    whole = decoded(encoded(image, "JPEG", exif=exif.tobytes()))
    assert np.abs(found.small.astype(int) - whole.small.astype(int)).mean() < 3


@pytest.mark.parametrize(
    ("kind", "options", "size"),
    [("JPEG", {"progressive": True}, (600, 300)), ("PNG", {}, (600, 300)), ("JPEG", {}, (1200, 900))],
)
def test_what_cannot_be_made_smaller_on_the_way_is_refused(kind, options, size):
    why = reason(encoded(Image.new("RGB", size), kind, **options), LOOK)
    assert f"{size[0]:,} × {size[1]} pixels; at most 40,000 in all" in why


def test_an_import_never_makes_a_smaller_picture():
    assert "at most 40,000" in reason(encoded(Image.new("RGB", (600, 300)), "JPEG"), replace(LOOK, draft_pixels=0))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory as Linux tells it")
def test_the_memory_of_large_pictures_is_given_back():
    """Of each thread: a heap of its own would keep what it has once had."""
    program = """
import re, threading
from io import BytesIO
from pathlib import Path
from PIL import Image
from labeler.imaging.decode import decode
from tests.labeler.test_decode import LIMITS, replace

def held(name="VmRSS"):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

out = BytesIO()
Image.new("RGBA", (3000, 3000), (1, 2, 3, 4)).save(out, "PNG", compress_level=1)
limits, seen, end = replace(LIMITS, max_pixels=10**7), threading.Semaphore(0), threading.Event()

def work():
    decode(out.getvalue(), limits)
    seen.release()
    end.wait()

before = held()
for _ in range(4):
    threading.Thread(target=work).start()
    seen.acquire()
print(held() - before, held("VmHWM") - before)
end.set()
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    kept, most = map(int, said.stdout.split())
    assert most > 100, "the pictures were not large"
    assert kept < 40, f"{kept} MiB of {most}"
