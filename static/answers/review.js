/** The review queue by keyboard: keys press the page's own buttons; the next image comes in place of the last. */
import { pressByKey } from "../label/hotkeys.js";

const main = document.getElementById("main");

// Enter on a link or a button that has the focus is its own, and accepts no label.
window.addEventListener(
  "keydown",
  (event) => {
    if (event.key === "Enter" && event.target.closest?.("a, button, summary")) event.stopPropagation();
  },
  { capture: true },
);
pressByKey(main);

// A box that was clicked keeps the focus, and keys typed into it would be its own.
main.addEventListener("change", (event) => {
  if (event.target.matches("input[type=checkbox]")) event.target.blur();
});
