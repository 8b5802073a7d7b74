"""What can be said about a choice of backbone without torch: its name, its file. The rest a worker finds out."""

from __future__ import annotations

import importlib.util
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext as _

from labeler.choices import BACKBONE_NAME, WEIGHT_SUFFIXES

MOST_HEADER = 100 * 2**20  # of a safetensors file, by its format
PICKLE = b"\x80"  # how torch's older files begin; the worker reads them without running anything


@dataclass(frozen=True)
class WhyNot:
    field: str
    words: str


def weight_files(*, also: str = "") -> list[tuple[str, str]]:
    """What a manager may choose among, and `also` what is chosen already though it is gone."""
    folder = Path(settings.BACKBONE_DIR)
    names = {path.name for path in folder.iterdir() if path.suffix in WEIGHT_SUFFIXES} if folder.is_dir() else set()
    gone = [(also, _("%(name)s (gone)") % {"name": also})] if also and also not in names else []
    return [("", _("None: the weights that belong to the name")), *gone, *((name, name) for name in sorted(names))]


def why_not_backbone(name: str, file: str) -> WhyNot | None:
    """Why a backbone cannot be taken, as far as the web process can tell."""
    if not name:
        return WhyNot("backbone", _("Name the backbone, or choose another kind above."))
    if not re.fullmatch(BACKBONE_NAME, name):
        return WhyNot("backbone", _("A name such as resnet50 or timm/vit_small_patch16_224."))
    if name.startswith("timm/") and importlib.util.find_spec("timm") is None:
        return WhyNot("backbone", _("The package timm is not installed on this server. Take a name of torchvision’s."))
    words = _why_not_weights(Path(settings.BACKBONE_DIR) / file) if file else ""
    return WhyNot("backbone_file", words) if words else None


def _why_not_weights(path: Path) -> str:
    """Looks at the beginning of the file."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
            if path.suffix == ".safetensors":
                length = int.from_bytes(start, "little")
                is_fine = len(start) == 8 and length < MOST_HEADER and isinstance(json.loads(file.read(length)), dict)
            else:
                is_fine = start.startswith(PICKLE) or zipfile.is_zipfile(path)
    except FileNotFoundError:
        return _("This file is gone.")
    except OSError as error:
        return _("This file cannot be read: %(error)s.") % {"error": error.strerror}
    except ValueError:
        is_fine = False
    return "" if is_fine else _("This file holds no weights, or is damaged.")
