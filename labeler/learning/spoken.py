"""What the learner says to people, in sentences that every language of the site knows.

It knows no Django and speaks English. What people meet most is recognised by its pattern, which tests hold to the
learner's own words; the rest stays in English. Refusals are told as sentences, notes on a fit as they are: they stand
after a heading.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from labeler.told import Told, amount, ntold, told

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
        "one_class": r"(there is one label to learn from|all (?P<number>\d+) labels to learn from are of one class): a "
        r"model needs at least two classes; answer images of another class(?P<of>.*)",
        "too_much": r"(?P<posterior>Gaussian process|SWAG): (?P<samples>\d+) posterior samples of "
        r"(?:the head|(?P<classes>\d+) classes) need (?P<size>[\d.]+) GiB; take (?P<most>\d+) or fewer, or another "
        r"posterior in the settings(?P<of>.*)",
        "no_label": r"(?P<number>[\d,]+) of (?P<classes>[\d,]+) classes (has|have) no label yet: the model cannot "
        r"predict (it|them)",
        "single_label": r"(?P<number>[\d,]+) of (?P<classes>[\d,]+) classes (has|have) a single label",
        "told_little": r"it learned from answers alone: images that look alike say too little about each other, or "
        r"there are too many classes",
        "misled": r"images that look alike mislead: of (?P<number>[\d,]+) answers that were kept back in turn they "
        r"told (?P<alike>[\d,]+), what is seen of each image by itself (?P<alone>[\d,]+)",
        "pool_told_little": r"it learned from answers alone: answers and pool together make no other image clear, or "
        r"there are too many classes",
        "pool_misled": r"it learned from answers alone: of (?P<number>[\d,]+) answers that were kept back in turn, "
        r"answers and pool together told (?P<pool>[\d,]+), answers alone (?P<alone>[\d,]+)",
        "pool_taught": r"it learned from (?P<number>[\d,]+) images? besides, whose class answers and pool together "
        r"make clear",
        "passed_on": r"it learned from (?P<number>[\d,]+) images? besides, that looks? like those with an answer",
        "like_rejected": r"(?P<number>[\d,]+) images? looks? like the (?P<rejected>[\d,]+) that people rejected: "
        r"(it is|they are) asked about last",
        "last_layer": r"only the last layer has a distribution: (?P<samples>[\d,]+) samples of all (?P<number>[\d,]+) "
        r"weights are too many",
        "inducing": r"approximate: (?P<number>[\d,]+) labels act through (?P<places>[\d,]+) of them",
        "some_classes": r"approximate: the kernel is found with (?P<number>[\d,]+) of (?P<classes>[\d,]+) classes",
        "warned": r"the search for the kernel ended with a warning: (?P<what>.+)",
    }.items()
}


def sentence(words: str) -> str:
    """A refusal of the learner, begun and ended as a sentence is."""
    for name, pattern in PATTERNS.items():
        if name in SENTENCES and (found := pattern.fullmatch(words)) is not None:
            return SENTENCES[name](**found.groupdict())
    return f"{words[:1].upper()}{words[1:]}{'' if words.endswith('.') else '.'}"


def note(words: str) -> str:
    """What people should know about a fit."""
    for name, made in NOTES.items():
        if (found := PATTERNS[name].fullmatch(words)) is not None:
            return made(**{of: _number(value) for of, value in found.groupdict().items()})
    return words


def _number(value: str) -> str | int:
    return int(value.replace(",", "")) if re.fullmatch(r"[\d,]+", value) else value


def compared_by(words: str, backbone: str) -> str:
    """By what images are compared; `backbone` is whose features they are, or empty."""
    first, _beside, second = words.partition(", beside ")
    if second and PATTERNS["pixels"].fullmatch(second):
        return told("%(first)s, and neighbours by pixels beside", first=compared_by(first, backbone))
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


def _one_class(number: str | None, of: str) -> Told:
    if number is None:
        return told(
            "There is one label to learn from: a model needs at least two classes; answer images of another "
            "class%(of)s.",
            of=of,
        )
    return told(
        "All %(number)s labels to learn from are of one class: a model needs at least two classes; answer images of "
        "another class%(of)s.",
        number=number,
        of=of,
    )


def _too_much(posterior: str, samples: str, classes: str | None, size: str, most: str, of: str) -> Told:
    values = {"samples": samples, "size": amount(float(size), 1), "most": most, "of": of}
    if posterior == "SWAG":
        return told(
            "SWAG: %(samples)s posterior samples of the head need %(size)s GiB; take %(most)s or fewer, or another "
            "posterior in the settings%(of)s.",
            **values,
        )
    return told(
        "Gaussian process: %(samples)s posterior samples of %(classes)s classes need %(size)s GiB; take %(most)s or "
        "fewer, or another posterior in the settings%(of)s.",
        classes=classes,
        **values,
    )


SENTENCES: dict[str, Callable[..., Told]] = {
    "download": _download,
    "diverged": _diverged,
    "one_class": _one_class,
    "too_much": _too_much,
    "no_file": lambda name: told("There is no file %(name)s.", name=name),
    "damaged": lambda name: told("%(name)s is damaged, or holds something beside weights.", name=name),
    "timm": lambda name: told(
        "%(name)s needs the package timm, which is not installed: pip install timm, or take a backbone of torchvision.",
        name=f"{name[:1].upper()}{name[1:]}",
    ),
}

NOTES: dict[str, Callable[..., Told]] = {
    "no_label": lambda number, classes: ntold(
        "%(count)s of %(classes)s classes has no label yet: the model cannot predict it",
        "%(count)s of %(classes)s classes have no label yet: the model cannot predict them",
        number,
        classes=classes,
    ),
    "single_label": lambda number, classes: ntold(
        "%(count)s of %(classes)s classes has a single label",
        "%(count)s of %(classes)s classes have a single label",
        number,
        classes=classes,
    ),
    "told_little": lambda: told(
        "it learned from answers alone: images that look alike say too little about each other, or there are too many "
        "classes"
    ),
    "misled": lambda number, alike, alone: told(
        "images that look alike mislead: of %(number)s answers that were kept back in turn they told %(alike)s, what "
        "is seen of each image by itself %(alone)s",
        number=number,
        alike=alike,
        alone=alone,
    ),
    "pool_told_little": lambda: told(
        "it learned from answers alone: answers and pool together make no other image clear, or there are too many "
        "classes"
    ),
    "pool_misled": lambda number, pool, alone: told(
        "it learned from answers alone: of %(number)s answers that were kept back in turn, answers and pool together "
        "told %(pool)s, answers alone %(alone)s",
        number=number,
        pool=pool,
        alone=alone,
    ),
    "pool_taught": lambda number: ntold(
        "it learned from %(count)s image besides, whose class answers and pool together make clear",
        "it learned from %(count)s images besides, whose class answers and pool together make clear",
        number,
    ),
    "passed_on": lambda number: ntold(
        "it learned from %(count)s image besides, that looks like those with an answer",
        "it learned from %(count)s images besides, that look like those with an answer",
        number,
    ),
    "like_rejected": lambda number, rejected: ntold(
        "%(count)s image looks like the %(rejected)s that people rejected: it is asked about last",
        "%(count)s images look like the %(rejected)s that people rejected: they are asked about last",
        number,
        rejected=rejected,
    ),
    "last_layer": lambda samples, number: told(
        "only the last layer has a distribution: %(samples)s samples of all %(number)s weights are too many",
        samples=samples,
        number=number,
    ),
    "inducing": lambda number, places: told(
        "approximate: %(number)s labels act through %(places)s of them", number=number, places=places
    ),
    "some_classes": lambda number, classes: told(
        "approximate: the kernel is found with %(number)s of %(classes)s classes", number=number, classes=classes
    ),
    "warned": lambda what: told("the search for the kernel ended with a warning: %(what)s", what=what),
}
