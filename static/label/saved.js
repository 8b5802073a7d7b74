/** The dot that says whether all answers have arrived, and the line that says what to do when they have not. */
import { fill, gettext, ngettext } from "../base/words.js";

const SHORT = {
  saved: gettext("saved"),
  sending: gettext("sending (%(count)s)"),
  offline: gettext("offline (%(count)s kept)"),
  full: gettext("server full (%(count)s kept)"),
  "signed-out": gettext("signed out (%(count)s kept)"),
  stale: gettext("page too old (%(count)s kept)"),
  "shut-out": gettext("not taken (%(count)s kept)"),
};
export const FULL = gettext("The server’s disk is full: your answers are kept here and sent when there is room.");

export class Saved {
  #dot;
  #line;
  #loginUrl;
  #say;
  #state = "";

  /** @param {{dot: HTMLElement, line: HTMLElement, loginUrl: string, say: (words: string) => void}} options */
  constructor({ dot, line, loginUrl, say }) {
    this.#dot = dot;
    this.#line = line;
    this.#loginUrl = loginUrl;
    this.#say = say;
  }

  get state() {
    return this.#state;
  }

  /** @param {{state: import("./outbox.js").State, count: number, words?: string}} news */
  show({ state, count, words = "" }) {
    const isNew = state !== this.#state;
    this.#state = state;
    this.#dot.hidden = false;
    this.#dot.dataset.saved = state;
    this.#dot.lastElementChild.textContent = fill(SHORT[state], { count });
    if (state === "signed-out") this.#tell("state", `${words || gettext("You are signed out.")} ${kept(count)}`, this.#signIn());
    else if (state === "stale") this.#tell("state", `${gettext("The server takes nothing from this page any more: its cookies are gone.")} ${kept(count)}`, reload());
    else if (state === "shut-out") this.#tell("state", `${words || gettext("This project is not open to you.")} ${kept(count)}`);
    else if (state === "full") this.#tell("state", FULL);
    else if (this.#line.dataset.about === "state") this.#line.hidden = true;
    if (isNew && state !== "saved" && state !== "sending") this.#say(this.#dot.lastElementChild.textContent);
  }

  /**
   * Answers that the server refused, in its words, until the person has read them.
   * @param {import("./outbox.js").Operation[]} refused
   * @param {() => void} onRead
   */
  showRefused(refused, onRead) {
    if (!refused.length) return;
    const list = document.createElement("ul");
    for (const { words, shown } of refused) {
      const entry = document.createElement("li");
      entry.textContent = shown?.name ? fill(gettext("%(answer)s for %(image)s: %(why)s"), { answer: shown.words, image: shown.name, why: words }) : words;
      list.append(entry);
    }
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button button-small";
    button.textContent = gettext("I have read this");
    button.addEventListener("click", () => {
      this.#line.hidden = true;
      onRead();
    });
    const count = refused.length;
    this.#tell("refused", fill(ngettext("The server did not take %(count)s answer; all others are safe.", "The server did not take %(count)s answers; all others are safe.", count), { count }), list, button);
    this.#say(gettext("An answer was not taken."));
  }

  #tell(about, ...parts) {
    this.#line.replaceChildren(...parts);
    this.#line.dataset.about = about;
    this.#line.hidden = false;
  }

  #signIn() {
    const link = document.createElement("a");
    link.href = this.#loginUrl;
    link.textContent = gettext("Sign in");
    return link;
  }
}

/** Leads to the sign-in where that is needed. */
function reload() {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button button-small";
  button.textContent = gettext("Reload the page");
  button.addEventListener("click", () => location.reload());
  return button;
}

function kept(count) {
  if (!count) return `${gettext("Nothing is lost.")} `;
  const words = ngettext("%(count)s answer is kept on this machine and will be sent.", "%(count)s answers are kept on this machine and will be sent.", count);
  return `${fill(words, { count })} `;
}
