"""The fitted model of a round on disk: `model.json` beside safetensors files.

`model.json` is written last and names a digest of the others, so that a folder either holds a whole model or none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from learner.config import RoundConfig
from learner.errors import ArtifactError, ChunkError, LearnerError
from learner.estimators import Estimator, estimator_class
from learner.files import digest, write_json
from learner.pool import Chunk, describe

MODEL_FILE = "model.json"
FORMAT = 2


@dataclass(frozen=True)
class Model:
    """What `model.json` says.

    Args:
        config: What the model was fitted with.
        training_digest: SHA-256 of the training positions, labels and images.
        digest: SHA-256 of the weight files.
        saved: What the estimator keeps; see `Estimator.save`.
    """

    config: RoundConfig
    training_digest: str
    digest: str
    saved: dict[str, Any]

    def check_shape(self, chunk: Chunk, shape: tuple[int, ...]) -> None:
        """Refuse images of another shape than the model was trained on.

        Raises:
            ChunkError: If the shape differs.
        """
        if list(shape) != list(self.saved["shape"]):
            raise ChunkError(
                f"chunk {chunk.number}: {describe(shape)}, the model knows {describe(self.saved['shape'])}"
            )


def save_model(directory: Path, estimator: Estimator, config: RoundConfig, training_digest: str) -> Model:
    """Write a fitted estimator; the files appear one by one, `model.json` last."""
    (directory / MODEL_FILE).unlink(missing_ok=True)
    saved = estimator.save(directory)
    model = Model(config, training_digest, _digest_files(directory, saved["files"]), saved)
    write_json(
        directory / MODEL_FILE,
        {
            "format": FORMAT,
            "config": json.loads(config.to_json()),
            "training_digest": training_digest,
            "digest": model.digest,
            "saved": saved,
        },
    )
    return model


def load_model(directory: Path, device: str | None = None) -> tuple[Estimator, Model]:
    """Read a fitted estimator.

    Args:
        directory: The round's.
        device: Where it is to be; None: where its config says. The samples are the same on each.

    Raises:
        ArtifactError: If the model is missing, damaged, or of a newer format.
    """
    path = directory / MODEL_FILE
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise ArtifactError(f"{path} is of format {content['format']}, this version reads {FORMAT}")
        config = RoundConfig.from_dict(content["config"])
        if device is not None:
            config = replace(config, device=device)
        model = Model(config, content["training_digest"], content["digest"], content["saved"])
        files_digest = _digest_files(directory, model.saved["files"])
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        raise ArtifactError(f"there is no fitted model in {directory.name} ({missing} is missing)") from None
    except (OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, LearnerError):
            raise
        raise ArtifactError(f"{path} is damaged ({error}); fit the round again") from error
    if files_digest != model.digest:
        raise ArtifactError(f"the weights in {directory} are not those that {MODEL_FILE} names; fit the round again")
    return estimator_class(config.estimator).load(directory, model.saved, config), model


def _digest_files(directory: Path, names: list[str]) -> str:
    return digest(*(part for name in names for part in (name.encode(), (directory / name).read_bytes())))
