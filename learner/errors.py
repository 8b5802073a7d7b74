"""What can go wrong, in words for people."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager


class LearnerError(ValueError):
    """Something that a person can mend: the message says what and how."""


class LabelError(LearnerError):
    """The labels cannot train or test a model: none, one class only, or out of range."""


class ConfigError(LearnerError):
    """A setting is out of its range."""


class UnknownNameError(ConfigError):
    """A name that nothing is registered under; the message lists the known ones."""


class ChunkError(LearnerError):
    """A pixel file is missing, damaged, or not of the shape its pool has."""


class ArtifactError(LearnerError):
    """A model or score file of a round is missing or damaged."""


class BackboneError(LearnerError):
    """A pretrained network is not known, its weights cannot be had, or a file does not hold them."""


class DivergedError(LearnerError):
    """The loss or the weights of a fit are no longer finite."""


def check_known(kind: str, name: str, known: Collection[str]) -> None:
    """Refuse a name that is not among the known ones.

    Args:
        kind: What the name is for, such as `"architecture"`.
        name: The name to check.
        known: All names that there are.

    Raises:
        UnknownNameError: If `name` is not in `known`.

    >>> check_known("architecture", "resnet", ["cnn", "mlp"])
    Traceback (most recent call last):
    learner.errors.UnknownNameError: unknown architecture 'resnet'; known: cnn, mlp
    """
    if name not in known:
        raise UnknownNameError(f"unknown {kind} {name!r}; known: {', '.join(sorted(known))}")


@contextmanager
def naming(whose: str) -> Iterator[None]:
    """Put behind the message of an error whose work it stopped: what an estimator refuses, it may not name itself.

    Args:
        whose: Such as `"laplace of mlp"`.

    Raises:
        LearnerError: That of the block, of the same kind. That of a chunk is about the images and passes as it is.

    >>> with naming("laplace of mlp"):
    ...     raise LabelError("all of one class")
    Traceback (most recent call last):
    learner.errors.LabelError: all of one class (laplace of mlp)
    """
    try:
        yield
    except ChunkError:
        raise
    except LearnerError as error:
        raise type(error)(f"{error} ({whose})") from error
