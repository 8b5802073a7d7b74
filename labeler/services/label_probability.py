"""How likely each class is, given who said what: Bayes' rule with what was measured of people (services/quality.py).

The model is Dawid and Skene's, fitted by a worker; here is only its last step, for one image at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from labeler.models import AnnotatorQuality, AnswerQuality

LEAST = 1e-12
UNFITTED = 2  # answers of an image, of which only the newest is not in the fit: with one it was no evidence


@dataclass(frozen=True)
class Person:
    """`right`: how often they are right. `confusion`: probability of each answer (column) given the truth (row)."""

    right: float
    confusion: Sequence[Sequence[float]] | None = None

    def likelihood(self, said: int, truth: int, classes: Mapping[int, int], n_classes: int) -> float:
        """Of this answer if that is the truth; a class that came after the fit goes by `right` alone."""
        if self.confusion is not None and said in classes and truth in classes:
            return self.confusion[classes[truth]][classes[said]]
        return self.right if said == truth else (1 - self.right) / max(1, n_classes - 1)


@dataclass(frozen=True)
class MeasuredPeople:
    """What is known of some people: `usual` for those of whom nothing is, `prior` of the classes by id."""

    people: Mapping[int, Person]
    usual: Person
    prior: Mapping[int, float]

    def shares(self, votes: Sequence[tuple[int, int]]) -> dict[int, float]:
        """The probability of each class that was named, from (person, class) pairs. What is missing to 1 is that of the
        classes which nobody has named."""
        return bayes([(self.people.get(person, self.usual), said) for person, said in votes], self.prior)

    def shares_of_asked_again(self, votes: Sequence[tuple[int, int]]) -> dict[int, float]:
        """The same as an image is settled by it: when it gets its newest answer, and whenever people have been measured
        anew. One rule for both, or what an answer settled would be taken back at the next measuring.

        From the second answer on an image is evidence of what its people confuse. Where they differ, the fit lets each
        of them be known for just that, and their confusions would then prefer the class that nobody else has named. So
        a third answer and those after it are weighed by how often people err, in which one image counts for little.
        """
        if len(votes) <= UNFITTED:
            return self.shares(votes)
        by_rate = {pk: Person(person.right) for pk, person in self.people.items()}
        return replace(self, people=by_rate, usual=Person(self.usual.right)).shares(votes)


def measured_people(project_id: int, people: Sequence[int]) -> MeasuredPeople | None:
    """None: they are not measured yet. Two statements."""
    fitted = AnswerQuality.objects.filter(project=project_id, right__isnull=False).first()
    if fitted is None or fitted.right is None:
        return None
    rows = AnnotatorQuality.objects.filter(project=project_id, annotator__in=people)
    known = rows.values_list("annotator_id", "trust", "confusion")
    found = {pk: Person(trust, confusion) for pk, trust, confusion in known if trust is not None}
    return MeasuredPeople(found, Person(fitted.right), dict(zip(fitted.classes, fitted.prior, strict=True)))


def bayes(votes: Sequence[tuple[Person, int]], prior: Mapping[int, float]) -> dict[int, float]:
    """The probability of each class that somebody has named; classes unknown to `prior` count as its rarest one.

    One answer alone is as likely right as its person is on the whole: SETTLE_FIRST of consensus.py says the same.
    """
    if len(votes) == 1:
        return {said: person.right for person, said in votes}
    named = {said for _, said in votes}
    rarest = min(prior.values(), default=0.5)
    shares = {**prior, **{pk: rarest for pk in named if pk not in prior}}
    order, n = {pk: at for at, pk in enumerate(prior)}, max(2, len(shares))
    log = {
        truth: math.log(max(share, LEAST))
        + sum(math.log(max(person.likelihood(said, truth, order, n), LEAST)) for person, said in votes)
        for truth, share in shares.items()
    }
    top = max(log.values())
    weights = {truth: math.exp(value - top) for truth, value in log.items()}
    total = sum(weights.values())
    return {truth: weights[truth] / total for truth in named}
