/**
 * Many classes: type to filter, Enter answers with the marked one. Recently used ones stand first. Only the first of those
 * that match are drawn, so that a thousand classes cost no more than a hundred.
 */
import { fill, gettext, number } from "../base/words.js";

const MOST_SHOWN = 60;

/**
 * @param {HTMLInputElement | null} input
 * @param {HTMLButtonElement[]} buttons
 * @param {[number, number][]} used classes that the person has chosen lately, the latest first
 * @returns {(used?: HTMLButtonElement) => void} to be called after each answer
 */
export function filterClasses(input, buttons, used) {
  if (!input) return () => {};
  const list = buttons[0].parentElement;
  const note = document.querySelector("[data-filter-note]");
  let all = buttons.map((button) => ({ button, name: button.dataset.name.toLocaleLowerCase() }));
  let shown = all;
  let marked = null;

  function comeFirst(button) {
    if (list.firstElementChild !== button) list.prepend(button);
    all = [all.find((each) => each.button === button), ...all.filter((each) => each.button !== button)];
  }

  function mark(button) {
    marked?.removeAttribute("data-marked");
    button?.setAttribute("data-marked", "");
    marked = button;
  }

  function show() {
    const typed = input.value.toLocaleLowerCase().trim();
    const words = typed.split(/\s+/).filter(Boolean);
    const matching = all.filter(({ name }) => words.every((word) => name.includes(word)));
    const exact = matching.find(({ name }) => name === typed);
    const best = exact ?? matching.find(({ name }) => name.startsWith(typed)) ?? matching[0];
    draw(matching.slice(0, MOST_SHOWN), best);
    mark(typed && best ? best.button : null);
    if (!matching.length) note.textContent = gettext("No class has this in its name.");
    else if (matching.length > MOST_SHOWN) note.textContent = fill(gettext("%(shown)s of %(all)s shown: type on."), { shown: MOST_SHOWN, all: number(matching.length) });
    else note.textContent = "";
  }

  function draw(first, best) {
    shown = !best || first.includes(best) ? first : [best, ...first];
    const buttonsShown = new Set(shown.map(({ button }) => button));
    for (const { button } of all) if (button.hidden === buttonsShown.has(button)) button.hidden = !button.hidden;
    list.scrollTop = 0;
  }

  function step(by) {
    const at = shown.findIndex(({ button }) => button === marked) + by;
    const next = shown[Math.max(0, Math.min(shown.length - 1, at))]?.button ?? null;
    mark(next);
    next?.scrollIntoView({ block: "nearest" });
  }

  input.closest("[data-filter-box]").hidden = false;
  input.addEventListener("input", show);
  input.addEventListener("keydown", (event) => {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") input.blur();
    else if (event.key === "ArrowDown") step(1);
    else if (event.key === "ArrowUp") step(-1);
    else if (event.key === "Enter") marked && !event.repeat && marked.click();
    else return;
    event.preventDefault();
  });
  document.querySelector("[data-focus-filter]").addEventListener("click", () => input.focus());
  const byClass = new Map(buttons.map((button) => [Number(button.value), button]));
  const recent = used.slice(0, MOST_SHOWN).map(([id]) => byClass.get(id)).filter(Boolean);
  for (const button of recent.reverse()) comeFirst(button);
  show();

  return (chosen) => {
    if (chosen?.dataset.outcome === "label") comeFirst(chosen);
    if (!input.value && list.firstElementChild === shown[0]?.button) return; // nothing to draw anew
    input.value = "";
    show();
  };
}
