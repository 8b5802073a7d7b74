/** What is selected: marked in the plots, shown as thumbnails page by page, sent to the queue. */
import { fetchTiles } from "./columns.js";
import { fill, gettext, ngettext, number } from "../base/words.js";

export class Selection {
  /**
   * @param {{tiles: string, page: number, most: number}} setup
   * @param {(dot: number) => number} positionOf
   * @param {(dot: number) => boolean} canBeSent
   */
  constructor(setup, positionOf, canBeSent) {
    Object.assign(this, { setup, positionOf, canBeSent });
    this.dots = [];
    this.page = 0;
    this.part = (name) => document.getElementById(`selection-${name}`);
    this.part("earlier").addEventListener("click", () => this.turn(-1));
    this.part("later").addEventListener("click", () => this.turn(1));
  }

  /** @param {number[]} dots in the order they shall be shown in */
  show(dots) {
    this.dots = dots;
    this.page = 0;
    const waiting = dots.filter(this.canBeSent);
    const sent = waiting.slice(0, this.setup.most);
    this.part("count").textContent = dots.length ? counted(dots.length, waiting.length) : gettext("none yet");
    this.part("at").value = sent.map(this.positionOf).join(",");
    this.part("send").disabled = !sent.length;
    this.part("send").textContent = sendWords(sent.length, waiting.length);
    this.part("clear").disabled = !dots.length;
    const answered = dots.filter((dot) => !this.canBeSent(dot)).slice(0, this.setup.most);
    this.part("gold-at").value = answered.map(this.positionOf).join(",");
    for (const name of ["gold", "again"]) this.part(name).disabled = !answered.length;
    this.part("hint").hidden = dots.length > 0;
    this.part("tiles").replaceChildren();
    this.load();
  }

  turn(by) {
    this.page += by;
    this.load();
    this.part("tiles").scrollIntoView({ block: "nearest" });
  }

  /** Those of an earlier selection never come after those of a later one. */
  async load() {
    const { page } = this.setup;
    const pages = Math.ceil(this.dots.length / page);
    this.part("earlier").hidden = this.page === 0;
    this.part("later").hidden = this.page >= pages - 1;
    this.part("page").textContent = pages > 1 ? pageWords(this.page + 1, pages) : "";
    this.loading?.abort();
    if (!pages) return;
    this.loading = new AbortController();
    const { signal } = this.loading;
    const at = this.dots.slice(this.page * page, (this.page + 1) * page).map(this.positionOf);
    try {
      const tiles = await fetchTiles(`${this.setup.tiles}&at=${at.join(",")}`, signal);
      if (!signal.aborted) window.htmx.swap(this.part("tiles"), tiles, { swapStyle: "innerHTML" });
    } catch (error) {
      if (!signal.aborted) this.part("tiles").textContent = fill(gettext("The images could not be loaded. %(why)s"), { why: error.message });
    }
  }
}

function counted(all, waiting) {
  const words = ngettext(
    "%(all)s image, %(waiting)s waiting for an answer",
    "%(all)s images, %(waiting)s waiting for an answer",
    all,
  );
  return fill(words, { all: number(all), waiting: number(waiting) });
}

function sendWords(sent, waiting) {
  if (!sent) return gettext("Send to the queue");
  const words = sent < waiting ? gettext("Send the first %(count)s to the queue") : gettext("Send %(count)s to the queue");
  return fill(words, { count: number(sent) });
}

const pageWords = (page, pages) => fill(gettext("Page %(page)s of %(pages)s"), { page: number(page), pages: number(pages) });
