"""What answers of several people say together, and how far each can be trusted: Dawid and Skene's model. numpy only.

Each person has a confusion matrix: the probability of each answer given the true class. Nobody knows the truth, so both
are estimated in turn by expectation-maximisation. Priors keep people with few answers near all others.
"""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from learner.errors import LearnerError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MOST_CONFUSED = 30
"""With more classes than this a person has one error rate in place of a matrix, whose cells nobody could fill."""

STEPS, CLOSE = 200, 1e-4
PRIOR_RIGHT, PRIOR_ANSWERS = 0.8, 10.0
"""Before any answer: people are thought right 4 times of 5, as firmly as 10 answers would say."""

PRIOR_OF_ALL = 4.0
"""So many answers in each row of a person's matrix say what all people's say."""

PRIOR_RATE = 10.0
"""So many in a person's error rate, where that is all there is."""

LEAST = 1e-12


@dataclass(frozen=True)
class Answers:
    """Answers of people on images, as three columns.

    Args:
        image_n: int64, 0 to N - 1.
        person_n: int64, 0 to P - 1. A person has at most one answer on an image.
        class_n: int64, 0 to C - 1.
        n_images: N.
        n_people: P.
        n_classes: C, at least 2.
        known_N: int64 `[N]`: the true class where it is known (gold images), else -1. None: nowhere.
    """

    image_n: Integers
    person_n: Integers
    class_n: Integers
    n_images: int
    n_people: int
    n_classes: int
    known_N: Integers | None = None

    def __post_init__(self) -> None:
        """Raises LearnerError for what does not fit."""
        if self.n_classes < 2:
            raise LearnerError("people can only be told apart with two classes or more")
        columns = (("image", self.image_n, self.n_images), ("person", self.person_n, self.n_people))
        for name, column, most in (*columns, ("class", self.class_n, self.n_classes)):
            if len(column) != len(self.image_n) or (len(column) and not 0 <= column.min() <= column.max() < most):
                raise LearnerError(f"the {name} column does not fit: {len(column)} values, 0 to {most - 1} wanted")


@dataclass(frozen=True)
class People:
    """What is estimated of the people. One of the two last is None.

    Args:
        prior_C: Share of each class among the images, sums to 1.
        right: Probability that an answer of anybody is right, all pooled.
        right_P: For each person the probability that an answer of theirs is right.
        confusion_P_C_C: For each person the probability of an answer (column) given the truth (row); None where there
            are more classes than `MOST_CONFUSED`.
    """

    prior_C: Floats
    right: float
    right_P: Floats
    confusion_P_C_C: Floats | None


def fit_people(answers: Answers, *, prior: float = PRIOR_OF_ALL, most_confused: int = MOST_CONFUSED) -> People:
    """Estimate how far each person can be trusted.

    First one error rate for all, then one for each or a matrix for each, with Dirichlet priors that say what all people
    do, worth `prior` answers a row of a matrix, `PRIOR_RATE` answers of a rate. An image with one answer and no known
    class tells nothing of its person and should be left out: it would only confirm itself.

    Args:
        answers: At least one.
        prior: Pseudo-answers a row; 0 is maximum likelihood, as in the paper.
        most_confused: See `MOST_CONFUSED`.

    Returns:
        The posterior mode under the priors, near the solution where most people are right (the model has others: all
        classes may be swapped).

    Reference:
        Dawid and Skene, 1979, Maximum likelihood estimation of observer error-rates using the EM algorithm, equations
        2.3 to 2.5, with pseudo-counts added to 2.3. A single error rate: Li and Yu, 2014, the homogenous model.
    """
    pooled = _fit_rates(answers, prior=0.0, is_pooled=True)
    right = float(pooled.right)
    if answers.n_classes > most_confused:
        return _fit_rates(answers, prior=PRIOR_RATE if prior else 0.0, is_pooled=False, centre=right)
    return _fit_matrices(answers, right, prior)


def posterior(answers: Answers, people: People) -> Floats:
    """The probability of each class for each image, by Bayes' rule.

    Args:
        answers: May be others than those that `people` was fitted on.
        people: Of the same people and classes.

    Returns:
        `[N, C]`, rows of sum 1. Where there are more classes than `MOST_CONFUSED` this is a large array: use
        `posterior_of_answered` there.
    """
    log = np.tile(np.log(np.maximum(people.prior_C, LEAST)), (answers.n_images, 1))
    if people.confusion_P_C_C is not None:
        of_truth = np.log(np.maximum(people.confusion_P_C_C, LEAST))[answers.person_n, :, answers.class_n]
        for c in range(answers.n_classes):
            log[:, c] += np.bincount(answers.image_n, of_truth[:, c], answers.n_images)
    else:
        hit, miss = _log_rates(people.right_P[answers.person_n], answers.n_classes)
        log += np.bincount(answers.image_n, miss, answers.n_images)[:, None]
        np.add.at(log, (answers.image_n, answers.class_n), hit - miss)
    return _shares(log, answers.known_N)


def posterior_of_answered(answers: Answers, people: People) -> Floats:
    """For each answer the probability that its class is the image's, by Bayes' rule; `[n]`, in O(n) memory."""
    if people.confusion_P_C_C is not None:
        return np.asarray(posterior(answers, people)[answers.image_n, answers.class_n])
    _, _, of_answer = _sparse_shares(answers, people.right_P[answers.person_n], people.prior_C)
    return of_answer


# --- One error rate -------------------------------------------------------------------------------------------------


def _fit_rates(answers: Answers, *, prior: float, is_pooled: bool, centre: float = PRIOR_RIGHT) -> People:
    """EM with an error rate a person, or one for all (its prior is PRIOR_RIGHT). Never holds images x classes."""
    n, who = len(answers.image_n), np.zeros_like(answers.person_n) if is_pooled else answers.person_n
    n_who, weight = 1 if is_pooled else answers.n_people, PRIOR_ANSWERS if is_pooled else prior
    right = np.full(n_who, centre)
    prior_C = _class_shares(np.bincount(answers.class_n, minlength=answers.n_classes).astype(float))
    given = np.bincount(who, minlength=n_who)
    for _ in range(STEPS if n else 0):
        pairs, of_pair, of_answer = _sparse_shares(answers, right[who], prior_C)
        hits = np.bincount(who, of_answer, n_who)
        newer = (hits + weight * centre) / np.maximum(given + weight, LEAST)
        prior_C = _class_shares(np.bincount(pairs % answers.n_classes, of_pair, answers.n_classes))
        is_close = float(np.abs(newer - right).max(initial=0.0)) < CLOSE
        right = newer
        if is_close:
            break
    rate = float(right[0]) if is_pooled else centre
    people = np.full(answers.n_people, rate) if is_pooled else right
    return People(prior_C, rate, people, None)


def _sparse_shares(answers: Answers, right_n: Floats, prior_C: Floats) -> tuple[Integers, Floats, Floats]:
    """For (image, class) pairs that were answered or are known: keys, probabilities; and those of each answer."""
    C, N = answers.n_classes, answers.n_images
    key_n = answers.image_n * C + answers.class_n
    known = np.full(N, -1) if answers.known_N is None else answers.known_N
    is_known = known >= 0
    extra = np.flatnonzero(is_known) * C + known[is_known]
    pairs, where = np.unique(np.concatenate([key_n, extra]), return_inverse=True)
    hit, miss = _log_rates(right_n, C)
    gain = np.bincount(where[: len(key_n)], hit - miss, len(pairs))
    image_k, class_k = np.divmod(pairs, C)
    log = gain + np.log(np.maximum(prior_C[class_k], LEAST))
    left = np.maximum(1.0 - np.bincount(image_k, prior_C[class_k], N), 0.0)  # of the classes that nobody has named
    top = np.full(N, -np.inf)
    np.maximum.at(top, image_k, log)
    top = np.where(np.isfinite(top), top, 0.0)
    share = np.exp(log - top[image_k])
    total = np.bincount(image_k, share, N) + left * np.exp(-top)
    of_pair = share / np.maximum(total[image_k], LEAST)
    of_pair = np.where(is_known[image_k], (known[image_k] == class_k).astype(float), of_pair)
    return pairs, of_pair, of_pair[where[: len(key_n)]]


def _log_rates(right_n: Floats, n_classes: int) -> tuple[Floats, Floats]:
    return (
        np.log(np.maximum(right_n, LEAST)),
        np.log(np.maximum((1.0 - right_n) / (n_classes - 1), LEAST)),
    )


# --- A matrix a person ----------------------------------------------------------------------------------------------


def _fit_matrices(answers: Answers, right: float, prior: float) -> People:
    C, P = answers.n_classes, answers.n_people
    centre = np.full((C, C), (1.0 - right) / (C - 1))
    np.fill_diagonal(centre, right)
    shares = _votes(answers)
    confusion = np.tile(centre, (P, 1, 1))
    prior_C = _class_shares(shares.sum(0))
    for step in range(STEPS):
        newer = _confusion(answers, shares, centre, prior)
        prior_C = _class_shares(shares.sum(0))
        is_close = step > 0 and float(np.abs(newer - confusion).max(initial=0.0)) < CLOSE
        confusion = newer
        shares = posterior(answers, People(prior_C, right, np.full(P, right), confusion))
        if is_close:
            break
    right_P = np.einsum("c,pcc->p", prior_C, confusion)
    return People(prior_C, right, right_P, confusion)


def _confusion(answers: Answers, shares: Floats, centre: Floats, prior: float) -> Floats:
    """Equation 2.3 with pseudo-counts: how often each person says each class where the truth is one."""
    C, P = answers.n_classes, answers.n_people
    counts = np.zeros((P, C, C))
    cell = answers.person_n * C + answers.class_n
    for c in range(C):
        counts[:, c, :] = np.bincount(cell, shares[answers.image_n, c], P * C).reshape(P, C)
    counts += prior * centre
    total = counts.sum(2, keepdims=True)
    confusion: Floats = np.where(total > LEAST, counts / np.maximum(total, LEAST), centre)
    return confusion


def _votes(answers: Answers) -> Floats:
    """Where it begins: the share of the votes, as in the paper; certainty for known images."""
    votes = np.zeros((answers.n_images, answers.n_classes))
    np.add.at(votes, (answers.image_n, answers.class_n), 1.0)
    votes /= np.maximum(votes.sum(1, keepdims=True), 1.0)
    return _with_known(votes, answers.known_N)


def _class_shares(counts: npt.NDArray[Any]) -> Floats:
    """With one image of each class more: no class is impossible."""
    shares: Floats = (counts + 1.0) / (counts.sum() + len(counts))
    return shares


def _shares(log: Floats, known_N: Integers | None) -> Floats:
    shares = np.exp(log - log.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    return _with_known(shares, known_N)


def _with_known(shares: Floats, known_N: Integers | None) -> Floats:
    if known_N is not None:
        known = np.flatnonzero(known_N >= 0)
        shares[known] = 0.0
        shares[known, known_N[known]] = 1.0
    return shares
