"""What the gate said of a round's model, and what a rerun found, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from labeler.models import LabelClass, Project, Round, Standing
from labeler.selectors.pool import LEAST_HOLDOUT

MOST_NAMED = 5  # classes in one sentence
TAGS = {
    Standing.ACCEPTED: ("accepted", ""),
    Standing.REFUSED: ("refused", "tag-bad"),
    Standing.ASIDE: ("made aside", "tag-warn"),
    Standing.ROLLED_BACK: ("rolled back", "tag-warn"),
    Standing.CHOSEN: ("put in charge", ""),
}


@dataclass(frozen=True)
class Verdict:
    """`short` fits a line of a table; `sentences` say all; `difference` is new less old accuracy, with its interval."""

    tag: str
    tone: str
    short: str
    sentences: Sequence[str]
    difference: Mapping[str, Any] | None = None


def verdict_of(round_: Round, names: Mapping[int, str]) -> Verdict | None:
    """None: the round has no model that could take charge, or has not come so far."""
    if not round_.standing:
        return None
    found = round_.verdict
    tag, tone = TAGS[Standing(round_.standing)]
    reasons = reasons_against(found, names)
    sentences = [*_standing(round_, reasons), *_evidence(found), *_left_out(found, names)]
    short = "; ".join(reasons) if round_.standing == Standing.REFUSED else ""
    return Verdict(tag, tone, short, sentences, found.get("difference"))


def class_names(project: Project, *rounds: Round) -> dict[int, str]:
    """Of the classes that the verdicts of some rounds name."""
    named = {
        pk
        for row in rounds
        for pk in (
            *(each["class"] for each in row.verdict.get("lost", [])),
            *row.verdict.get("new_classes", [])[:MOST_NAMED],
            *row.verdict.get("gone_classes", [])[:MOST_NAMED],
        )
    }
    if not named:
        return {}
    return dict(LabelClass.objects.filter(project=project, pk__in=named).values_list("pk", "name"))


def reasons_against(found: Mapping[str, Any], names: Mapping[int, str]) -> list[str]:
    """Why the gate refused it, as parts of a sentence."""
    parts, against = [], f"the model of round {found.get('against')}"
    objections = found.get("objections", [])
    lost = sorted(found.get("lost", []), key=lambda each: each["p"]) if "lost_class" in objections else []
    for each in lost[:MOST_NAMED]:
        name = names.get(each["class"], "a deleted class")
        parts.append(
            f"it finds {each['new_right']:,} of {each['n']:,} images of {name}, {against} finds "
            f"{each['old_right']:,} ({p_words(each['p'])})"
        )
    if len(lost) > MOST_NAMED:
        parts.append(f"and {_count(len(lost) - MOST_NAMED, 'more class', 'more classes')}")
    if "fewer_right" in objections:
        n = found["n"]
        parts.append(
            f"it is right about {found['new_right']:,} of {n:,} holdout images, {against} is about "
            f"{found['old_right']:,} ({p_words(found['p'])})"
        )
    return parts


def _standing(round_: Round, reasons: Sequence[str]) -> list[str]:
    found, standing = round_.verdict, round_.standing
    against = f"The model of round {found.get('against')}"
    if standing == Standing.REFUSED:
        return [f"Refused: {'; '.join(reasons)}. {against} stays in charge, and chose the queue."]
    if standing == Standing.ASIDE:
        return [f"Made aside: {found.get('kept_by')} keeps the model of round {found.get('against')} in charge."]
    if standing == Standing.ROLLED_BACK:
        return ["Rolled back: it was in charge, until a person put an older model in its place."]
    if standing == Standing.CHOSEN:
        before = f" The gate had refused it: {'; '.join(reasons)}." if reasons else ""
        return [f"A person put it in charge.{before}"]
    if found.get("basis") == "first":
        return ["It took charge: there was no model before it."]
    if found.get("basis") == "unreadable":
        return [f"It took charge: the score files of round {found.get('against')} cannot be read ({found.get('why')})."]
    return ["Accepted: it took charge."]


def _evidence(found: Mapping[str, Any]) -> list[str]:
    """How it did beside the one in charge, whatever came of it."""
    against = f"the model of round {found.get('against')}"
    if found.get("basis") == "too_few":
        return [
            f"It was not compared with {against}: {_count(found['n'], 'holdout image has', 'holdout images have')} a "
            f"label and {'was' if found['n'] == 1 else 'were'} scored by both, and {LEAST_HOLDOUT} are needed."
        ]
    if found.get("basis") != "compared":
        return []
    words = [
        f"On the same {found['n']:,} holdout images it is right about {found['new_right']:,}, {against} about "
        f"{found['old_right']:,}."
    ]
    if found.get("is_off"):
        words.append("The gate was off: nothing would have held it back.")
    elif not found["objections"]:
        words.append(
            f"Neither in all nor in any of {_count(found['n_classes'], 'class', 'classes')} is it significantly worse."
        )
    return words


def _left_out(found: Mapping[str, Any], names: Mapping[int, str]) -> list[str]:
    words, against = [], f"the model of round {found.get('against')}"
    if new := found.get("new_classes"):
        count = found["of_other_classes"]
        words.append(
            f"{_named(new, names)} came since: {against} does not know {'it' if len(new) == 1 else 'them'}, so "
            f"{_count(count, 'holdout image', 'holdout images')} of other classes than both know "
            f"{'was' if count == 1 else 'were'} left out."
        )
    elif gone := found.get("gone_classes"):
        words.append(f"{_named(gone, names)} {'is' if len(gone) == 1 else 'are'} no longer told apart from the others.")
    if count := found.get("unscored"):
        words.append(
            f"{_count(count, 'holdout image', 'holdout images')} came after one of both was made, and "
            f"{'was' if count == 1 else 'were'} left out."
        )
    return words


def _named(classes: Sequence[int], names: Mapping[int, str]) -> str:
    shown = [names.get(pk, "a deleted class") for pk in classes[:MOST_NAMED]]
    more = len(classes) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def p_words(p: float) -> str:
    """The exact sign test's, of classes corrected for how many there are."""
    return "p under 0.0001" if p < 0.0001 else f"p = {p:.4f}"


def rerun_words(result: Mapping[str, Any]) -> list[str]:
    """A rerun's result, in sentences."""
    if not result["training"]:
        return [
            "Not run: what the round learned from is not what it was. The file of its labels, its settings or its seed "
            "were changed since: their digest is another."
        ]
    files = f"{_count(result['weights'], 'file', 'files')} of weights"
    scores = f"{_count(result['scores'], 'score file', 'score files')}"
    if result["is_equal"]:
        return [f"Equal, bit for bit: {files} and {scores} (digest {result['digest'][:12]}…)."]
    words = [f"Different: {result['n_differing']:,} of {files} and {scores}, such as {', '.join(result['differing'])}."]
    if result["missing"]:
        words.append(f"Of those of the round are gone: {', '.join(result['missing'])}.")
    if not result["images"]:
        words.append("The images that it learned from, as the learner sees them, are not those of then.")
    if result["digest"] == result["digest_then"]:
        words.append("The model itself is the same.")
    if result["largest"] is not None:
        words.append(f"Probabilities differ by {result['largest']:.2g} at most.")
    if result["device"] != "cpu":
        words.append(f"It was fitted on {result['device']}, where sums have no fixed order: bits may differ.")
    return [*words, *(f"Another {each}." for each in result["surroundings"])]


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
