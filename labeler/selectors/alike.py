"""What is told of the group that a question is about: how many images it has, among how many groups, and some others of
them. Written into the place when the queue is made, by numpy alone: an answer reads nothing more."""

# ruff: noqa: N815 (shapes in names)
from __future__ import annotations

import zipfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from labeler.models import Candidate, Image, ImageState, Project, Reason
from labeler.numerals import numeral

Integers = npt.NDArray[np.int64]

LARGE = 1.5  # times the images that a group has on average: what is larger is told by a part of it
SHOWN, DRAWN = 6, 14  # images; some of those drawn are of the holdout, gold or bad, and are not shown
LOOKUP = 500  # positions a query


@dataclass(frozen=True)
class _Tree:
    """Communities within communities, as `learner.graph.communities.Tree` has them, and where each one's images are."""

    leaf_N: Integers
    parent_V: Integers
    size_V: Integers

    def around(self, position: int, size: int, n_groups: int) -> int | None:
        """The largest part around an image that is one of the groups rather than several of them; None: there is none.

        What is asked about first may be a third of the pool: groups that hang together a little more than chance has
        it, of which a person would say that they look different.
        """
        if position >= len(self.leaf_N):
            return None
        most = min(size, LARGE * len(self.leaf_N) / max(1, n_groups))
        node = int(self.leaf_N[position])
        while (above := int(self.parent_V[node])) >= 0 and (self.size_V[above] <= most or self.size_V[node] == 1):
            node = above
        return node

    def ways(self, positions: Iterable[int]) -> set[int]:
        """All parts that hold one of the images."""
        found: set[int] = set()
        for position in positions:
            node = int(self.leaf_N[position]) if position < len(self.leaf_N) else -1
            while node >= 0 and node not in found:
                found.add(node)
                node = int(self.parent_V[node])
        return found

    def draw(self, groups: Sequence[int | None], rng: np.random.Generator) -> list[list[int]]:
        """Positions of some images of each, at random."""
        children, by_leaf = np.argsort(self.parent_V, kind="stable"), np.argsort(self.leaf_N, kind="stable")
        parents, leaves = self.parent_V[children], self.leaf_N[by_leaf]
        drawn = []
        for group in groups:
            open_, below = ([] if group is None else [group]), list[int]()
            while open_:
                node = open_.pop()
                begin, end = np.searchsorted(parents, [node, node + 1])
                open_ += children[begin:end].tolist()
                below += [node] if begin == end else []
            starts, ends = np.searchsorted(leaves, below), np.searchsorted(leaves, below, side="right")
            before = np.concatenate([[0], np.cumsum(ends - starts)])
            picks = rng.choice(before[-1], min(DRAWN, before[-1]), replace=False) if before[-1] else np.empty(0, int)
            part = np.searchsorted(before, picks, side="right") - 1
            drawn.append(by_leaf[starts[part] + picks - before[part]].tolist() if len(picks) else [])
        return drawn


def group_details(project: Project, path: Path, asked: Sequence[tuple[int, int]]) -> list[dict[str, object]]:
    """What places keep of their groups: `group`, the images that are asked about; `alike`, those of them that make a
    group around the image; `groups`, how many there are in all; `members`, ids of some others of the group.

    `path` is the file of the graph, `asked` the position and the size of each. What a file does not tell is left out:
    the question is as good without.
    """
    details: list[dict[str, object]] = [{"group": size} for _position, size in asked]
    if not asked:
        return details
    if (read := _read(path)) is None:
        return details
    tree, n_groups = read
    parts = [tree.around(position, size, n_groups) if size > 1 else None for position, size in asked]
    drawn = tree.draw(parts, np.random.default_rng([position for position, _size in asked]))
    ids = _shown(project, {position for positions in drawn for position in positions})
    for each, (position, _size), part, positions in zip(details, asked, parts, drawn, strict=True):
        members = [ids[other] for other in positions if other != position and other in ids][:SHOWN]
        each |= {} if part is None else {"alike": int(tree.size_V[part]), "groups": n_groups}
        each |= {"members": members} if members else {}
    return details


def hold_any(path: Path, asked: Sequence[tuple[int, int]], known: Collection[int]) -> list[bool]:
    """Which of the groups hold one of the images: the groups that people are told of, for what is asked about first may
    be several of them. `path` and `asked` as of `group_details`."""
    read = _read(path) if known else None
    if read is None:
        return [False] * len(asked)
    tree, n_groups = read
    ways = tree.ways(known)
    return [size > 1 and tree.around(position, size, n_groups) in ways for position, size in asked]


def _read(path: Path) -> tuple[_Tree, int] | None:
    """The graph's tree, and how many groups there are. None: the file does not tell."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return _Tree(file["leaf_N"], file["parent_V"], file["size_V"]), int(file["n_groups"])
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
        return None


def _shown(project: Project, positions: set[int]) -> dict[int, int]:
    """Ids of images that may be shown beside another: who is asked about one of the holdout or gold later on is not to
    have seen what it was taken for."""
    found: dict[int, int] = {}
    listed = sorted(positions)
    for start in range(0, len(listed), LOOKUP):
        images = Image.objects.filter(
            project=project, position__in=listed[start : start + LOOKUP], is_holdout=False, gold__isnull=True
        ).exclude(state=ImageState.BAD)
        found |= dict(images.order_by().values_list("position", "pk"))
    return found


def images_alike(place: Candidate) -> int | None:
    """How many images make a group with it. None: it was asked for another reason, or nobody has looked."""
    found: int | None = place.details.get("alike", place.details.get("group"))
    return found


def shown_members(project: Project, place: Candidate) -> list[int]:
    """Ids of others of its group, where the project shows them."""
    is_shown = project.learning.shows_alike and place.reason == Reason.GROUP
    return list(place.details.get("members", [])) if is_shown else []


def alike_item(project: Project, place: Candidate) -> dict[str, Any]:
    """As the Label page gets it: in words, and where the pictures of others are. No statement."""
    details = place.details if place.reason == Reason.GROUP and (images_alike(place) or 1) > 1 else {}
    images = numeral(images_alike(place) or 1)
    words = _("Typical of %(images)s images that look alike") % {"images": images} if details else ""
    if details.get("doubted"):
        words = _("One of %(images)s that look alike, some in doubt") % {"images": images}
    if place.reason == Reason.COVERS and place.details.get("stands", 0) > 1:
        words = _("Stands for about %(images)s images") % {"images": numeral(place.details["stands"])}
    groups = details.get("groups", 0)
    in_all = ngettext("about %(count)s group in all", "about %(count)s groups in all", groups) % {
        "count": numeral(groups)
    }
    return {
        "alike": words,
        "groups": in_all if groups > 1 else "",
        "members": [reverse("media", args=[project.slug, pk]) for pk in shown_members(project, place)],
    }
