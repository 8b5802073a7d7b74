"""A model for new images that no round had to be fitted for: it goes by how bright an image is."""

from __future__ import annotations

import hashlib
from functools import cache

from labeler import clock
from labeler.models import JobState, ModelExport
from labeler.selectors import served
from labeler.storage import round_folder
from learner.exported import OWN_MEASURES
from tests.labeler.scored import scored_round


@cache
def tiny() -> bytes:
    """An ONNX file of three classes: white is a cat."""
    import torch

    class Tiny(torch.nn.Module):
        def forward(self, pixels):
            bright = pixels.float().sum((1, 2, 3)) / (144 * 255)
            mean = torch.stack([bright, (1 - bright) * 0.75, (1 - bright) * 0.25], 1)
            return mean, mean * 0.1, *[bright * 0.1 * at for at in range(len(OWN_MEASURES))]

    program = torch.onnx.export(
        Tiny(), (torch.zeros((2, 1, 12, 12), dtype=torch.uint8),), dynamo=True, verbose=False,
        dynamic_shapes=({0: torch.export.Dim("images")},), input_names=["pixels"],
        output_names=["mean", "std", *OWN_MEASURES],
    )  # fmt: skip
    return program.model_proto.SerializeToString()


def tiny_export(project, make_images, manager) -> ModelExport:
    """Of a scored round that is in charge."""
    make_images(project, 30)
    round_ = scored_round(project, [[0.6, 0.3, 0.1]] * 30, [[0.1] * 3] * 30)
    folder = round_folder(round_)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "served-1.onnx").write_bytes(tiny())
    (folder / "served-1.arrays").write_bytes(b"arrays")
    project.model_round = round_
    project.save()
    served._opened.cache_clear()
    about = {
        "format": 1, "classes": ["cat", "dog", "owl"], "class_ids": round_.classes, "posterior_samples": 4,
        "input": {"kind": "small", "side": 12, "channels": 1}, "made_with": {"onnx": "1"}, "notes": [],
    }  # fmt: skip
    return ModelExport.objects.create(
        project=project, round=round_, created_by=manager, state=JobState.DONE, file="served-1.onnx", about=about,
        arrays="served-1.arrays", size=len(tiny()), finished_at=clock.now(), digest=hashlib.sha256(tiny()).hexdigest(),
    )  # fmt: skip
