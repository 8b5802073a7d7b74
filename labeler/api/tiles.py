"""An image with what a round thinks of it, as lists of Explore, the grid and the confusion matrix have it."""

from __future__ import annotations

from pydantic import Field

from labeler.api.operations import Out
from labeler.api.shapes import ClassName, class_name
from labeler.selectors.explore import Tile


class TileOut(Out):
    image: int
    position: int
    name: str
    state: str
    label: ClassName | None
    is_holdout: bool
    predicted: ClassName | None = Field(description="null: a class that was deleted.")
    mean: float = Field(description="Of the predicted class's probability, over the posterior samples.")
    std: float = Field(description="Over the same samples.")


def tile_of(tile: Tile) -> TileOut:
    image = tile.image
    return TileOut(
        image=image.pk,
        position=image.position,
        name=image.name,
        state=image.state,
        label=class_name(image.label),
        is_holdout=image.is_holdout,
        predicted=class_name(tile.predicted),
        mean=tile.mean,
        std=tile.std,
    )
