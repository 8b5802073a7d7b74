"""The loader: it sees what an import sees, checks what it loads, and needs nothing of the project."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labeler.imaging.decode import DecodedImage, Limits, decode
from labeler.imaging.pixels import PixelFormat, to_picture, to_pixels
from learner import served
from learner.config import RoundRequest, ignore
from learner.exported import Export
from learner.round import fit
from learner.scoring import score_inputs

LIMITS = Limits(2**24, 10**7, 100, 300, 10, 2**26, 200)


def files() -> dict[str, bytes]:
    """Images of every kind that imports take."""
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (90, 70, 3), dtype=np.uint8))
    large = Image.fromarray(rng.integers(0, 256, (23, 41, 3), dtype=np.uint8)).resize((820, 460))
    grey = Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8))
    deep = Image.fromarray(rng.integers(300, 4000, (20, 30), dtype=np.uint16))
    clear = Image.fromarray(rng.integers(0, 256, (20, 30, 4), dtype=np.uint8))
    turned = Image.Exif()
    turned[0x0112] = 6
    palette = colour.convert("P")
    named = {
        "colour.png": (colour, {}), "large.jpg": (large, {}), "large.png": (large, {}), "grey.png": (grey, {}),
        "deep.png": (deep, {}), "clear.png": (clear, {}), "turned.jpg": (large, {"exif": turned.tobytes()}),
        "palette.gif": (palette, {}), "photo.webp": (colour, {}), "lossless.webp": (colour, {"lossless": True}),
        "one.png": (grey.convert("1"), {}), "plain.bmp": (colour, {}), "scan.tiff": (deep, {}),
        "grey.jpg": (grey.convert("RGB").resize((100, 100)), {}),
    }  # fmt: skip
    found = {}
    for name, (image, options) in named.items():
        out = io.BytesIO()
        kind = {"jpg": "JPEG", "tiff": "TIFF"}.get(name.split(".")[1], name.split(".")[1].upper())
        image.save(out, kind, **options)
        found[name] = out.getvalue()
    return found


@pytest.mark.parametrize("name", sorted(files()))
def test_it_sees_what_an_import_sees(name):
    data = files()[name]
    decoded = decode(data, LIMITS)
    assert isinstance(decoded, DecodedImage)
    for side, channels in ((28, 1), (48, 3), (64, 3)):
        about = {"input": {"kind": "small", "side": side, "channels": channels}}
        mine = served.Served(about, None).look(data)
        assert np.array_equal(mine, to_pixels(decoded.small, PixelFormat(side, channels)))
    about = {"input": {"kind": "picture", "side": 96, "channels": 3, "display_max_side": 300}}
    assert np.array_equal(served.Served(about, None).look(data), to_picture(decoded.data, 96))


@pytest.fixture
def folder(digits, make_chunks, quick, tmp_path) -> Path:
    """What a download holds of a model."""
    request = RoundRequest(make_chunks(digits[0][:60]), np.arange(60), digits[1][:60], quick, tmp_path / "round")
    fit(request, ignore)
    made = tmp_path / "made"
    made.mkdir()
    Export(tmp_path / "round", (1, 8, 8)).write(made / "model.onnx", {})
    about = {
        "format": served.FORMAT,
        "classes": [f"digit {c}" for c in range(10)],
        "input": {"kind": "small", "side": 8, "channels": 1},
        "digest": hashlib.sha256((made / "model.onnx").read_bytes()).hexdigest(),
    }
    (made / "served.json").write_text(json.dumps(about))
    return made


def test_it_says_what_the_round_says(folder, digits, quick, tmp_path):
    from learner.model import load_model

    model = served.open_model(folder)
    said = model.predict(list(digits[0][60:130]))  # more than one batch
    columns = score_inputs(load_model(tmp_path / "round")[0], digits[0][60:130], 10, ignore)
    assert np.abs(said.mean - columns["mean_probs_N_C"]).max() < 1e-3
    assert np.abs(said.measures["mutual_information"] - columns["mutual_information"]).max() < 1e-3


def test_what_is_not_the_file_that_was_written_is_not_loaded(folder):
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes() + b"\0")
    with pytest.raises(served.NotServed, match="digest"):
        served.open_model(folder)
    about = json.loads((folder / "served.json").read_text())
    (folder / "served.json").write_text(json.dumps({**about, "format": 2}))
    with pytest.raises(served.NotServed, match="format 2"):
        served.open_model(folder)
    (folder / "served.json").unlink()
    with pytest.raises(served.NotServed, match="does not hold"):
        served.open_model(folder)


def test_it_runs_in_an_empty_folder_without_the_project(folder, tmp_path, digits):
    away = tmp_path / "away"
    shutil.copytree(folder, away)
    shutil.copy(Path(served.__file__), away / "predict.py")
    Image.fromarray(digits[0][100][0]).save(away / "digit.png")
    (away / "bad.png").write_bytes(b"no image")
    program = (
        "import sys, runpy; sys.argv[0] = 'predict.py'\n"
        "sys.modules['learner'] = sys.modules['labeler'] = sys.modules['torch'] = None\n"
        "runpy.run_path('predict.py', run_name='__main__')"
    )
    command = [sys.executable, "-P", "-c", program, "digit.png", "bad.png"]
    result = subprocess.run(command, cwd=away, capture_output=True, text=True, check=False, env={})
    assert result.returncode == 1
    assert result.stdout.startswith("digit.png  digit ")
    assert "±" in result.stdout
    assert result.stderr.startswith("bad.png: cannot be read as an image")
