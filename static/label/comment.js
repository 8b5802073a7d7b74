/** A word to the managers about the image in view: a small form that its key opens. It is kept and sent like an answer. */
import { newKey } from "./uuid.js";

/**
 * @param {HTMLDetailsElement} box
 * @param {() => (number | undefined)} imageInView
 * @param {(body: object) => void} send
 */
export function commentImage(box, imageInView, send) {
  const form = box.querySelector("form");
  const input = form.elements.text;
  const summary = box.querySelector("summary");
  let image; // that which was in view when the form was opened
  // Not on "toggle", which comes later: what is typed at once would be keys of the page, and answer.
  summary.addEventListener("click", (event) => {
    event.preventDefault();
    box.open = !box.open;
    if (!box.open) return;
    image = imageInView();
    input.focus();
  });
  const close = () => {
    box.open = false;
    summary.focus();
  };
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    close();
    event.stopPropagation();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (!text || !image) return;
    send({ key: newKey(), image, text });
    input.value = "";
    close();
  });
}
