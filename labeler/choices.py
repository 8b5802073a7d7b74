"""The learner's names with a line for people. A test checks that the learner knows exactly these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

ARCHITECTURES = [
    ("cnn", _("Small convolutional network")),
    ("gal_cnn", _("Gal's convolutional network (2017)")),
    ("mlp", _("Multilayer perceptron")),
]
FEATURE_ARCHITECTURES = [
    ("head", _("One hidden layer")),
    ("mlp", _("Multilayer perceptron")),
]
LEARNS_FROM = [
    ("likeness", _("Where each image stands among those that look alike")),
    ("images", _("What is seen of each image alone")),
]
REPRESENTATIONS = [
    ("auto", _("Let the images decide")),
    ("pixels", _("Their pixels")),
    ("default", _("Features of the backbone that comes with PlusMinus")),
    ("other", _("Features of another backbone")),
]
RELABEL = [
    ("never", _("Never")),
    ("overlap", _("Where several people answer each image")),
    ("always", _("Wherever it pays")),
]
GRID = [
    ("off", _("Nobody")),
    ("managers", _("Managers")),
    ("everybody", _("Everybody")),
]
SUGGESTIONS = [
    ("hidden", _("Never")),
    ("after", _("After the answer")),
    ("before", _("Before the answer")),
]
DEFAULT_BACKBONE = "efficientnet_lite0"
BACKBONE_NAME = r"(timm/)?[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}"
WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt")
ESTIMATORS = [
    ("mc_dropout", _("MC dropout")),
    ("laplace", _("Laplace")),
    ("ensemble", _("Deep ensemble")),
    ("bootstrap", _("Bootstrap")),
    ("swag", _("SWAG")),
    ("gaussian_process", _("Gaussian process")),
]
# What each costs against MC dropout, which is one fit and about one and a half passes over the pool.
ESTIMATOR_COSTS = {
    "mc_dropout": _("one fit; the network is run once an image, its last layers K times"),
    "laplace": _("one fit and its curvature; the last layer K times, of the perceptron all layers: 15 times as slow"),
    "ensemble": _("a fit and a pass for each member"),
    "bootstrap": _("a fit and a pass for each member"),
    "swag": _(
        "two fits with few answers, then one and a half; the last layers K times: Gal’s network 10 times as slow"
    ),
    "gaussian_process": _("one fit and a kernel; K functions of each class: half as fast, and memory for many classes"),
}
LAPLACE_PRIORS = [
    ("initial_weights", _("As wide as the weights were drawn before training")),
    ("marginal_likelihood", _("As wide as makes the answers likeliest (too wide with few answers)")),
]
# Of each measure its name after “by” and “of”, and which images are asked about: a small margin and a low confidence
# mean unsure.
MEASURES = [
    ("predictive_entropy", pgettext_lazy("sampled by", "predictive entropy"), _("Highest predictive entropy")),
    (
        "mutual_information",
        pgettext_lazy("sampled by", "mutual information (BALD)"),
        _("Highest mutual information (BALD)"),
    ),
    ("margin", pgettext_lazy("sampled by", "small margin"), _("Smallest margin")),
    ("variation_ratio", pgettext_lazy("sampled by", "variation ratio"), _("Highest variation ratio")),
    ("mean_std", pgettext_lazy("sampled by", "mean standard deviation"), _("Highest mean standard deviation")),
    ("least_confidence", pgettext_lazy("sampled by", "low confidence"), _("Lowest confidence")),
    ("std_entropy", pgettext_lazy("sampled by", "std entropy"), _("Highest std entropy")),
    ("epig", pgettext_lazy("sampled by", "gain for other images (EPIG)"), _("Highest gain for other images (EPIG)")),
]
ACQUISITION_WAYS: list[tuple[str, StrOrPromise, StrOrPromise]] = [
    ("herding", _("Herding: like what is unsure, unlike what is known"), _("Herding by {0}")),
    ("power", _("Sampled: the more unsure, the likelier"), _("Sampled by {0}")),
    ("softmax", _("Sampled by softmax"), _("Sampled by the softmax of {0}")),
    ("soft_rank", _("Sampled by rank"), _("Sampled by the rank of {0}")),
    ("top", _("The most unsure, in order"), "{1}"),
]

ACQUISITION_GROUPS = [
    *(
        (title, [(f"{way}_{name}", format_lazy(text, words, most)) for name, words, most in MEASURES])
        for way, title, text in ACQUISITION_WAYS
    ),
    (
        _("A batch as a whole"),
        [
            ("batchbald", _("BatchBALD: the batch that tells most about the model")),
            ("badge", _("BADGE: what would change the model most, each its own way")),
            ("k_centre", _("k-centre: far from all that is labelled")),
            ("typicality", _("Typicality: the most typical of each cluster, for the first labels")),
        ],
    ),
    (_("Without the model"), [("random", _("At random"))]),
]
ACQUISITIONS = [choice for _, choices in ACQUISITION_GROUPS for choice in choices]
# What those go by that do not name a measure, or are shown with.
SHOWN_MEASURES = {
    "batchbald": "mutual_information",
    "badge": "predictive_entropy",
    "k_centre": "predictive_entropy",
    "typicality": "predictive_entropy",
    "random": "predictive_entropy",
}


MEASURE_WORDS = {
    "predictive_entropy": _("predictive entropy"),
    "expected_entropy": _("expected entropy"),
    "mutual_information": _("mutual information"),
    "margin": _("1 − margin"),
    "variation_ratio": _("variation ratio"),
    "mean_std": _("mean std"),
    "least_confidence": _("1 − confidence"),
    "std_entropy": _("std entropy"),
    "epig": _("EPIG"),
}


def measure_words(name: str) -> str:
    """What the number is that pages show of a measure. All of them are larger the less sure the model is."""
    return str(MEASURE_WORDS.get(name, name.replace("_", " ")))


def measure_of(acquisition: str) -> str:
    """`predictive_entropy` of `power_predictive_entropy`: what the score of a candidate is."""
    way = next((way for way, _, _ in ACQUISITION_WAYS if acquisition.startswith(f"{way}_")), "")
    return SHOWN_MEASURES.get(acquisition, acquisition.removeprefix(f"{way}_"))


def is_sampled(acquisition: str) -> bool:
    """Whether images are drawn by a measure, so that coldness counts."""
    return acquisition.startswith(("power_", "softmax_", "soft_rank_"))


def measure_unit(name: str) -> str:
    """Empty for shares and distances of probabilities."""
    return "nats" if name.endswith(("entropy", "information", "epig")) else ""


# Keys of the Label page that no class may have, with what they do.
RESERVED_KEYS = {
    "s": "it skips",
    "x": "it marks a bad image",
    "u": "it undoes",
    "i": "it shows why",
    "g": "it opens the guide",
    "n": "it is kept",
    "c": "it comments",
}
# Okabe and Ito's palette, told apart by colour-blind people; more classes reuse it in lighter and darker shades.
PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#7f7f7f", "#6a3d9a", "#8c564b"]
