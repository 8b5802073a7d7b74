/** A key presses the button of the page that carries it (data-hotkey): the keyboard is no second code path. */

/** @param {HTMLElement} root */
export function pressByKey(root) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest?.("input, textarea, select, [contenteditable]")) return;
    if (event.repeat) {
      if (event.target.closest?.("button") && event.key === "Enter") event.preventDefault(); // held down: one answer
      return;
    }
    const button = names(event).map((name) => find(root, name)).find(Boolean);
    if (!button) return;
    event.preventDefault();
    button.click();
  });
}

/** What the key says; then, for other alphabets and for digits behind Shift, what is printed on it elsewhere. */
function names(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key.length > 1 || /[a-z0-9]/.test(key)) return [key];
  const [, letter] = /^Key([A-Z])$/.exec(event.code) ?? [];
  const [, digit] = /^(?:Digit|Numpad)([0-9])$/.exec(event.code) ?? [];
  const other = letter && key.toLowerCase() !== key.toUpperCase() ? letter.toLowerCase() : event.shiftKey ? null : digit;
  return other ? [key, other] : [key];
}

function find(root, name) {
  const buttons = [...root.querySelectorAll(`[data-hotkey~="${CSS.escape(name)}"]`)];
  return buttons.find((button) => !button.disabled && button.checkVisibility());
}
