/** A button that copies what is in a field (data-copy: its id). Shown only where the browser can. */
import { gettext } from "../base/words.js";

for (const button of document.querySelectorAll("[data-copy]")) {
  const field = document.getElementById(button.dataset.copy);
  button.hidden = !navigator.clipboard;
  field.addEventListener("focus", () => field.select());
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(field.value);
    button.textContent = gettext("Copied");
  });
}
