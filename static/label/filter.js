/** Many classes: type to filter, Enter answers with the marked one. Recently used ones stand first. */

/**
 * @param {HTMLInputElement | null} input
 * @param {HTMLButtonElement[]} buttons
 * @returns {(used?: HTMLButtonElement) => void} to be called after each answer
 */
export function filterClasses(input, buttons) {
  if (!input) return () => {};
  const all = buttons.map((button) => ({ button, name: button.dataset.name.toLocaleLowerCase() }));
  const list = buttons[0].parentElement;
  let marked = null;

  function mark(button) {
    marked?.removeAttribute("data-marked");
    button?.setAttribute("data-marked", "");
    marked = button;
  }

  function show() {
    const typed = input.value.toLocaleLowerCase().trim();
    const words = typed.split(/\s+/).filter(Boolean);
    for (const { button, name } of all) button.hidden = !words.every((word) => name.includes(word));
    const exact = all.find(({ name }) => name === typed)?.button;
    const start = all.find(({ button, name }) => !button.hidden && name.startsWith(typed))?.button;
    mark(typed ? (exact ?? start ?? list.querySelector("button:not([hidden])")) : null);
    list.scrollTop = 0;
  }

  function step(by) {
    const visible = [...list.querySelectorAll("button:not([hidden])")];
    const next = visible[Math.max(0, Math.min(visible.length - 1, visible.indexOf(marked) + by))];
    mark(next ?? null);
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
  if (matchMedia("(pointer: fine)").matches) input.focus();

  return (used) => {
    if (used?.dataset.outcome === "label" && list.firstElementChild !== used) list.prepend(used);
    if (input.value) {
      input.value = "";
      show();
    } else mark(null);
  };
}
