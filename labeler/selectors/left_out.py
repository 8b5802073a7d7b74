"""What a measurement leaves out: holdout images that people disagree about, or that were set aside.

They are as a rule the hard ones, so what is left is no random sample any more, and looks better than all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from labeler.intervals import wilson
from labeler.models import Image, ImageState, Project
from labeler.numerals import numeral
from labeler.selectors.disputes import Disputes, holdout_disputes
from labeler.selectors.pool import PoolCounts
from labeler.told import amount, ntold, said

WITHOUT_LABEL = (ImageState.DISPUTED, ImageState.SET_ASIDE)  # a bad image has no class that could be told


@dataclass(frozen=True)
class LeftOut:
    """`low` and `high`: the share of right ones with them, from all of them wrong to all right, each end with its half
    of the 95 % interval; None where nothing else was measured."""

    disputed: int = 0
    set_aside: int = 0
    low: float | None = None
    high: float | None = None

    @property
    def images(self) -> int:
        return self.disputed + self.set_aside

    @property
    def words(self) -> str:
        return said(self.sentence)

    @property
    def sentence(self) -> str:
        """One sentence; empty if there are none."""
        if not self.images:
            return ""
        if self.low is None or self.high is None:
            return ntold(
                "Not counted is %(images)s holdout image that is disputed or set aside.",
                "Not counted are %(images)s holdout images that are disputed or set aside.",
                self.images,
                images=self.images,
            )
        return ntold(
            "Not counted is %(images)s holdout image that was disputed or set aside when this was measured; with it "
            "%(low)s to %(high)s %% would be right, from wrong to right, the 95 %% interval included.",
            "Not counted are %(images)s holdout images that were disputed or set aside when this was measured; with "
            "them %(low)s to %(high)s %% would be right, from all of them wrong to all right, the 95 %% interval "
            "included.",
            self.images,
            images=self.images,
            low=amount(100 * self.low, 1),
            high=amount(100 * self.high, 1),
        )


@dataclass(frozen=True)
class LeftOutNow:
    """Of this moment: `asked` of the disputed are asked of another person, the others wait for a manager."""

    disputed: int
    asked: int
    set_aside: int

    @property
    def disputed_words(self) -> str:
        images, asked, waiting = (numeral(n) for n in (self.disputed, self.asked, self.disputed - self.asked))
        words = ngettext(
            "%(images)s holdout image is disputed and not counted",
            "%(images)s holdout images are disputed and not counted",
            self.disputed,
        ) % {"images": images}
        if self.asked == self.disputed:
            return _("%(words)s: another person is asked first of all.") % {"words": words}
        if not self.asked:
            return _("%(words)s: nobody is left to be asked, and a manager has to decide.") % {"words": words}
        others = ngettext(
            "%(asked)s is asked of another person first of all", "%(asked)s are asked of another person first of all",
            self.asked,
        ) % {"asked": asked}  # fmt: skip
        left = ngettext(
            "%(waiting)s waits for a manager", "%(waiting)s wait for a manager", self.disputed - self.asked
        ) % {"waiting": waiting}
        return _("%(words)s: %(others)s, %(left)s.") % {"words": words, "others": others, "left": left}

    @property
    def aside_words(self) -> str:
        words = ngettext(
            "%(images)s holdout image is set aside and not counted.",
            "%(images)s holdout images are set aside and not counted.",
            self.set_aside,
        )
        return words % {"images": numeral(self.set_aside)}


def left_out_of(metrics: Mapping[str, Any] | None) -> LeftOut:
    """As `Round.metrics` has it, of the time when it was measured."""
    found = (metrics or {}).get("left_out") or {}
    disputed, aside = int(found.get("disputed", 0)), int(found.get("set_aside", 0))
    accuracy, n = (metrics or {}).get("accuracy"), int((metrics or {}).get("n", 0))
    if not accuracy or not n:
        return LeftOut(disputed, aside)
    low, high = bounds(round(accuracy["value"] * n), n, disputed + aside)
    return LeftOut(disputed, aside, low, high)


def bounds(right: int, measured: int, left_out: int) -> tuple[float, float]:
    """The share of right ones whatever those that are left out turn out to be, with Wilson's interval at each end."""
    worst, best = wilson(right, measured + left_out), wilson(right + left_out, measured + left_out)
    assert worst is not None and best is not None
    return worst.low, best.high


def left_out_now(project: Project, counts: PoolCounts) -> LeftOutNow:
    disputes = holdout_disputes(project) if counts.holdout_disputed else Disputes([], [])
    return LeftOutNow(counts.holdout_disputed, len(disputes.open_), counts.holdout_set_aside)


def states_left_out(project: Project) -> dict[int, str]:
    """By position, sorted: holdout images that were answered and have no label."""
    images = Image.objects.filter(project=project, is_holdout=True, state__in=WITHOUT_LABEL)
    return dict(images.exclude(state=ImageState.POOL).order_by("position").values_list("position", "state"))


def count_left_out(states: Mapping[int, str], known: Iterable[int]) -> dict[str, int]:
    """How many of each are among the positions that a model knows."""
    found = Counter(states[at] for at in known)
    return {str(state): found[state] for state in WITHOUT_LABEL}
