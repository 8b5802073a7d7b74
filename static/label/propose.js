/** A class that there is not: a small form that its key opens. What was typed to find a class is taken along. */

/**
 * @param {HTMLDetailsElement} box
 * @param {HTMLInputElement | null} filter
 * @param {(name: string) => boolean} give answers with a class of that name; false if it could not
 */
export function proposeClass(box, filter, give) {
  const form = box.querySelector("form");
  const input = form.elements.proposed;
  // Not on "toggle", which comes later: what is typed at once would be keys of the page, and answer.
  box.querySelector("summary").addEventListener("click", (event) => {
    event.preventDefault();
    box.open = !box.open;
    if (!box.open) return;
    if (filter?.value && !input.value) input.value = filter.value;
    input.focus();
    input.select();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    box.open = false;
    box.querySelector("summary").focus();
    event.stopPropagation();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const name = input.value.trim();
    if (!name || !give(name)) return;
    input.value = "";
    box.open = false;
    box.querySelector("summary").focus(); // a browser lets go of a closed field a frame later: the next key would be typed into it
  });
}
