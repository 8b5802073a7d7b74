"""What the gate said of a round's model, and what a rerun found, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from labeler.models import LabelClass, Project, Round, Standing
from labeler.numerals import localised, numeral
from labeler.selectors.pool import LEAST_HOLDOUT
from labeler.told import from_kept, said

MOST_NAMED = 5  # classes in one sentence
TAGS = {
    Standing.ACCEPTED: (gettext_lazy("accepted"), ""),
    Standing.REFUSED: (gettext_lazy("refused"), "tag-bad"),
    Standing.ASIDE: (gettext_lazy("made aside"), "tag-warn"),
    Standing.ROLLED_BACK: (gettext_lazy("rolled back"), "tag-warn"),
    Standing.CHOSEN: (gettext_lazy("put in charge"), ""),
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
    return Verdict(str(tag), tone, short, sentences, found.get("difference"))


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
    parts, against = [], found.get("against")
    objections = found.get("objections", [])
    lost = sorted(found.get("lost", []), key=lambda each: each["p"]) if "lost_class" in objections else []
    parts = [_lost_class(each, against, names) for each in lost[:MOST_NAMED]]
    if more := max(0, len(lost) - MOST_NAMED):
        words = ngettext("and %(count)s more class", "and %(count)s more classes", more)
        parts.append(words % {"count": numeral(more)})
    if "fewer_right" in objections:
        words = _(
            "it is right about %(new)s of %(n)s holdout images, the model of round %(against)s is about %(old)s (%(p)s)"
        )
        parts.append(words % {**_rights(found), "against": against, "p": p_words(found["p"])})
    return parts


def _lost_class(lost: Mapping[str, Any], against: Any, names: Mapping[int, str]) -> str:
    name = names.get(lost["class"], _("a deleted class"))
    words = _("it finds %(new)s of %(n)s images of %(name)s, the model of round %(against)s finds %(old)s (%(p)s)")
    return words % {**_rights(lost), "name": name, "against": against, "p": p_words(lost["p"])}


def _rights(found: Mapping[str, Any]) -> dict[str, str]:
    return {
        "new": numeral(found["new_right"]),
        "old": numeral(found["old_right"]),
        "n": numeral(found["n"]),
    }


def _standing(round_: Round, reasons: Sequence[str]) -> list[str]:
    found, standing = round_.verdict, round_.standing
    values = {
        "reasons": "; ".join(reasons),
        "against": found.get("against"),
        "person": found.get("kept_by"),
        "why": said(from_kept(found.get("why") or "")),
    }
    if standing == Standing.REFUSED:
        words = _("Refused: %(reasons)s. The model of round %(against)s stays in charge, and chose the queue.")
    elif standing == Standing.ASIDE:
        words = _("Made aside: %(person)s keeps the model of round %(against)s in charge.")
    elif standing == Standing.ROLLED_BACK:
        words = _("Rolled back: it was in charge, until a person put an older model in its place.")
    elif standing == Standing.CHOSEN and reasons:
        words = _("A person put it in charge. The gate had refused it: %(reasons)s.")
    elif standing == Standing.CHOSEN:
        words = _("A person put it in charge.")
    elif found.get("basis") == "first":
        words = _("It took charge: there was no model before it.")
    elif found.get("basis") == "unreadable":
        words = _("It took charge: the score files of round %(against)s cannot be read (%(why)s).")
    else:
        words = _("Accepted: it took charge.")
    return [words % values]


def _evidence(found: Mapping[str, Any]) -> list[str]:
    """How it did beside the one in charge, whatever came of it."""
    against = found.get("against")
    if found.get("basis") == "too_few":
        words = ngettext(
            "It was not compared with the model of round %(against)s: %(n)s holdout image has a label and was scored "
            "by both, and %(least)s are needed.",
            "It was not compared with the model of round %(against)s: %(n)s holdout images have a label and were "
            "scored by both, and %(least)s are needed.",
            found["n"],
        )
        return [words % {"against": against, "n": numeral(found["n"]), "least": LEAST_HOLDOUT}]
    if found.get("basis") != "compared":
        return []
    words = _(
        "On the same %(n)s holdout images it is right about %(new)s, the model of round %(against)s about %(old)s."
    )
    said = [words % {**_rights(found), "against": against}]
    if found.get("is_off"):
        said.append(_("The gate was off: nothing would have held it back."))
    elif not found["objections"]:
        words = ngettext(
            "Neither in all nor in any of %(classes)s class is it significantly worse.",
            "Neither in all nor in any of %(classes)s classes is it significantly worse.",
            found["n_classes"],
        )
        said.append(words % {"classes": numeral(found["n_classes"])})
    return said


def _left_out(found: Mapping[str, Any], names: Mapping[int, str]) -> list[str]:
    said = []
    if new := found.get("new_classes"):
        said += [_new_classes(found, new, names)]
    elif gone := found.get("gone_classes"):
        words = ngettext(
            "%(classes)s is no longer told apart from the others.",
            "%(classes)s are no longer told apart from the others.",
            len(gone),
        )
        said.append(words % {"classes": _named(gone, names)})
    if count := found.get("without_label"):
        words = ngettext(
            "%(images)s holdout image was disputed or set aside, and was left out.",
            "%(images)s holdout images were disputed or set aside, and were left out.",
            count,
        )
        said.append(words % {"images": numeral(count)})
    if count := found.get("unscored"):
        words = ngettext(
            "%(images)s holdout image came after one of both was made, and was left out.",
            "%(images)s holdout images came after one of both was made, and were left out.",
            count,
        )
        said.append(words % {"images": numeral(count)})
    return said


def _new_classes(found: Mapping[str, Any], new: Sequence[int], names: Mapping[int, str]) -> str:
    """Two sentences with a colon between them: each has a number of its own."""
    count = found["of_other_classes"]
    came = ngettext(
        "%(classes)s came since: the model of round %(against)s does not know it",
        "%(classes)s came since: the model of round %(against)s does not know them",
        len(new),
    )
    left = ngettext(
        "so %(images)s holdout image of other classes than both know was left out.",
        "so %(images)s holdout images of other classes than both know were left out.",
        count,
    )
    values = {"classes": _named(new, names), "against": found.get("against"), "images": numeral(count)}
    return f"{came}, {left}" % values


def _named(classes: Sequence[int], names: Mapping[int, str]) -> str:
    shown = ", ".join(names.get(pk, _("a deleted class")) for pk in classes[:MOST_NAMED])
    more = len(classes) - MOST_NAMED
    return _("%(classes)s and %(more)s more") % {"classes": shown, "more": numeral(more)} if more > 0 else shown


def p_words(p: float) -> str:
    """The exact sign test's, of classes corrected for how many there are."""
    if p < 0.0001:
        return _("p under %(least)s") % {"least": numeral(0.0001, 4)}
    return f"p = {numeral(p, 4)}"


def rerun_words(result: Mapping[str, Any]) -> list[str]:
    """A rerun's result, in sentences."""
    if not result["training"]:
        return [
            _(
                "Not run: what the round learned from is not what it was. The file of its labels, its settings or its "
                "seed were changed since: their digest is another."
            )
        ]
    files = ngettext("%(count)s file of weights", "%(count)s files of weights", result["weights"])
    scores = ngettext("%(count)s score file", "%(count)s score files", result["scores"])
    values = {
        "files": files % {"count": numeral(result["weights"])},
        "scores": scores % {"count": numeral(result["scores"])},
        "digest": result["digest"][:12],
    }
    if result["is_equal"]:
        return [_("Equal, bit for bit: %(files)s and %(scores)s (digest %(digest)s…).") % values]
    values |= {"differing": numeral(result["n_differing"]), "such": ", ".join(result["differing"])}
    words = [_("Different: %(differing)s of %(files)s and %(scores)s, such as %(such)s.") % values]
    return [*words, *_differences(result)]


def _differences(result: Mapping[str, Any]) -> list[str]:
    words = []
    if result["missing"]:
        words.append(_("Of those of the round are gone: %(files)s.") % {"files": ", ".join(result["missing"])})
    if not result["images"]:
        words.append(_("The images that it learned from, as the learner sees them, are not those of then."))
    if result["digest"] == result["digest_then"]:
        words.append(_("The model itself is the same."))
    if result["largest"] is not None:
        largest = localised(f"{result['largest']:.2g}")
        words.append(_("Probabilities differ by %(largest)s at most.") % {"largest": largest})
    if result["device"] != "cpu":
        device = {"device": result["device"]}
        words.append(_("It was fitted on %(device)s, where sums have no fixed order: bits may differ.") % device)
    return [*words, *(said(from_kept(each)) for each in result["surroundings"])]
