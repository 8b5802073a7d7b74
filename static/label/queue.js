/** The images to come: leased, fetched and decoded before they are shown, so that showing one is a matter of one frame. */
import { post } from "./post.js";

const TRIES = 3;

export class Queue extends EventTarget {
  #url;
  #want;
  #isAsking = false;
  #timer = 0;
  items = [];

  /** @param {{url: string, want: number, canAsk: () => boolean}} options */
  constructor({ url, want, canAsk }) {
    super();
    this.#url = url;
    this.#want = want;
    this.canAsk = canAsk;
  }

  get want() {
    return this.#want;
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

  /** The image that is shown leaves. */
  shift() {
    return this.items.shift();
  }

  remove(image) {
    this.items = this.items.filter((item) => item.image !== image);
  }

  /** Ask for more when there is room. Answers that are still on their way bring more by themselves. */
  async fill() {
    if (this.#isAsking || this.items.length >= this.#want || !this.canAsk()) return;
    clearTimeout(this.#timer);
    this.#isAsking = true;
    try {
      const reply = await post(this.#url, { want: this.#want, holding: this.holding });
      if (reply.status === 401 || reply.status === 403) this.dispatchEvent(new CustomEvent("signed-out"));
      else if (reply.status === 200) {
        this.dispatchEvent(new CustomEvent("progress", { detail: reply.body.progress }));
        this.add(reply.body.items, reply.body.empty);
        return;
      }
      this.#later(3);
    } catch {
      this.dispatchEvent(new CustomEvent("offline"));
      this.#later(2);
    } finally {
      this.#isAsking = false;
    }
  }

  #rest(empty) {
    this.dispatchEvent(new CustomEvent("empty", { detail: empty }));
    if (empty.retry_seconds) this.#later(empty.retry_seconds);
  }

  #later(seconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.fill(), seconds * 1000);
  }
}

/** An <img> whose picture is decoded ahead. A lost network is tried again; a broken picture says so when it is shown. */
function decoded(item) {
  const image = new Image(item.width, item.height);
  image.alt = `Image to label, ${item.name}`;
  image.decoding = "sync";
  image.src = item.url;
  let tries = 0;
  image.addEventListener("error", () => {
    tries += 1;
    if (tries < TRIES) setTimeout(() => (image.src = `${item.url}?again=${tries}`), 1000 * tries);
    else image.dataset.broken = "";
  });
  image.decode().catch(() => {});
  return image;
}
