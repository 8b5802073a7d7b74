/** What the person has not read yet comes with the queue: shown while they work, and gone once it was read in another tab. */

/**
 * @param {HTMLElement} place
 * @returns {(unread: {marks: string, html: string}) => boolean} whether there is something that was not there before
 */
export function showNews(place) {
  let shown = place.dataset.unread.trim();
  // On a phone each is one line, which opens when it is pressed.
  place.addEventListener("click", ({ target }) => {
    if (!target.closest("a, button")) target.closest(".label-kept")?.toggleAttribute("data-open");
  });
  return ({ marks, html }) => {
    if (marks === shown) return false; // a line that somebody is reading stays the same
    const former = new Set(shown.split(" "));
    shown = marks;
    place.replaceChildren(...new DOMParser().parseFromString(html, "text/html").body.childNodes);
    return marks.split(" ").some((mark) => mark && !former.has(mark));
  };
}
