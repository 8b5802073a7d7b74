"""The files of a round's model, to be taken away: weights as safetensors, everything else as JSON."""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path
from typing import IO

from labeler.models import LabelClass, Round
from labeler.storage import round_folder

IN_MEMORY = 16 * 2**20  # a larger one goes to a file on its way


class NoModel(Exception):
    """Its files are gone; the message says so for people."""


def model_archive(round_: Round) -> IO[bytes]:
    """A zip of the weights, `model.json` with the configuration, and `round.json` with the classes in the order of the
    model's outputs. Raises NoModel."""
    folder = round_folder(round_)
    files = [folder / "model.json", *sorted(folder.glob("*.safetensors"))]
    if not round_.folder or len(files) < 2 or not all(path.is_file() for path in files):
        raise NoModel(f"The model files of round {round_.number} are gone.")
    archive: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115  (the response closes it)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as zipped:
        zipped.writestr("round.json", json.dumps(_about(round_), indent=2, ensure_ascii=False) + "\n")
        for path in files:
            _add(zipped, path)
    archive.seek(0)
    return archive


def _add(zipped: zipfile.ZipFile, path: Path) -> None:
    zipped.write(path, path.name)


def _about(round_: Round) -> dict[str, object]:
    names = dict(LabelClass.objects.filter(pk__in=round_.classes).values_list("pk", "name"))
    return {
        "round": round_.number,
        "classes": [names.get(pk, "a deleted class") for pk in round_.classes],
        "seed": round_.seed,
        "training_digest": round_.training_digest,
        "model_digest": round_.metrics.get("fit", {}).get("model_digest"),
        "settings": round_.config,
    }
