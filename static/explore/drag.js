/** Fingers, mouse and keys on a plot: move, zoom, lasso, look, take. */

const SLACK = 4; // pixels that a click may slip
const KEYS = {
  ArrowLeft: (plot) => plot.move(40, 0),
  ArrowRight: (plot) => plot.move(-40, 0),
  ArrowUp: (plot) => plot.move(0, 40),
  ArrowDown: (plot) => plot.move(0, -40),
  "+": (plot) => plot.zoom(1.4),
  "=": (plot) => plot.zoom(1.4),
  "-": (plot) => plot.zoom(1 / 1.4),
  0: (plot) => plot.showAll(),
  Enter: (plot) => tell(plot, "lasso", plot.outline),
  Escape: (plot) => tell(plot, "empty"),
};

/** Events of the plot: `look` (a place, or none), `take` (a place), `lasso` (a closed line), `empty`. */
export function drag(plot) {
  const { box } = plot;
  const fingers = new Map();
  let start = null;
  let isMoved = false;

  box.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    box.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, place(box, event));
    start = place(box, event);
    isMoved = fingers.size > 1;
    plot.line = [];
    tell(plot, "look", null);
  });

  box.addEventListener("pointermove", (event) => {
    const now = place(box, event);
    const before = fingers.get(event.pointerId);
    if (!before) return tell(plot, "look", now);
    if (!isMoved && Math.hypot(now[0] - start[0], now[1] - start[1]) < SLACK) return;
    isMoved = true;
    if (fingers.size === 2) pinch(plot, fingers, event.pointerId, now);
    else if (box.dataset.mode === "lasso") {
      if (!plot.line.length) plot.line.push(plot.toPlace(...start));
      plot.line.push(plot.toPlace(...now));
      plot.draw();
    } else plot.move(now[0] - before[0], now[1] - before[1]);
    fingers.set(event.pointerId, now);
  });

  for (const name of ["pointerup", "pointercancel"]) {
    box.addEventListener(name, (event) => {
      if (!fingers.delete(event.pointerId) || fingers.size) return;
      if (plot.line.length > 2) tell(plot, "lasso", plot.line);
      else if (!isMoved && name === "pointerup") tell(plot, "take", place(box, event));
      plot.line = [];
      plot.draw();
    });
  }

  box.addEventListener("pointerleave", () => tell(plot, "look", null));
  box.addEventListener("dblclick", () => plot.zoom(2));
  box.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      plot.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...place(box, event));
    },
    { passive: false },
  );
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key](plot);
  });
}

function pinch(plot, fingers, moved, now) {
  const other = [...fingers].find(([id]) => id !== moved)[1];
  const before = fingers.get(moved);
  const grown = distance(now, other) / Math.max(1, distance(before, other));
  plot.zoom(grown, (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
  plot.move((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
}

const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]);

function place(box, event) {
  const around = box.getBoundingClientRect();
  return [event.clientX - around.left - box.clientLeft, event.clientY - around.top - box.clientTop];
}

function tell(plot, name, detail) {
  plot.dispatchEvent(new CustomEvent(name, { detail }));
}
