/**
 * The images to come: leased, fetched and decoded before they are shown, so that showing one is a matter of one frame.
 *
 * Events: "ready", "empty" {words}, "progress" {...}, "classes" (their version), "unread" {marks, html}, "guide" (whether there is one),
 * "proposals" (whether they are taken), "signed-out" {words}, "stale", "offline", "full".
 *
 * @typedef {{image: number, candidate: number | null, url: string, width: number, height: number, name: string,
 *   element?: HTMLImageElement}} Item
 */
import { fill, gettext } from "../base/words.js";
import { DISK_FULL, post } from "./post.js";

const TRIES = 4;
const FINISHED_PAUSE = 60; // somebody may import more images
const REFUSALS = { 401: "signed-out", 403: "stale", [DISK_FULL]: "full" };

export class Queue extends EventTarget {
  #url;
  #want;
  #isAsking = false;
  #timer = 0;
  #answeredAt = new Map();
  /** @type {Item[]} the first is in view, unless a former answer is shown again */
  items = [];

  /** @param {{url: string, want: number, canAsk: () => boolean}} options */
  constructor({ url, want, canAsk }) {
    super();
    this.#url = url;
    this.#want = want;
    this.canAsk = canAsk;
    document.addEventListener("visibilitychange", () => document.hidden || this.fill({ isForced: true })); // much may have changed
  }

  get isShort() {
    return this.items.length < this.#want;
  }

  get holding() {
    return this.items.map((item) => item.candidate).filter(Boolean);
  }

  /** Take new items in, each once; and what the server says when there are none. */
  add(items, empty = null, { isFront = false } = {}) {
    const fresh = items.filter((item) => !this.items.some((each) => each.image === item.image));
    for (const item of fresh) item.element ??= decoded(item);
    this.items = isFront ? [...fresh, ...this.items] : [...this.items, ...fresh];
    if (this.items.length) this.dispatchEvent(new CustomEvent("ready"));
    else if (empty) this.#rest(empty);
  }

  /** An image that has been answered leaves, and is not let in again by a reply that was on its way. */
  leave(image) {
    this.#answeredAt.set(image, performance.now());
    this.items = this.items.filter((item) => item.image !== image);
  }

  /** Those of these leases leave. */
  drop(candidates) {
    this.items = this.items.filter((item) => !candidates.includes(item.candidate));
  }

  /** An undone answer: its image comes first. */
  comeBack(item) {
    this.#answeredAt.delete(item.image);
    this.items = this.items.filter((each) => each.image !== item.image);
    this.add([item], null, { isFront: true });
  }

  /** Ask for more when there is room. Not while answers are on their way: they bring more by themselves. */
  async fill({ isForced = false } = {}) {
    if (this.#isAsking || !this.canAsk() || !(isForced || this.isShort)) return;
    clearTimeout(this.#timer);
    if (document.hidden && !isForced) return; // goes on when somebody looks
    this.#isAsking = true;
    const askedAt = performance.now();
    const reply = await post(this.#url, { want: this.#want, holding: this.holding }).catch(() => null);
    this.#isAsking = false;
    if (reply?.status === 200) {
      for (const news of ["progress", "classes", "unread", "guide", "proposals"]) this.dispatchEvent(new CustomEvent(news, { detail: reply.body[news] }));
      this.add(reply.body.items.filter((item) => !(this.#answeredAt.get(item.image) > askedAt)), reply.body.empty);
    } else if (reply?.status === 404) {
      this.#rest({ words: reply.body.error ?? gettext("This project is no longer open to you."), retry_seconds: null });
    } else {
      this.dispatchEvent(new CustomEvent(REFUSALS[reply?.status] ?? "offline", { detail: { words: reply?.body.error ?? "" } }));
      this.#later(2);
    }
  }

  #rest(empty) {
    this.dispatchEvent(new CustomEvent("empty", { detail: empty }));
    this.#later(empty.retry_seconds ?? FINISHED_PAUSE);
  }

  #later(seconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.fill(), seconds * 1000);
  }
}

/**
 * An <img> whose picture is decoded ahead. A lost network is tried again; a picture that stays broken says so.
 * @param {Item} item
 */
export function decoded(item) {
  const image = new Image(item.width, item.height);
  image.alt = fill(gettext("Image to label, %(name)s"), item);
  image.decoding = "sync";
  image.draggable = false;
  image.src = item.src;
  let tries = 0;
  image.addEventListener("error", () => {
    tries += 1;
    if (tries < TRIES) setTimeout(() => (image.src = `${item.url}?again=${tries}`), 1000 * tries);
    else image.dataset.broken = "";
    image.dispatchEvent(new CustomEvent("broken"));
  });
  image.decode().catch(() => {}); // the listener above sees to it
  return image;
}
