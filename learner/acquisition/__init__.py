"""Which images to ask about: pure functions over arrays. `learner.candidates` brings the arrays.

| module | holds |
|---|---|
| `ranking` | an order from one score an image: top, power, softmax, soft rank, random; selection probabilities |
| `duplicates` | what passes over images that look like one already taken |
| `batchbald` | the batch whose answers together tell most about the model |
| `badge` | long and different gradients |
| `coverage` | k-centre and typicality: where images lie among features |
| `herding` | images that stand for many others, of which the model is unsure |
"""

from learner.acquisition.badge import badge
from learner.acquisition.batchbald import batchbald
from learner.acquisition.coverage import k_centre, typicality
from learner.acquisition.duplicates import spread
from learner.acquisition.herding import herding
from learner.acquisition.ranking import inclusion_probabilities, percentiles, rank, selection_probabilities

__all__ = [
    "badge",
    "batchbald",
    "herding",
    "inclusion_probabilities",
    "k_centre",
    "percentiles",
    "rank",
    "selection_probabilities",
    "spread",
    "typicality",
]
