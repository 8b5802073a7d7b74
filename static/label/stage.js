/** The light table: one image at a time, as large as fits, sharp-edged when it is scaled up more than three times. */
import { gettext } from "../base/words.js";

const PIXELATE_FROM = 3;
const LARGEST_SCALE = 8;
const TINY = 64; // a picture of a few pixels, as large as a wall, is harder to read than one as large as a hand
const TINY_SHOWN = 336;
const PATIENCE = 300; // ms without a picture, before a line says that it is on its way
const LONGEST_SECONDS = 300; // nobody looks at one image for longer without having gone away

export class Stage extends EventTarget {
  #table;
  #note;
  #item = null;
  #scale = 1;
  #shownAt = 0;
  #hiddenAt = 0;
  #away = 0;

  /**
   * @param {HTMLElement} table
   * @param {HTMLElement} note says what is wrong with the picture
   */
  constructor(table, note) {
    super();
    this.#table = table;
    this.#note = note;
    new ResizeObserver(() => this.#fit()).observe(table);
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.#hiddenAt = performance.now();
      else this.#away += performance.now() - Math.max(this.#hiddenAt, this.#shownAt);
    });
  }

  get item() {
    return this.#item;
  }

  show(item) {
    for (const old of this.#table.querySelectorAll("img")) old.remove();
    this.#item = item;
    this.#table.hidden = !item;
    if (!item) return;
    const { element } = item;
    element.dataset.image = item.image;
    this.#table.prepend(element);
    this.#fit();
    this.#shownAt = performance.now();
    this.#away = 0;
    this.#note.hidden = true;
    if (!this.isSeen) {
      element.addEventListener("load", () => this.#painted(item), { once: true });
      element.addEventListener("broken", () => this.#tellTrouble());
      setTimeout(() => this.#tellTrouble(), PATIENCE);
    }
    this.dispatchEvent(new CustomEvent("shown"));
  }

  /** Is the picture really there? What nobody has seen gets no label. */
  get isSeen() {
    return Boolean(this.#item?.element.complete && this.#item.element.naturalWidth);
  }

  /** Seconds that the image has been in view. */
  get seconds() {
    const seconds = (performance.now() - this.#shownAt - this.#away) / 1000;
    return Math.round(100 * Math.min(LONGEST_SECONDS, Math.max(0, seconds))) / 100;
  }

  /** How far the view is zoomed in: edges are sharp by what is really shown. */
  set zoom(factor) {
    this.#item?.element.toggleAttribute("data-pixelated", this.#scale * factor > PIXELATE_FROM);
  }

  #painted(item) {
    if (item !== this.#item) return;
    this.#shownAt = performance.now();
    this.#away = 0;
    this.#tellTrouble();
  }

  #tellTrouble() {
    const isBroken = this.#item?.element.hasAttribute("data-broken");
    this.#note.hidden = !this.#item || this.isSeen;
    this.#note.textContent = isBroken
      ? gettext("This picture cannot be loaded. Skip it, or mark it as a bad image.")
      : gettext("The picture is on its way …");
  }

  #fit() {
    if (!this.#item) return;
    const { width, height, element } = this.#item;
    const style = getComputedStyle(this.#table);
    const room = {
      width: this.#table.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight),
      height: this.#table.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom),
    };
    const longest = Math.max(width, height);
    const most = longest <= TINY ? TINY_SHOWN / longest : LARGEST_SCALE;
    this.#scale = Math.min(room.width / width, room.height / height, most);
    element.style.width = `${Math.max(1, Math.round(width * this.#scale))}px`;
    element.style.height = `${Math.max(1, Math.round(height * this.#scale))}px`;
    this.zoom = 1;
  }
}
