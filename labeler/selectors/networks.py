"""A network of the pool's own for pages, and when the next one is due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from labeler.intervals import Interval
from labeler.models import Image, ImageState, JobState, LabelClass, PoolNetwork, Project
from labeler.models.jobs import UNFINISHED_JOB
from labeler.numerals import numeral
from labeler.selectors.features import Representation, chosen_representation, picked_representation, ready_features
from labeler.selectors.graphs import current_graph
from labeler.selectors.grid import learned_classes, training_images
from labeler.selectors.pool import pool_counts, says_something, total_images

LEAST_IMAGES = 200  # of fewer nothing is learned that the graph does not know
FIRST_ANSWERS, FIRST_BY_ITSELF = 10, 30  # where the graph teaches, and where answers alone do
GROWTH = 1.5  # of the answers, from one network to the next


@dataclass(frozen=True)
class NetworkState:
    """The network in use, the one that is being trained, the last one that ended, and what speaks for and against."""

    project: Project
    used: PoolNetwork | None
    made: PoolNetwork | None
    last: PoolNetwork | None
    returnable: PoolNetwork | None  # accepted once, and left

    @property
    def percent(self) -> int:
        return round(100 * self.made.done / self.made.total) if self.made and self.made.total else 0

    @property
    def taught_by(self) -> str:
        """What a network learns from beside the answers, to go on a sentence."""
        return _("what it is sure of itself") if teaches_itself(self.project) else _("what hangs together with them")

    @property
    def next_answers(self) -> int:
        return answers_for_next(self.project)

    @cached_property
    def labels(self) -> int:
        return training_images(self.project).count()

    @property
    def next_words(self) -> str:
        """When the next one begins by itself: not at a number of labels that has been passed long since."""
        values = {"enough": numeral(self.next_answers), "labels": numeral(self.labels)}
        images = pool_counts(self.project)
        if self.next_answers > images.total - images.holdout:
            words = _(
                "No further one begins by itself: it would take %(enough)s labels, and there are %(images)s images to "
                "learn from."
            )
            values["images"] = numeral(images.total - images.holdout)
        elif self.labels < self.next_answers:
            words = _(
                "The next one begins by itself at %(enough)s labels, when nothing else is to be done. There are "
                "%(labels)s."
            )
        elif self.made is not None:
            words = _(
                "The next one begins by itself after this one, when nothing else is to be done: it has %(labels)s "
                "labels to learn from, and %(enough)s are enough."
            )
        else:
            words = _(
                "The next one begins by itself as soon as nothing else is to be done: it has %(labels)s labels to "
                "learn from, and %(enough)s are enough."
            )
        return words % values

    @property
    def why_not(self) -> str:
        return why_no_network(self.project)

    @property
    def before(self) -> str:
        """What images were seen by before the network in use; without one, what they are seen by now."""
        if self.used is not None and self.used.former_id is not None:
            return _("network %(pk)s") % {"pk": self.used.former_id}
        chosen = chosen_representation(self.project)
        if self.used is None and chosen.backbone:
            features = ready_features(self.project)  # until there are any of the choice, those of the one before
            return Representation(features.backbone, features.weights, "").words if features else _("their pixels")
        return chosen.words

    @property
    def difference(self) -> Interval | None:
        """New less present accuracy of the last one that was judged."""
        found = self.last.evidence.get("difference") if self.last else None
        return None if found is None else Interval(**found)

    @property
    def is_told_apart(self) -> bool:
        """Whether the difference of the last one says something: it is of enough images, or it is sure."""
        found = self.last.evidence if self.last else {}
        return says_something(found) or bool(found.get("is_proven"))

    @property
    def contested(self) -> int:
        """Images that people are being asked about, so that the next one can be told from the present model."""
        if self.project.learning.acquisition == "random" or not (contested := contested_now(self.project)):
            return 0
        waiting = Image.objects.filter(project=self.project, state=ImageState.POOL, is_holdout=False)
        return waiting.filter(position__in=contested).count()

    @property
    def agreement(self) -> Interval | None:
        found = self.last.evidence.get("agreement") if self.last else None
        return None if found is None else Interval(**found)

    @property
    def objections(self) -> Sequence[str]:
        """Why the last one was refused, as sentences."""
        if self.last is None or self.last.is_accepted is not False:
            return []
        names = dict(LabelClass.objects.filter(project=self.project).values_list("pk", "name"))
        return objections_in_words(self.last.evidence, names)


def network_state(project: Project) -> NetworkState:
    rows = list(PoolNetwork.objects.filter(project=project).defer("labels")[:20])
    used = next((row for row in rows if row.pk == project.learning.network_id), None)
    last = next((row for row in rows if row.state not in UNFINISHED_JOB), None)
    accepted = [row for row in rows if row.is_accepted and row.file]
    return NetworkState(
        project=project,
        used=used,
        made=next((row for row in rows if row.state in UNFINISHED_JOB), None),
        last=last,
        returnable=next((row for row in accepted if used is None or row.pk > used.pk), None),
    )


def teaches_itself(project: Project) -> bool:
    """Whether a network learns from answers and from what it is sure of itself. Small grey images hang together by
    their pixels: there the graph teaches it."""
    return bool(picked_representation(project).backbone)


def why_no_network(project: Project) -> str:
    """Empty if one can be trained, else what is missing."""
    if total_images(project) < LEAST_IMAGES:
        return _("A network needs %(least)s images.") % {"least": LEAST_IMAGES}
    if learned_classes(project, most=2) < 2:
        return _("A network needs labels of two classes.")
    if current_graph(project) is None:
        return _("Which images look alike is not known yet; a network learns from that.")
    return ""


def newer_classes(network: PoolNetwork) -> list[int]:
    """Ids of classes that have got their first label since it was asked for: it took their images for others."""
    labelled = training_images(network.project)
    others = labelled.exclude(label__in=network.labels.get("classes", []))
    return sorted(others.order_by().values_list("label", flat=True).distinct())


def contested_now(project: Project) -> list[int]:
    """Images that people are asked about since the last network that was judged and the present model disagree about
    them, and no answers showed which is right. Those that have an answer are among them."""
    return list((_judged(project).values_list("evidence__contested", flat=True).first()) or [])


def contested_so_far(project: Project) -> list[int]:
    """The same of all networks so far: answers about these tell two models apart, whenever they came."""
    before = _judged(project).values_list("labels__contested", flat=True).first() or []
    return sorted({*before, *contested_now(project)})


def _judged(project: Project) -> QuerySet[PoolNetwork]:
    """The last one first; one that was stopped or failed says nothing. Answers that they learned from may be many."""
    return PoolNetwork.objects.filter(project=project, state=JobState.DONE)


def answers_for_next(project: Project) -> int:
    """Labels from which on the next one begins by itself: as many as there are groups, or `FIRST_BY_ITSELF`; then half
    as many again as the last one had, whatever came of it, or the next label if there is a class that it does not
    know."""
    last = PoolNetwork.objects.filter(project=project).first()
    if last is not None:
        return last.answers + 1 if newer_classes(last) else max(last.answers + 1, round(GROWTH * last.answers))
    if teaches_itself(project):
        return FIRST_BY_ITSELF
    graph = current_graph(project)
    return max(FIRST_ANSWERS, graph.groups if graph else 0)


def objections_in_words(evidence: dict[str, Any], class_names: dict[int, str]) -> list[str]:
    """What the gate holds against a network, as parts of a sentence."""
    forgotten, newer = (
        ", ".join(class_names.get(pk, _("an archived class")) for pk in evidence.get(name, []))
        for name in ("forgotten", "newer")
    )
    words = {
        "fewer_right": _("it is right about %(new)s of %(n)s measured images, the present model about %(old)s")
        % {
            name: numeral(evidence.get(key) or 0)
            for name, key in (("new", "new_right"), ("n", "n"), ("old", "old_right"))
        },
        "unproven": _("the answers that can prove it, of the holdout and kept back, do not show yet that it is better"),
        "untaught": _("too few images hang together with answers for it to be judged by them"),
        "disagrees": _("it often disagrees about images that leave little doubt"),
        "forgets": _("it hardly ever says %(forgotten)s") % {"forgotten": forgotten},
        "outdated": _("since it began, people have found %(newer)s, which it does not know") % {"newer": newer},
        "shifted": _("%(share)s %% of the images would change to classes of other sizes")
        % {"share": round(100 * evidence.get("shift", 0))},
    }
    return [words[name] for name in evidence.get("objections", []) if name in words]
