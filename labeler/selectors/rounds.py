"""Rounds for their pages."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, FloatField, IntegerField, OuterRef, QuerySet
from django.db.models.fields.json import KT
from django.db.models.functions import Cast
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from labeler import choices
from labeler.models import Annotation, Candidate, LabelClass, Project, Reason, Round, RoundState, Trigger
from labeler.models.rounds import reason_words
from labeler.numerals import localised
from labeler.selectors.features import architecture_of, features_words

CARRIED = gettext_lazy("carried over, with some of their answers: beside the images asked for")
REFILLED = gettext_lazy("drawn when the queue had run dry: beside the images asked for")
MAX_CONFUSION = 40  # classes; a larger matrix is no longer read by anybody


def can_try_again(round_: Round) -> bool:
    """Whether a round that failed or was cancelled is the last word. A comparison is by itself."""
    if round_.state not in (RoundState.FAILED, RoundState.CANCELLED):
        return False
    later = Round.objects.filter(project=round_.project_id, number__gt=round_.number).exclude(
        trigger=Trigger.COMPARISON
    )
    return round_.trigger == Trigger.COMPARISON or not later.exists()


@dataclass(frozen=True)
class Cell:
    """Images of a class that were taken for another, or for their own; `predicted` is that class's id."""

    count: int
    predicted: int
    is_right: bool


@dataclass(frozen=True)
class ClassRow:
    pk: int
    name: str
    recall: dict[str, Any] | None
    change: dict[str, Any] | None  # against the model that was in charge before it, as learning/charge.py has it
    cells: list[Cell]
    total: int


@dataclass(frozen=True)
class Phase:
    words: str
    seconds: float


@dataclass(frozen=True)
class Setting:
    words: str
    value: str


PHASES = {
    "fit": gettext_lazy("Fitting"),
    "score": gettext_lazy("Scoring the pool"),
    "acquire": gettext_lazy("Measuring, choosing and publishing"),
}


def list_rounds(project: Project) -> QuerySet[Round]:
    """Newest first; of the metrics only the accuracy is read. `verdict_of` tells what became of each model."""
    accuracy = {
        f"accuracy_{name}": Cast(KT(f"metrics__accuracy__{name}"), FloatField()) for name in ("value", "low", "high")
    }
    rounds = Round.objects.filter(project=project).select_related("requested_by")
    return rounds.defer("metrics", "classes").annotate(
        **accuracy, accuracy_n=Cast(KT("metrics__accuracy__n"), IntegerField())
    )


def class_rows(round_: Round) -> list[ClassRow]:
    """A row a class with its recall and its line of the confusion matrix; empty before the first measurement."""
    recalls = round_.metrics.get("recall")
    if not recalls:
        return []
    names = dict(LabelClass.objects.filter(pk__in=round_.classes).values_list("pk", "name"))
    changes = {each["class"]: each for each in round_.metrics.get("changes", [])}
    confusion = round_.metrics.get("confusion") or []
    is_small = len(round_.classes) <= MAX_CONFUSION
    rows = []
    for index, pk in enumerate(round_.classes):
        counts = confusion[index] if index < len(confusion) else []
        cells = [Cell(n, other, other == pk) for n, other in zip(counts, round_.classes, strict=False)]
        name = names.get(pk, _("a deleted class"))
        rows.append(ClassRow(pk, name, recalls[index], changes.get(pk), cells if is_small else [], sum(counts)))
    return rows


def phases_of(round_: Round) -> list[Phase]:
    return [
        Phase(str(words), round_.phase_seconds[key]) for key, words in PHASES.items() if key in round_.phase_seconds
    ]


def posterior_samples(config: dict[str, Any]) -> int | None:
    """How many the round has: of networks without dropout inside each is one, whatever the setting says. None: it does
    not say."""
    if "posterior_samples" not in config:
        return None
    asked = int(config["posterior_samples"])
    if config.get("estimator") not in ("bootstrap", "ensemble"):
        return asked
    return max(asked, int(config["members"])) if config.get("member_dropout") else int(config["members"])


def settings_of(round_: Round) -> list[Setting]:
    """What the round ran with, in words."""
    config = round_.config
    names = {
        "estimator": (_("Posterior"), dict(choices.ESTIMATORS)),
        "acquisition": (_("Asks about"), dict(choices.ACQUISITIONS)),
    }
    features = config.get("features")
    is_of_vectors = features or config.get("has_likeness")
    networks = dict(choices.FEATURE_ARCHITECTURES if is_of_vectors else choices.ARCHITECTURES)
    network = architecture_of(config) if "architecture" in config else ""
    seen = features_words(features)
    alike = _("images that look alike, by %(seen)s") % {"seen": seen}
    rows = [Setting(_("Learns from"), alike if config.get("has_likeness") else seen)]
    rows.append(Setting(_("Network"), str(networks.get(network, network))))
    rows += [Setting(words, str(known.get(config.get(key), config.get(key)))) for key, (words, known) in names.items()]
    if config.get("estimator") == "laplace":
        prior = dict(choices.LAPLACE_PRIORS).get(config.get("laplace_prior"), "")
        rows.append(Setting(_("Prior of the weights"), str(prior)))
    if config.get("estimator") in ("bootstrap", "ensemble"):
        extras = {"member_dropout": _("with dropout"), "temperature_scaling": _("with scaled temperature")}
        parts = [str(config["members"]), *(words for key, words in extras.items() if config.get(key))]
        rows.append(Setting(_("Members"), ", ".join(parts)))
    if "posterior_samples" in config:
        rows.append(Setting(_("Posterior samples"), str(posterior_samples(config))))
    if "propagation" in config:
        is_known = config.get("graph") is not None  # which images look alike, when it began
        words = (_("yes") if is_known else _("not found yet")) if config["propagation"] else _("no")
        rows.append(Setting(_("Begins with images that look alike"), words))
    plain = {
        **({"coldness": _("Coldness")} if choices.is_sampled(config.get("acquisition", "")) else {}),
        "budget": _("Images asked for"),
        "overlap": _("Answers an image"),
    }
    rows += [Setting(words, localised(f"{config[key]:g}")) for key, words in plain.items() if key in config]
    shares = {"random_share": _("Share at random"), "holdout_questions": _("Share of holdout")}
    rows += [Setting(words, f"{100 * config[key]:.0f} %") for key, words in shares.items() if key in config]
    return [*rows, Setting(_("Seed"), str(round_.seed))]


def queue_reasons(round_: Round) -> dict[str, int]:
    """How many images of its queue stand there for which reason, in words; those beside its budget are named.

    Such are images carried over from an earlier queue, and what came when this one had nothing for somebody. The latter
    stand behind all others (services/refill.py).
    """
    overlap, budget = round_.config.get("overlap", 1), round_.config.get("budget")
    rows = Candidate.objects.filter(round=round_, slot=0).order_by()
    answered_before = Annotation.objects.filter(image=OuterRef("image"), candidate__round__number__lt=round_.number)
    carried = set(rows.filter(Exists(answered_before)).values_list("pk", flat=True)) if overlap > 1 else set()
    columns = list(rows.values_list("pk", "reason", "rank", "details__group"))
    published = (
        None
        if budget is None
        else budget + sum(rank > 0 and (pk in carried or reason == Reason.PICKED) for pk, reason, rank, _ in columns)
    )
    counts: Counter[str] = Counter()
    for pk, reason, rank, group in columns:
        if pk in carried:
            counts[str(CARRIED)] += 1
        elif published is not None and rank > published and reason in (Reason.RANDOM, Reason.HOLDOUT):
            counts[str(REFILLED)] += 1
        else:
            counts[reason_words(reason, group)] += 1
    return dict(counts)
