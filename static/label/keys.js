/**
 * Many classes, ten digits: they move to the classes that this person uses most when they ask for it, and stay there, on
 * this machine, until they ask again. Keys that moved by themselves would answer with the wrong class.
 */
import { gettext } from "../base/words.js";
import { Store } from "./store.js";

const DIGITS = [..."1234567890"];

/**
 * @param {HTMLButtonElement | null} toggle
 * @param {HTMLButtonElement[]} buttons of the classes
 * @param {[number, number][]} used how often the person has chosen a class lately
 * @param {string} name under which the choice is kept
 * @returns {(chosen: HTMLButtonElement) => void} to be called after each answer
 */
export function moveKeys(toggle, buttons, used, name) {
  if (!toggle) return () => {};
  const store = new Store();
  const counts = new Map(used);
  const own = new Map(buttons.map((button) => [button, button.dataset.hotkey ?? ""]));
  const byClass = new Map(buttons.map((button) => [Number(button.value), button]));

  function apply(classes) {
    const moved = classes.map((id) => byClass.get(id)).filter(Boolean).slice(0, DIGITS.length);
    const given = new Map(moved.map((button, at) => [button, DIGITS[at]]));
    const taken = new Set(given.values());
    for (const button of buttons) setKey(button, given.get(button) ?? (taken.has(own.get(button)) ? "" : own.get(button)));
    toggle.setAttribute("aria-pressed", String(moved.length > 0));
    toggle.textContent = moved.length ? gettext("the project’s keys again") : gettext("keys to my most used");
  }

  function mostUsed() {
    return [...counts].filter(([id]) => byClass.has(id)).sort(([, a], [, b]) => b - a).slice(0, DIGITS.length).map(([id]) => id);
  }

  function update() {
    toggle.hidden = toggle.getAttribute("aria-pressed") !== "true" && !mostUsed().length;
  }

  toggle.addEventListener("click", () => {
    const classes = toggle.getAttribute("aria-pressed") === "true" ? [] : mostUsed();
    if (classes.length) store.set(name, JSON.stringify(classes));
    else store.remove(name);
    apply(classes);
    update();
  });
  apply(kept(store.get(name)));
  update();

  return (chosen) => {
    const id = Number(chosen.value);
    counts.set(id, (counts.get(id) ?? 0) + 1);
    update();
  };
}

function kept(text) {
  try {
    const classes = JSON.parse(text ?? "[]");
    return Array.isArray(classes) ? classes.map(Number) : [];
  } catch {
    return [];
  }
}

function setKey(button, key) {
  if ((button.dataset.hotkey ?? "") === key) return;
  button.querySelector("kbd")?.remove();
  if (key) {
    button.dataset.hotkey = key;
    button.setAttribute("aria-keyshortcuts", key);
    const mark = document.createElement("kbd");
    mark.textContent = key;
    button.append(mark);
  } else {
    delete button.dataset.hotkey;
    button.removeAttribute("aria-keyshortcuts");
  }
}
