"""The learner's names with a line for people. A test checks that the learner knows exactly these."""

ARCHITECTURES = [
    ("cnn", "Small convolutional network"),
    ("gal_cnn", "Gal's convolutional network (2017)"),
    ("mlp", "Multilayer perceptron"),
]
FEATURE_ARCHITECTURES = [
    ("head", "One hidden layer"),
    ("mlp", "Multilayer perceptron"),
]
LEARNS_FROM = [
    ("likeness", "Where each image stands among those that look alike"),
    ("images", "What is seen of each image alone"),
]
REPRESENTATIONS = [
    ("auto", "Let the images decide"),
    ("pixels", "Their pixels"),
    ("default", "Features of the backbone that comes with PlusMinus"),
    ("other", "Features of another backbone"),
]
RELABEL = [
    ("never", "Never"),
    ("overlap", "Where several people answer each image"),
    ("always", "Wherever it pays"),
]
GRID = [
    ("off", "Nobody"),
    ("managers", "Managers"),
    ("everybody", "Everybody"),
]
SUGGESTIONS = [
    ("hidden", "Never"),
    ("after", "After the answer"),
    ("before", "Before the answer"),
]
DEFAULT_BACKBONE = "efficientnet_lite0"
BACKBONE_NAME = r"(timm/)?[A-Za-z0-9][A-Za-z0-9_.\-]{0,99}"
WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt")
ESTIMATORS = [
    ("mc_dropout", "MC dropout"),
    ("laplace", "Laplace"),
    ("ensemble", "Deep ensemble"),
    ("bootstrap", "Bootstrap"),
    ("swag", "SWAG"),
    ("gaussian_process", "Gaussian process"),
]
# What each costs against MC dropout, which is one fit and about one and a half passes over the pool.
ESTIMATOR_COSTS = {
    "mc_dropout": "one fit; the network is run once an image, its last layers K times",
    "laplace": "one fit and its curvature; the last layer K times, of the perceptron all layers: 15 times as slow",
    "ensemble": "a fit and a pass for each member",
    "bootstrap": "a fit and a pass for each member",
    "swag": "two fits with few answers, then one and a half; the last layers K times: Gal’s network 10 times as slow",
    "gaussian_process": "one fit and a kernel; K functions of each class: half as fast, and memory for many classes",
}
LAPLACE_PRIORS = [
    ("initial_weights", "As wide as the weights were drawn before training"),
    ("marginal_likelihood", "As wide as makes the answers likeliest (too wide with few answers)"),
]
# Of each measure its name, and which images are asked about: a small margin and a low confidence mean unsure.
MEASURES = [
    ("predictive_entropy", "predictive entropy", "Highest predictive entropy"),
    ("mutual_information", "mutual information (BALD)", "Highest mutual information (BALD)"),
    ("margin", "small margin", "Smallest margin"),
    ("variation_ratio", "variation ratio", "Highest variation ratio"),
    ("mean_std", "mean standard deviation", "Highest mean standard deviation"),
    ("least_confidence", "low confidence", "Lowest confidence"),
    ("std_entropy", "std entropy", "Highest std entropy"),
    ("epig", "gain for other images (EPIG)", "Highest gain for other images (EPIG)"),
]
ACQUISITION_WAYS = [
    ("power", "Sampled: the more unsure, the likelier", "Sampled by {0}"),
    ("softmax", "Sampled by softmax", "Sampled by the softmax of {0}"),
    ("soft_rank", "Sampled by rank", "Sampled by the rank of {0}"),
    ("top", "The most unsure, in order", "{1}"),
]

ACQUISITION_GROUPS = [
    *(
        (title, [(f"{way}_{name}", text.format(words, most)) for name, words, most in MEASURES])
        for way, title, text in ACQUISITION_WAYS
    ),
    (
        "A batch as a whole",
        [
            ("batchbald", "BatchBALD: the batch that tells most about the model"),
            ("badge", "BADGE: what would change the model most, each its own way"),
            ("k_centre", "k-centre: far from all that is labelled"),
            ("typicality", "Typicality: the most typical of each cluster, for the first labels"),
        ],
    ),
    ("Without the model", [("random", "At random")]),
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


def measure_words(name: str) -> str:
    """What the number is that pages show of a measure. All of them are larger the less sure the model is."""
    return {"margin": "1 − margin", "least_confidence": "1 − confidence", "epig": "EPIG"}.get(
        name, name.replace("_", " ")
    )


def measure_of(acquisition: str) -> str:
    """`predictive_entropy` of `power_predictive_entropy`: what the score of a candidate is."""
    way = next((way for way, _, _ in ACQUISITION_WAYS if acquisition.startswith(f"{way}_")), "")
    return SHOWN_MEASURES.get(acquisition, acquisition.removeprefix(f"{way}_"))


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
