"""The files of a round's model, to be taken away: weights as safetensors, all of it as ONNX, the rest as JSON."""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path
from typing import IO

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import override

from labeler.models import LabelClass, Round
from labeler.round_files import fetched_model
from labeler.selectors.model_card import as_json, as_markdown, model_card
from labeler.selectors.served import export_of

IN_MEMORY = 16 * 2**20  # a larger one goes to a file on its way


class NoModel(Exception):
    """Its files are gone; the message says so for people."""


def model_archive(round_: Round) -> IO[bytes]:
    """A zip of all that it takes to use the model elsewhere; `learner/served.md` lists it and goes along. Without an
    export for new images there is no `model.onnx`. Raises NoModel."""
    folder = fetched_model(round_)
    files = [folder / "model.json", *sorted(folder.glob("*.safetensors"))]
    if not round_.folder or len(files) < 2 or not all(path.is_file() for path in files):
        raise NoModel(_("The model files of round %(number)s are gone.") % {"number": round_.number})
    named = {path.name: path for path in files}
    loader = Path(settings.BASE_DIR) / "learner"
    export = export_of(round_).ready
    texts = {"round.json": _json(_about(round_))}
    if export is not None:
        named |= {"model.onnx": folder / export.file, "arrays.safetensors": folder / export.arrays}
        named["predict.py"] = loader / "served.py"
        texts["served.json"] = _json({**export.about, "notes": export.notes, "digest": export.digest})
    with override(settings.LANGUAGE_CODE):  # one document, for everybody who gets the model
        card = model_card(round_, export)
        texts |= {"MODEL_CARD.md": as_markdown(card), "model_card.json": _json(as_json(card))}
    named["README.md"] = loader / "served.md"
    archive: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115  (the response closes it)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as zipped:
        for name, text in texts.items():
            zipped.writestr(name, text)
        for name, path in named.items():
            if path.is_file():
                zipped.write(path, name)
    archive.seek(0)
    return archive


def _json(content: object) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


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
