"""The learner's names with a line for people. A test checks that the learner knows exactly these."""

ARCHITECTURES = [
    ("cnn", "Small convolutional network, trained with small shifts and rotations"),
    ("gal_cnn", "Gal's convolutional network (2017)"),
    ("mlp", "Multilayer perceptron"),
]
ESTIMATORS = [("mc_dropout", "MC dropout")]
MEASURES = [
    ("predictive_entropy", "predictive entropy"),
    ("mutual_information", "mutual information (BALD)"),
    ("margin", "margin"),
    ("variation_ratio", "variation ratio"),
    ("mean_std", "mean standard deviation"),
    ("least_confidence", "least confidence"),
    ("std_entropy", "std entropy"),
]
ACQUISITIONS = [
    *((f"power_{name}", f"Sampled by {words}") for name, words in MEASURES),
    *((f"top_{name}", f"Highest {words}") for name, words in MEASURES),
    ("random", "At random"),
]
# Keys of the Label page that no class may have, with what they do.
RESERVED_KEYS = {
    "s": "it skips",
    "x": "it marks a bad image",
    "u": "it undoes",
    "i": "it shows why",
    "g": "it opens the guide",
    "n": "it is kept",
}
# Okabe and Ito's palette, told apart by colour-blind people; more classes reuse it in lighter and darker shades.
PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#7f7f7f", "#6a3d9a", "#8c564b"]
