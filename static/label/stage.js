/** The light table: one image at a time, as large as fits, sharp-edged when it is scaled up more than three times. */
const PIXELATE_FROM = 3;
const LARGEST_SCALE = 24;

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
    let scale = Math.min(room.width / width, room.height / height, LARGEST_SCALE * Math.max(1, 28 / Math.max(width, height)));
    if (scale > 1 && scale * Math.max(width, height) > 560 && Math.max(width, height) <= 64) {
      scale = Math.min(scale, 560 / Math.max(width, height)); // a tiny picture the size of a wall is no easier to see
    }
    element.style.width = `${Math.max(1, Math.round(width * scale))}px`;
    element.style.height = `${Math.max(1, Math.round(height * scale))}px`;
    element.toggleAttribute("data-pixelated", scale > PIXELATE_FROM);
  }
}
