/** A finger that sweeps from right to left over the whole picture presses a button (undo). */
const FAR = 90;
const LEVEL = 60;
const QUICK = 700;

/**
 * @param {HTMLElement} table
 * @param {HTMLButtonElement} button
 */
export function pressBySwipe(table, button) {
  let start = null;
  let touches = 0;
  table.addEventListener("pointerdown", (event) => {
    touches += 1;
    start = event.pointerType === "touch" && touches === 1 && !table.hasAttribute("data-zoomed") ? event : null;
  });
  table.addEventListener("pointercancel", () => {
    touches = 0;
    start = null;
  });
  table.addEventListener("pointerup", (event) => {
    touches = Math.max(0, touches - 1);
    if (!start || event.pointerId !== start.pointerId) return;
    const isSwipe = start.clientX - event.clientX > FAR && Math.abs(event.clientY - start.clientY) < LEVEL;
    if (isSwipe && event.timeStamp - start.timeStamp < QUICK) button.click();
    start = null;
  });
}
