"""`import torchvision` that works beside a CPU-only torch."""

from __future__ import annotations

import importlib
from types import ModuleType

import torch

_libraries: list[torch.library.Library] = []  # a schema lives only as long as its library


def torchvision() -> ModuleType:
    """Import torchvision.

    The ordinary torchvision wheel is built against a CUDA torch: beside a CPU-only one its compiled operators do not
    load, and its import fails when it registers shapes for two operators that are not there. Declaring their schemas
    is enough for models, transforms and datasets. Where the operators are there, nothing is declared.

    Returns:
        The module `torchvision`.

    Raises:
        ImportError: If torchvision is not installed.

    >>> torchvision().__name__
    'torchvision'
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            schema = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(schema)  # type: ignore[no-untyped-call]
    _libraries.append(library)
    return importlib.import_module("torchvision")
