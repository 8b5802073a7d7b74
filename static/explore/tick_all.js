/** A button that ticks all boxes of its form, shown only where it works. */
for (const button of document.querySelectorAll("[data-tick-all]")) {
  const boxes = button.form.querySelectorAll('input[type="checkbox"][name="at"]');
  button.hidden = boxes.length < 2;
  button.addEventListener("click", () => {
    for (const box of boxes) box.checked = true;
  });
}
