/** A table that scrolls in its frame and holds nothing to press is reached by the Tab key, and has a name. */
const PRESSED = "a[href], button, input, select, textarea, summary, [tabindex]";

function look(frame) {
  const isNeeded = frame.scrollWidth > frame.clientWidth && !frame.querySelector(PRESSED);
  if (!isNeeded) return ["tabindex", "role", "aria-label"].forEach((name) => frame.removeAttribute(name));
  frame.tabIndex = 0;
  frame.setAttribute("role", "group");
  frame.setAttribute("aria-label", frame.closest("section")?.querySelector("h2, h3")?.textContent.trim() || document.title);
}

const sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => look(target)));

function watch(root) {
  for (const frame of root.querySelectorAll(".table-scroll")) sizes.observe(frame);
}

watch(document);
document.addEventListener("htmx:afterSettle", () => watch(document));
