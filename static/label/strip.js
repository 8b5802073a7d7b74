/** The last answers, newest first. Choosing one shows it again, to correct it. Event: "chosen" {answer}. */
import { fill, gettext } from "../base/words.js";

const KEPT = 30; // undo reaches so far
const SHOWN = 12; // each of these loads its picture

export class Strip extends EventTarget {
  #list;
  #entries = new Map(); // by key
  /** @type {object[]} */
  answers = [];

  constructor(list, recent) {
    super();
    this.#list = list;
    list.replaceChildren();
    for (const answer of recent.slice(0, KEPT).reverse()) this.add(answer);
  }

  add(answer) {
    this.answers = [answer, ...this.answers].slice(0, KEPT);
    this.#list.prepend(this.#entry(answer));
    this.#list.scrollLeft = 0;
    const last = this.answers[SHOWN];
    if (last) this.#drop(last.key);
  }

  remove(key) {
    this.answers = this.answers.filter((answer) => answer.key !== key);
    this.#drop(key);
    const last = this.answers.slice(0, SHOWN).at(-1);
    if (last && !this.#entries.has(last.key)) this.#list.append(this.#entry(last));
  }

  /** Mark the one that is being corrected, or none. */
  mark(key) {
    for (const [each, entry] of this.#entries) setCurrent(entry.firstElementChild, each === key);
  }

  #drop(key) {
    this.#entries.get(key)?.remove();
    this.#entries.delete(key);
  }

  #entry(answer) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "label-thumb";
    button.setAttribute("aria-label", fill(gettext("Correct %(words)s"), answer));
    const picture = new Image(36, 36);
    picture.decoding = "async";
    picture.alt = "";
    picture.src = answer.src;
    const words = document.createElement("span");
    words.textContent = answer.words;
    button.append(picture, words);
    button.addEventListener("click", () => this.dispatchEvent(new CustomEvent("chosen", { detail: { answer } })));
    const entry = document.createElement("li");
    entry.append(button);
    this.#entries.set(answer.key, entry);
    return entry;
  }
}

function setCurrent(button, isCurrent) {
  if (isCurrent) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
}
