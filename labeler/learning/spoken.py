"""What the learner says to people, in sentences that every language of the site knows.

It knows no Django and speaks English. What people meet most is recognised by its pattern, which tests hold to the
learner's own words; the rest stays in English.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from labeler.told import Told, told

PATTERNS = {
    name: re.compile(pattern, re.DOTALL)
    for name, pattern in {
        "pixels": r"(?P<kind>grey|colour) images brought to (?P<size>.+) pixels, compared by their (?P<number>\d+) "
        r"principal components",
        "download": r"the weights of (?P<name>.+) could not be downloaded \((?P<why>.*)\)\. Is there a network, and "
        r"room on the disk\? A file of them that is here already can be named instead",
        "diverged": r"the fit diverged at step (?P<step>\d+): (?P<what>loss is|the weights are) not finite; the last "
        r"model stays in charge; check the images and labels, or try another network in the settings(?P<of>.*)",
        "no_file": r"there is no file (?P<name>[^ ]+)",
        "damaged": r"(?P<name>[^ ]+) is damaged, or holds something beside weights",
        "timm": r"(?P<name>[^ ]+) needs the package timm, which is not installed: pip install timm, or take a backbone "
        r"of torchvision",
    }.items()
}


def sentence(words: str) -> str:
    """A refusal of the learner, begun and ended as a sentence is."""
    for name, pattern in PATTERNS.items():
        if name in SENTENCES and (found := pattern.fullmatch(words)) is not None:
            return SENTENCES[name](**found.groupdict())
    return f"{words[:1].upper()}{words[1:]}{'' if words.endswith('.') else '.'}"


def compared_by(words: str, backbone: str) -> str:
    """By what images are compared; `backbone` is whose features they are, or empty."""
    if (found := PATTERNS["pixels"].fullmatch(words)) is not None:
        values = {"size": found["size"], "number": found["number"]}
        if found["kind"] == "grey":
            return told(
                "grey images brought to %(size)s pixels, compared by their %(number)s principal components", **values
            )
        return told(
            "colour images brought to %(size)s pixels, compared by their %(number)s principal components", **values
        )
    vectors = re.fullmatch(r"vectors of (\d+) features, compared by direction", words)
    if vectors is None or not backbone:
        return words
    return told(
        "features of %(name)s, vectors of %(number)s features, compared by direction", name=backbone, number=vectors[1]
    )


def _download(name: str, why: str) -> Told:
    return told(
        "The weights of %(name)s could not be downloaded (%(why)s). Is there a network, and room on the disk? A file "
        "of them that is here already can be named instead.",
        name=name,
        why=why,
    )


def _diverged(step: str, what: str, of: str) -> Told:
    values = {"step": step, "of": of}
    if what == "loss is":
        return told(
            "The fit diverged at step %(step)s: loss is not finite; the last model stays in charge; check the "
            "images and labels, or try another network in the settings%(of)s.",
            **values,
        )
    return told(
        "The fit diverged at step %(step)s: the weights are not finite; the last model stays in charge; check the "
        "images and labels, or try another network in the settings%(of)s.",
        **values,
    )


SENTENCES: dict[str, Callable[..., Told]] = {
    "download": _download,
    "diverged": _diverged,
    "no_file": lambda name: told("There is no file %(name)s.", name=name),
    "damaged": lambda name: told("%(name)s is damaged, or holds something beside weights.", name=name),
    "timm": lambda name: told(
        "%(name)s needs the package timm, which is not installed: pip install timm, or take a backbone of torchvision.",
        name=f"{name[:1].upper()}{name[1:]}",
    ),
}
