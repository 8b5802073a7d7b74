/** Looking closer: zoom with the wheel, two fingers or buttons; drag to move; invert; contrast. A new image starts whole. */
const STEP = 1.5;
const MOST = 24;
const CONTRASTS = [1, 1.6, 2.5];

/**
 * @param {HTMLElement} table
 * @param {import("./stage.js").Stage} stage
 * @param {HTMLElement} tools buttons with data-view="in | out | whole | invert | contrast"
 */
export function lookCloser(table, stage, tools) {
  let zoom = 1;
  let [x, y] = [0, 0];
  let contrast = 0;
  const fingers = new Map();

  function apply() {
    if (zoom === 1) [x, y] = [0, 0];
    const image = stage.item?.element;
    if (!image) return;
    image.style.transform = zoom === 1 ? "" : `translate(${x}px, ${y}px) scale(${zoom})`;
    stage.zoom = zoom;
    table.toggleAttribute("data-zoomed", zoom > 1);
    tools.querySelector("[data-view=whole]").disabled = zoom === 1;
  }

  /** Zoom so that the point under the pointer stays where it is. */
  function zoomBy(factor, at = null) {
    const next = Math.min(MOST, Math.max(1, zoom * factor));
    const box = table.getBoundingClientRect();
    const [fromX, fromY] = at ? [at.clientX - box.x - box.width / 2, at.clientY - box.y - box.height / 2] : [0, 0];
    x = fromX - ((fromX - x) * next) / zoom;
    y = fromY - ((fromY - y) * next) / zoom;
    zoom = next;
    apply();
  }

  const press = {
    in: () => zoomBy(STEP),
    out: () => zoomBy(1 / STEP),
    whole: () => zoomBy(0),
    invert: (button) => {
      const isOn = table.toggleAttribute("data-inverted");
      button.setAttribute("aria-pressed", String(isOn));
    },
    contrast: (button) => {
      contrast = (contrast + 1) % CONTRASTS.length;
      table.dataset.contrast = String(contrast);
      button.setAttribute("aria-pressed", String(contrast > 0));
    },
  };
  tools.addEventListener("click", (event) => {
    const button = event.target.closest("[data-view]");
    if (button) press[button.dataset.view](button);
  });

  const move = (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
    fingers.set(event.pointerId, event);
    if (other) {
      const between = (a, b) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY) || 1;
      zoomBy(between(event, other) / between(before, other), other);
    } else if (zoom > 1) {
      x += event.clientX - before.clientX;
      y += event.clientY - before.clientY;
      apply();
    }
  };
  const lift = (event) => fingers.delete(event.pointerId);
  table.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY / 300), event);
  }, { passive: false });
  table.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, event);
    table.setPointerCapture(event.pointerId);
  });
  table.addEventListener("pointermove", move);
  for (const name of ["pointerup", "pointercancel"]) table.addEventListener(name, lift);
  table.addEventListener("dblclick", (event) => zoomBy(zoom > 1 ? 0 : 3, event));
  stage.addEventListener("shown", () => {
    zoom = 1;
    apply();
  });
}

/**
 * On a phone the tools would lie on the picture: there one button shows them, and puts them away again.
 * @param {HTMLElement} button
 * @param {HTMLElement} tools
 */
export function openTools(button, tools) {
  button.addEventListener("click", () => {
    const isOpen = tools.toggleAttribute("data-open");
    button.setAttribute("aria-expanded", String(isOpen));
  });
}
