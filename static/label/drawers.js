/** Buttons that open and close a panel beside the picture (aria-controls), one panel at a time. */

/**
 * What a panel shows may be a page's part of its own (data-part), fetched each time that it is opened: somebody may have
 * changed it since. What was shown before stays until then, and where it cannot be fetched.
 */
async function fetchPart(panel) {
  const place = panel.querySelector("[data-part]");
  if (!place) return;
  try {
    const reply = await fetch(place.dataset.part, { headers: { "HX-Request": "true" }, redirect: "error" });
    if (!reply.ok) throw new Error(String(reply.status));
    place.replaceChildren(...new DOMParser().parseFromString(await reply.text(), "text/html").body.childNodes);
  } catch {
    const failed = place.querySelector("[data-failed]"); // gone once it was fetched
    if (failed) failed.hidden = false;
  }
}

/** @param {HTMLElement} root */
export function openDrawers(root) {
  const buttons = [...root.querySelectorAll("button[aria-controls]")];
  const panelOf = (button) => document.getElementById(button.getAttribute("aria-controls"));
  const set = (button, isOpen) => {
    panelOf(button).hidden = !isOpen;
    button.setAttribute("aria-expanded", String(isOpen));
  };
  for (const button of buttons) {
    button.hidden = "absent" in button.dataset; // there is nothing in its panel yet
    button.addEventListener("click", () => {
      const isOpen = panelOf(button).hidden;
      if (isOpen) fetchPart(panelOf(button));
      for (const each of buttons) set(each, each === button && isOpen);
    });
  }
}
