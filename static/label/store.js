/** Texts by name that survive a closed tab; in memory where the browser refuses to store (private windows, full disk). */

export class Store {
  #memory = new Map();
  #disk = null;

  constructor() {
    try {
      this.#disk = window.localStorage;
    } catch {
      /* forbidden: memory alone */
    }
  }

  /** True once the text is on disk. */
  set(name, text) {
    try {
      this.#disk.setItem(name, text);
      return true;
    } catch {
      this.#memory.set(name, text);
      return false;
    }
  }

  get(name) {
    return this.#memory.get(name) ?? this.#disk?.getItem(name) ?? null;
  }

  remove(name) {
    this.#memory.delete(name);
    this.#disk?.removeItem(name);
  }

  /** Every name with this beginning, sorted. */
  names(prefix) {
    const names = [...(this.#disk ? Object.keys(this.#disk) : []), ...this.#memory.keys()];
    return names.filter((name) => name.startsWith(prefix)).sort();
  }
}
