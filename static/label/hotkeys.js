/** A key presses the button of the page that carries it (data-hotkey): the keyboard is no second code path. */
export function pressByKey(root) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
    if (event.target.closest?.("input, textarea, select, [contenteditable]")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const button = root.querySelector(`[data-hotkey="${CSS.escape(key)}"]`);
    if (!button || button.disabled || !button.checkVisibility()) return;
    event.preventDefault();
    button.click();
  });
}
