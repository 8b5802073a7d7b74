/**
 * Many classes: the class of a tile is typed. A part of the name does: Enter, or leaving the field, takes the class that
 * fits best, as on the Label page. Without this script the browser's own list completes names.
 */
import { gettext } from "../base/words.js";

/** @returns {string | undefined} the name that fits: the same, one that begins so, one that has all words in it */
export function fitting(typed, names) {
  const wanted = typed.toLocaleLowerCase().trim();
  const words = wanted.split(/\s+/).filter(Boolean);
  const matching = names.filter(({ folded }) => words.every((word) => folded.includes(word)));
  const found =
    matching.find(({ folded }) => folded === wanted) ?? matching.find(({ folded }) => folded.startsWith(wanted)) ?? matching[0];
  return found?.name;
}

/**
 * @param {HTMLFormElement} form
 * @param {(field: HTMLInputElement) => void} done is called when a field is left by Enter or Escape
 */
export function completeNames(form, done) {
  const list = form.querySelector("#grid-names");
  if (!list) return;
  const fields = [...form.querySelectorAll("input[data-is]")];
  const own = fields[0]?.placeholder ?? "";
  const names = [own, ...[...list.options].map((option) => option.value)].map((name) => ({ name, folded: name.toLocaleLowerCase() }));

  const settle = (field) => {
    const name = field.value.trim() ? fitting(field.value, names) : "";
    if (name !== undefined) field.value = name === own ? "" : name;
    field.setCustomValidity(name === undefined ? gettext("No class has this in its name.") : "");
    field.setAttribute("aria-invalid", String(name === undefined));
    return name !== undefined;
  };

  for (const field of fields) {
    field.addEventListener("change", () => settle(field));
    field.addEventListener("input", () => field.setCustomValidity(""));
    field.addEventListener("keydown", (event) => {
      if (event.isComposing || !["Enter", "Escape"].includes(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      if (event.key === "Escape") field.value = "";
      const isKnown = settle(field);
      field.dispatchEvent(new Event("change", { bubbles: true }));
      if (isKnown) done(field);
      else field.reportValidity();
    });
  }
}
