/** Buttons that open and close a panel beside the picture (aria-controls), one panel at a time. */

/** @param {HTMLElement} root */
export function openDrawers(root) {
  const buttons = [...root.querySelectorAll("button[aria-controls]")];
  const panelOf = (button) => document.getElementById(button.getAttribute("aria-controls"));
  const set = (button, isOpen) => {
    panelOf(button).hidden = !isOpen;
    button.setAttribute("aria-expanded", String(isOpen));
  };
  for (const button of buttons) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const isOpen = panelOf(button).hidden;
      for (const each of buttons) set(each, each === button && isOpen);
    });
  }
}
