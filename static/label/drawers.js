/** Buttons that open and close a panel beside the picture (aria-controls), one panel at a time. */

/** What a panel shows may be a page's part of its own (data-part), fetched when it is first opened. */
async function fetchOnce(panel) {
  const place = panel.querySelector("[data-part]");
  if (!place?.dataset.part) return;
  const { part } = place.dataset;
  place.dataset.part = "";
  try {
    const reply = await fetch(part, { headers: { "HX-Request": "true" }, redirect: "error" });
    if (!reply.ok) throw new Error(String(reply.status));
    place.replaceChildren(...new DOMParser().parseFromString(await reply.text(), "text/html").body.childNodes);
  } catch {
    place.dataset.part = part; // the next opening tries again
    place.querySelector("[data-failed]").hidden = false;
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
    button.hidden = false;
    button.addEventListener("click", () => {
      const isOpen = panelOf(button).hidden;
      if (isOpen) fetchOnce(panelOf(button));
      for (const each of buttons) set(each, each === button && isOpen);
    });
  }
}
