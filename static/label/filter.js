/** Many classes: type to filter, Enter answers with the first one shown. Recently used ones stand first. */
export function filterClasses(input, buttons, press) {
  if (!input) return () => {};
  const names = buttons.map((button) => button.dataset.name.toLocaleLowerCase());
  const show = () => {
    const words = input.value.toLocaleLowerCase().trim().split(/\s+/).filter(Boolean);
    buttons.forEach((button, at) => (button.hidden = !words.every((word) => names[at].includes(word))));
  };
  input.closest("[data-filter-box]").hidden = false;
  input.addEventListener("input", show);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") input.blur();
    if (event.key !== "Enter") return;
    event.preventDefault();
    const exact = buttons.find((button, at) => names[at] === input.value.toLocaleLowerCase().trim());
    const visible = [...input.form.querySelectorAll("[data-outcome=label]:not([hidden])")];
    const button = exact ?? (input.value.trim() ? visible[0] : null);
    if (button) press(button);
  });
  return (button) => {
    if (button?.dataset.outcome === "label") button.parentElement.prepend(button);
    input.value = "";
    show();
  };
}
