"""The learner of PlusMinus: fit a network on a few labels, measure how unsure it is, choose whom to ask about next.

A torch library without Django, database or global state. It speaks in positions in a pool of images, and every shape
is in the name of the variable that has it: N pool images, M a minibatch, K posterior samples, C classes, B budget,
D features, X the shape of one input (channels, height, width of an image, or D of a feature vector). Importing the
package, or its numpy modules (`config`, `pool`, `scores`, `metrics`, `acquisition`, `round`), never loads torch; only
fitting and scoring do.

| module | holds |
|---|---|
| `config` | what a round is asked to do: `RoundConfig`, `Recipe`, `RoundRequest` |
| `pool` | pixels or feature vectors in files of 4,096 images |
| `network` | architectures, each a deterministic trunk and a stochastic head |
| `fit` | the training loop; `augmentation` its affine views |
| `training_set` | what a round learns from beside the answers; `teachers` pass them on, `doubt` tries these |
| `graph` | which images look alike, and what that says; `transduction` what answers and pool say without it |
| `distillation` | a full network on the pool's pixels; `lessons` what it is taught, `gate` whether it takes over |
| `estimators` | posterior approximations under one contract |
| `uncertainty` | measures from posterior samples |
| `scores` | one score file a chunk |
| `targets` | the images that EPIG wants to know more about |
| `acquisition` | which images to ask about: one file a family of functions |
| `candidates` | brings an acquisition function what it needs; `posterior` its joint samples and features |
| `metrics` | accuracy and calibration, each with its interval |
| `round` | all of it, in order: fit, score, acquire, evaluate |
"""

import os

# Before torch loads its OpenMP: threads that wait give up their core. On a machine that also serves pages, spinning
# ones make a fit five times slower (docs/log.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
