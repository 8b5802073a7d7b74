/** The tabs that do not fit beside the others stand in a menu behind them, never the one in view. Without this they wrap. */
const nav = document.querySelector(".topbar-tabs");
const more = nav.querySelector(".tabs-more");
const menu = more.querySelector(".tabs-menu");
const links = [...nav.querySelectorAll("a")];
const leaving = links.filter((link) => !link.hasAttribute("aria-current")).reverse();

function fit() {
  const focused = document.activeElement;
  nav.removeAttribute("data-fitted"); // as if all were to stand there
  nav.append(...links, more);
  more.hidden = true;
  const { bottom } = links[0].getBoundingClientRect();
  const isBelow = (element) => element.getBoundingClientRect().top >= bottom - 1;
  if (links.some(isBelow)) {
    more.hidden = false;
    for (const link of leaving) {
      if (!isBelow(more)) break;
      menu.prepend(link);
    }
  }
  nav.dataset.fitted = "";
  tellWaiting();
  if (nav.contains(focused) && focused.checkVisibility()) focused.focus();
}

/** What a tab in the menu has to tell is told beside its name there, and in one number outside. */
function tellWaiting() {
  const counts = [...menu.querySelectorAll(".count")].map((count) => parseInt(count.textContent.replace(/\D/g, ""), 10));
  const waiting = counts.reduce((sum, count) => sum + count, 0);
  const badge = more.querySelector("summary .count");
  badge.hidden = !waiting;
  badge.firstElementChild.textContent = waiting;
}

function close() {
  more.open = false;
}

let width = 0;
new ResizeObserver(([{ contentRect }]) => {
  if (contentRect.width === width) return; // it may grow by a line meanwhile
  width = contentRect.width;
  fit();
}).observe(nav.parentElement);
document.addEventListener("pointerdown", ({ target }) => more.contains(target) || close());
more.addEventListener("focusout", ({ relatedTarget }) => relatedTarget && !more.contains(relatedTarget) && close());
more.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !more.open) return;
  event.stopPropagation(); // on the Label page it leaves a correction
  close();
  more.querySelector("summary").focus();
});
fit();
