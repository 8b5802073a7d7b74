"""One image as the model sees it: bars, measures, and how its prediction moved over the rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from labeler.choices import measure_unit, measure_words
from labeler.models import Image, LabelClass, Project, Round
from labeler.numerals import localised, numeral
from labeler.selectors.charge import in_charge
from labeler.selectors.scores import NoScores, prediction_of, probabilities_at, scored_rounds

MOST_BARS = 12
MOST_ROUNDS = 20
MOST_LINES = 4
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 480, 180, 36, 8, 24


@dataclass(frozen=True)
class Bar:
    """A class with its mean probability ± one standard deviation over the posterior samples; `from_` and `to` are the
    whisker's ends, cut at 0 and 1, all in per cent."""

    name: str
    colour: str
    mean: float
    std: float

    @property
    def width(self) -> float:
        return round(100 * self.mean, 2)

    @property
    def from_(self) -> float:
        return round(100 * max(0.0, self.mean - self.std), 2)

    @property
    def to(self) -> float:
        return round(100 * min(1.0, self.mean + self.std), 2)

    @property
    def words(self) -> str:
        return f"{self.name}: {numeral(self.mean, 2)} ± {numeral(self.std, 2)}"


@dataclass(frozen=True)
class Measure:
    name: str
    value: float
    unit: str
    percentile: float


@dataclass(frozen=True)
class Line:
    """A class over the rounds: the drawing in the units of the view box, and the numbers for the table."""

    name: str
    colour: str
    points: str
    marks: list[tuple[float, float, float, float]]  # x, y, low, high
    values: list[str]


@dataclass(frozen=True)
class History:
    rounds: list[Round]
    lines: list[Line]
    up: list[tuple[float, str]]
    across: list[tuple[float, int]]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT


@dataclass(frozen=True)
class ImagePrediction:
    """`problem` says why there is nothing else; `rounds` are those that can be asked for instead, newest first."""

    round: Round | None = None
    rounds: Sequence[Round] = ()
    bars: Sequence[Bar] = ()
    left_out: int = 0
    measures: Sequence[Measure] = ()
    history: History | None = None
    problem: str = ""


def image_prediction(project: Project, image: Image, number: str = "") -> ImagePrediction:
    """As the round of that number sees it, a comparison too; else the one in charge."""
    rounds = scored_rounds(project)
    asked = (row for row in rounds if str(row.number) == number)
    round_ = next(asked, None)
    if round_ is None and number:
        return ImagePrediction(
            rounds=rounds, problem=_("There is no round %(number)s that has scored images.") % {"number": number[:20]}
        )
    round_ = round_ or in_charge(project, rounds)
    if round_ is None or (round_.trigger == "comparison" and str(round_.number) != number):
        return ImagePrediction(problem=_("No model has seen it yet. The first round that learns makes one."))
    try:
        prediction = prediction_of(round_, image.position)
    except NoScores as error:
        return ImagePrediction(rounds=rounds, problem=str(error))
    if prediction is None:
        problem = _("It came after round %(number)s; the next round scores it.") % {"number": round_.number}
        return ImagePrediction(rounds=rounds, problem=problem)
    classes = LabelClass.objects.in_bulk(prediction.classes)
    bars = [
        Bar(*class_look(classes.get(pk)), mean, std)
        for pk, mean, std in zip(prediction.classes, prediction.means, prediction.stds, strict=True)
    ]
    top = bars if len(bars) <= MOST_BARS else sorted(bars, key=lambda bar: -bar.mean)[:MOST_BARS]
    likely = sorted(range(len(bars)), key=lambda at: -prediction.means[at])[: MOST_LINES - 1]
    wanted = dict.fromkeys([*([image.label_id] if image.label_id else []), *(prediction.classes[at] for at in likely)])
    kept = [row for row in rounds if row.trigger != "comparison"][:MOST_ROUNDS][::-1]
    return ImagePrediction(
        round=round_,
        rounds=rounds,
        bars=top,
        left_out=len(bars) - len(top),
        measures=[
            Measure(measure_words(name), value, measure_unit(name), percentile)
            for name, value, percentile in prediction.measures
        ],
        history=_history(kept, image.position, list(wanted), classes) if len(kept) > 1 else None,
    )


def class_look(label_class: LabelClass | None) -> tuple[str, str]:
    return (label_class.name, label_class.colour) if label_class else (_("a deleted class"), "#7f7f7f")


def _history(kept: list[Round], position: int, wanted: list[int], classes: dict[int, LabelClass]) -> History | None:
    """Rounds whose files are gone, or that came before the image, are left out."""
    rounds, rows = [], []
    for round_ in kept:
        try:
            rows.append(probabilities_at(round_, position))
            rounds.append(round_)
        except NoScores:
            continue
    if len(rounds) < 2:
        return None
    step = (WIDTH - LEFT - 12) / (len(rounds) - 1)
    lines = []
    for order, pk in enumerate(wanted):
        marks, values = [], []
        for at, (round_, (means, stds)) in enumerate(zip(rounds, rows, strict=True)):
            if pk not in round_.classes:
                values.append("")
                continue
            mean, std = (column[round_.classes.index(pk)] for column in (means, stds))
            x = round(LEFT + at * step + (order - (len(wanted) - 1) / 2) * 3, 1)  # side by side, so that none is hidden
            marks.append((x, _y(mean), _y(max(0.0, mean - std)), _y(min(1.0, mean + std))))
            values.append(f"{numeral(mean, 2)} ± {numeral(std, 2)}")
        points = " ".join(f"{x},{y}" for x, y, _, _ in marks)
        lines.append(Line(*class_look(classes.get(pk)), points, marks, values))
    across = [(round(LEFT + at * step, 1), round_.number) for at, round_ in enumerate(rounds)]
    every = max(1, len(across) // 8)
    return History(rounds, lines, [(_y(share), localised(f"{share:g}")) for share in (0.0, 0.5, 1.0)], across[::every])


def _y(share: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - share), 1)
