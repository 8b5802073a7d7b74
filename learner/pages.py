"""The essay's run as a page of pictures: one HTML file that needs nothing else, and each picture as an SVG too."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from learner.essay import Asked, EssayRun
from learner.files import write_bytes

SHOWN = 8
"""Images of a gallery."""

MOST_DOTS = 1500
"""Of the right predictions in a scatter; the wrong ones are all drawn."""

NAME_IN_BARS, NAME_IN_GALLERIES = 24, 12
"""Characters of a class's name; what is longer is cut there, and whole where the pointer rests on it."""

HIGH = 0.9
WIDE = (
    "<p>Not even the surest image gets a high probability. As in the essay the approximation is over all weights, and "
    "the width of their prior is the one under which the answers are likeliest (marginal likelihood). After so short a "
    "training that is a wide one: most weights are hardly held in place by the answers and are drawn from a Gaussian "
    "far wider than they began with, so that the draws contradict each other. The order of the images still tells (the "
    "last table). Rounds take a prior as wide as the initial weights instead.</p>"
)
"""Said of Laplace where it is so."""

INK, SOFT, ACCENT, BAD, PAPER = "#1d1d1f", "#6e6e73", "#0b5a8f", "#b3261e", "#ffffff"
FONT = "system-ui, sans-serif"


def write_page(run: EssayRun, directory: Path) -> list[Path]:
    """Write `index.html` and its pictures.

    Args:
        run: What to show.
        directory: Made if it is missing; files of the same names are replaced.

    Returns:
        The files, the page first.
    """
    pictures = {
        **{
            f"{key}-{kind}": svg for asked in run.asked for key in [slug(asked.name)] for kind, svg in _bars(run, asked)
        },
        **{
            f"{key}-{kind}": gallery(run, asked, positions)
            for asked in run.asked
            for key in [slug(asked.name)]
            for kind, positions in galleries(run, asked).items()
        },
        **{f"{slug(asked.name)}-spread": spread(run, asked) for asked in run.asked},
        **{f"{slug(asked.name)}-logits": logits_against_entropy(run, asked) for asked in run.asked},
    }
    files = [write_bytes(directory / f"{name}.svg", svg.encode()) for name, svg in pictures.items()]
    return [write_bytes(directory / "index.html", _page(run, pictures).encode()), *files]


def slug(name: str) -> str:
    """`MC dropout` as a part of a file's name.

    >>> slug("MC dropout")
    'mc-dropout'
    """
    return name.lower().replace(" ", "-")


def galleries(run: EssayRun, asked: Asked) -> dict[str, npt.NDArray[np.int64]]:
    """Rows of the most confident, the least confident, and the most confident wrong predictions, in that order each."""
    entropy = asked.measures["predictive_entropy"]
    order = np.argsort(entropy, kind="stable")
    is_wrong = asked.mean_probs_T_C.argmax(1) != run.labels_T
    return {
        "most-confident": order[:SHOWN],
        "least-confident": order[::-1][:SHOWN],
        "confident-but-wrong": order[is_wrong[order]][:SHOWN],
    }


def bars(names: Sequence[str], means: Sequence[float], stds: Sequence[float], picture: str, title: str) -> str:
    """The image, and a bar for each class with a whisker of one standard deviation either way, cut at 0 and 1."""
    row, width = 22, 260
    left = max(190, 116 + math.ceil(7.5 * min(NAME_IN_BARS, max(map(len, names)))))  # beside the image
    height = max(130, 34 + row * len(names))
    parts = [_text(0, 18, title, weight=600), f'<g transform="translate(0 34)">{picture}</g>']
    for at, (name, mean, std) in enumerate(zip(names, means, stds, strict=True)):
        y = 34 + at * row
        low, high = (left + width * min(1.0, max(0.0, mean + sign * std)) for sign in (-1, 1))
        parts += [
            _text(left - 10, y + 15, *_cut(name, NAME_IN_BARS), anchor="end"),
            f'<rect x="{left}" y="{y + 4}" width="{width}" height="14" fill="#eef1f4"/>',
            f'<rect x="{left}" y="{y + 4}" width="{width * mean:.1f}" height="14" fill="#7fb0d2"/>',
            f'<path d="M{low:.1f} {y + 11}H{high:.1f}M{low:.1f} {y + 7}v8M{high:.1f} {y + 7}v8" stroke="{INK}"/>',
            _text(left + width + 10, y + 15, f"{mean:.2f} ± {std:.2f}"),
        ]
    return _svg(left + width + 110, height, parts)


def gallery(run: EssayRun, asked: Asked, rows: npt.NDArray[np.int64]) -> str:
    """Images side by side, each with what is said of it, and what it is where that is something else."""
    cell = max(104, math.ceil(6.2 * (min(NAME_IN_GALLERIES, max(map(len, run.class_names))) + 13)))
    parts = []
    for at, row in enumerate(rows.tolist()):
        mean, std = asked.mean_probs_T_C[row], asked.std_probs_T_C[row]
        best = int(mean.argmax())
        truth = run.class_names[run.labels_T[row]]
        said, whole = _cut(run.class_names[best], NAME_IN_GALLERIES)
        x = at * cell
        parts += [
            f'<g transform="translate({x} 0)">{_picture(run.pixels_T_C_H_W[row], 96)}</g>',
            _text(x, 114, f"{said}: {mean[best]:.2f} ± {std[best]:.2f}", whole, size=11),
            _text(
                x,
                130,
                f"is {_cut(truth, NAME_IN_GALLERIES)[0]}",
                _cut(truth, NAME_IN_GALLERIES)[1],
                size=11,
                fill=SOFT if truth == run.class_names[best] else BAD,
            ),
        ]
    if not len(rows):
        parts.append(_text(0, 60, "There is none.", fill=SOFT))
    return _svg(max(cell * len(rows), 200), 138, parts)


def spread(run: EssayRun, asked: Asked) -> str:
    """The predicted class's probability across, its standard deviation up: value and confidence are two things."""
    best = asked.mean_probs_T_C.argmax(1)
    rows = np.arange(len(best))
    x, y = asked.mean_probs_T_C[rows, best], asked.std_probs_T_C[rows, best]
    return _scatter(run, asked, x, y, "probability of the predicted class", "its standard deviation", (0, 1), (0, 0.5))


def logits_against_entropy(run: EssayRun, asked: Asked) -> str:
    """The essay's score of the logits across, predictive entropy up: the same images in another order."""
    x, y = asked.measures["logit_std_entropy"], asked.measures["predictive_entropy"]
    low, high = np.quantile(x, [0.001, 0.999])
    return _scatter(
        run, asked, x, y, "std entropy of the logits, as the essay has it", "predictive entropy, in nats",
        (float(low), float(high)), (0, float(np.log(len(run.class_names)))),
    )  # fmt: skip


def _scatter(
    run: EssayRun,
    asked: Asked,
    x_T: npt.NDArray[np.float32],
    y_T: npt.NDArray[np.float32],
    across: str,
    up: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
) -> str:
    left, top, width, height = 56, 12, 420, 280
    is_wrong = asked.mean_probs_T_C.argmax(1) != run.labels_T
    right = np.random.default_rng(0).permutation(np.flatnonzero(~is_wrong))[:MOST_DOTS]
    dots = []
    for rows, colour, radius in ((right, ACCENT, 1.6), (np.flatnonzero(is_wrong), BAD, 2.2)):
        px = left + width * np.clip((x_T[rows] - x_range[0]) / max(x_range[1] - x_range[0], 1e-9), 0, 1)
        py = top + height * (1 - np.clip((y_T[rows] - y_range[0]) / max(y_range[1] - y_range[0], 1e-9), 0, 1))
        path = "".join(f"M{a:.0f} {b:.0f}h0" for a, b in zip(px, py, strict=True))
        dots.append(
            f'<path d="{path}" stroke="{colour}" stroke-width="{2 * radius}" stroke-linecap="round" opacity="0.55"/>'
        )
    ticks = [
        *(_text(left + width * k / 4, top + height + 18, f"{x_range[0] + (x_range[1] - x_range[0]) * k / 4:.3g}",
                anchor="middle", fill=SOFT, size=11) for k in range(5)),
        *(_text(left - 8, top + height * (1 - k / 4) + 4, f"{y_range[0] + (y_range[1] - y_range[0]) * k / 4:.2g}",
                anchor="end", fill=SOFT, size=11) for k in range(5)),
    ]  # fmt: skip
    frame = f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#d2d2d7"/>'
    words = [
        _text(left + width / 2, top + height + 38, across, anchor="middle"),
        f'<g transform="translate(14 {top + height / 2}) rotate(-90)">{_text(0, 0, up, anchor="middle")}</g>',
        f'<circle cx="{left + 8}" cy="{top + height + 54}" r="4" fill="{ACCENT}"/>',
        _text(left + 18, top + height + 58, "right", fill=SOFT),
        f'<circle cx="{left + 68}" cy="{top + height + 54}" r="4" fill="{BAD}"/>',
        _text(left + 78, top + height + 58, "wrong", fill=SOFT),
    ]
    return _svg(left + width + 14, top + height + 66, [frame, *dots, *ticks, *words])


def _bars(run: EssayRun, asked: Asked) -> list[tuple[str, str]]:
    """Of the surest image, and of the one that the model is least sure of."""
    order = np.argsort(asked.measures["predictive_entropy"], kind="stable")
    shown = (("sure", int(order[0]), "An image that the model is sure of"),
             ("unsure", int(order[-1]), "The image that it is least sure of"))  # fmt: skip
    return [
        (
            kind,
            bars(
                run.class_names,
                asked.mean_probs_T_C[row].tolist(),
                asked.std_probs_T_C[row].tolist(),
                _picture(run.pixels_T_C_H_W[row], 96),
                title,
            ),
        )
        for kind, row, title in shown
    ]


def _page(run: EssayRun, pictures: dict[str, str]) -> str:
    sections = [_section(asked, pictures) for asked in run.asked]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>How sure is it?</title>
<style>body{{font:16px/1.5 {FONT};color:{INK};background:{PAPER};max-width:60rem;margin:2rem auto;padding:0 1rem}}
table{{border-collapse:collapse}}td,th{{padding:.2rem 1rem .2rem 0;text-align:left}}svg{{max-width:100%;height:auto}}
.soft{{color:{SOFT}}}</style></head><body>
<h1>How sure is it?</h1>
<p>One perceptron, trained on {run.trained_on:,} images in {run.training_seconds:.0f} s, asked in {len(run.asked)}
ways about {len(run.labels_T):,} images that it has not seen. Every number is a mean ± one standard
deviation over the posterior samples, or has its 95 % interval.</p>
{"".join(sections)}</body></html>
"""


def _section(asked: Asked, pictures: dict[str, str]) -> str:
    key, found = slug(asked.name), asked.metrics
    is_wide = asked.name == "Laplace" and asked.mean_probs_T_C.max() < HIGH
    notes = [f"<p>{html.escape(note[:1].upper() + note[1:])}.</p>" for note in asked.notes]
    rows = [
        ("Right", f"{found.accuracy} ({found.accuracy.low:.3f} to {found.accuracy.high:.3f})"),
        ("Negative log-likelihood", f"{found.nll} nats"),
        ("Calibration error", f"{found.ece.value:.3f} ({found.ece.low:.3f} to {found.ece.high:.3f})"),
        ("Seconds", f"{asked.seconds[0]:.1f} for the approximation, {asked.seconds[1]:.1f} to ask"),
    ]
    measures = [
        (name.replace("_", " "), f"{told.value:.3f} ({told.low:.3f} to {told.high:.3f})" if told else "none is wrong")
        for name, told in sorted(asked.separations.items(), key=lambda item: -(item[1].value if item[1] else 0))
    ]
    return "".join(
        [
            f"<h2>{html.escape(asked.name)}</h2>", WIDE if is_wide else "", *notes, _table(rows),
            "<h3>A sure and an unsure image</h3>", pictures[f"{key}-sure"], pictures[f"{key}-unsure"],
            "<h3>Most confident</h3>", pictures[f"{key}-most-confident"],
            "<h3>Least confident</h3>", pictures[f"{key}-least-confident"],
            "<h3>Most confident but wrong</h3>", pictures[f"{key}-confident-but-wrong"],
            "<h3>Value and confidence</h3>", pictures[f"{key}-spread"],
            "<h3>Which measure knows that it is wrong?</h3>",
            '<p class="soft">The chance that a wrong prediction has a larger score than a right one; 0.5 is luck.</p>',
            _table(measures), pictures[f"{key}-logits"],
        ]
    )  # fmt: skip


def _table(rows: Sequence[tuple[str, str]]) -> str:
    cells = (f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{''.join(cells)}</table>"


def _picture(pixels_C_H_W: npt.NDArray[np.uint8], side: int) -> str:
    """An image as a part of an SVG, sharp-edged."""
    channels = pixels_C_H_W.shape[0]
    array = pixels_C_H_W[0] if channels == 1 else pixels_C_H_W[:3].transpose(1, 2, 0)
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(out, "PNG")
    data = base64.b64encode(out.getvalue()).decode()
    return (
        f'<image width="{side}" height="{side}" style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>'
    )


def _cut(name: str, most: int) -> tuple[str, str]:
    """A name of at most so many characters, and the whole one where that is another.

    >>> _cut("hot air balloon", 8), _cut("owl", 8)
    (('hot air…', 'hot air balloon'), ('owl', ''))
    """
    return (name, "") if len(name) <= most else (f"{name[: most - 1].rstrip()}…", name)


def _text(
    x: float, y: float, words: str, whole: str = "", *,
    anchor: str = "start", size: int = 13, weight: int = 400, fill: str = INK,
) -> str:  # fmt: skip
    title = f"<title>{html.escape(whole)}</title>" if whole else ""
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" fill="{fill}">'
        f"{title}{html.escape(words)}</text>"
    )


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FONT}">'
        f'<rect width="100%" height="100%" fill="{PAPER}"/>{"".join(parts)}</svg>'
    )
