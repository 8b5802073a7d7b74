/** The light table: one image at a time, as large as fits, sharp-edged when it is scaled up more than three times. */
const PIXELATE_FROM = 3;
const LARGEST_SCALE = 8;
const TINY = 64; // a picture of a few pixels, as large as a wall, is harder to read than one as large as a hand
const TINY_SHOWN = 336;

export class Stage {
  #table;
  #item = null;
  #shownAt = 0;
  #hiddenAt = 0;
  #away = 0;

  constructor(table) {
    this.#table = table;
    new ResizeObserver(() => this.#fit()).observe(table);
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.#hiddenAt = performance.now();
      else if (this.#hiddenAt) this.#away += performance.now() - this.#hiddenAt;
    });
  }

  get item() {
    return this.#item;
  }

  show(item) {
    this.#item = item;
    this.#table.hidden = !item;
    if (!item) return;
    item.element.dataset.image = item.image;
    this.#table.replaceChildren(item.element);
    this.#fit();
    this.#shownAt = performance.now();
    this.#away = this.#hiddenAt = 0;
  }

  /** Seconds that the image has been in view. */
  get seconds() {
    return Math.max(0, (performance.now() - this.#shownAt - this.#away) / 1000);
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
    const scale = Math.min(room.width / width, room.height / height, most);
    element.style.width = `${Math.max(1, Math.round(width * scale))}px`;
    element.style.height = `${Math.max(1, Math.round(height * scale))}px`;
    element.toggleAttribute("data-pixelated", scale > PIXELATE_FROM);
  }
}
