/** The dot that says whether all answers have arrived, and the line that says what to do when they have not. */

const SHORT = {
  saved: () => "saved",
  sending: (count) => `sending (${count})`,
  offline: (count) => `offline (${count} kept)`,
  full: (count) => `server full (${count} kept)`,
  "signed-out": (count) => `signed out (${count} kept)`,
  stale: (count) => `page too old (${count} kept)`,
  "shut-out": (count) => `not taken (${count} kept)`,
};
export const FULL = "The server’s disk is full: your answers are kept here and sent when there is room.";
const answers = (count) => (count === 1 ? "1 answer is" : `${count} answers are`);

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
    this.#dot.lastElementChild.textContent = SHORT[state](count);
    if (state === "signed-out") this.#tell("state", `${words || "You are signed out."} ${kept(count)}`, this.#signIn());
    else if (state === "stale") this.#tell("state", `The server takes nothing from this page any more: its cookies are gone. ${kept(count)}`, reload());
    else if (state === "shut-out") this.#tell("state", `${words || "This project is not open to you."} ${kept(count)}`);
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
      entry.textContent = shown?.name ? `${shown.words} for ${shown.name}: ${words}` : words;
      list.append(entry);
    }
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button button-small";
    button.textContent = "I have read this";
    button.addEventListener("click", () => {
      this.#line.hidden = true;
      onRead();
    });
    this.#tell("refused", `The server did not take ${answers(refused.length).replace(/ (is|are)$/, "")}; all others are safe.`, list, button);
    this.#say("An answer was not taken.");
  }

  #tell(about, ...parts) {
    this.#line.replaceChildren(...parts);
    this.#line.dataset.about = about;
    this.#line.hidden = false;
  }

  #signIn() {
    const link = document.createElement("a");
    link.href = this.#loginUrl;
    link.textContent = "Sign in";
    return link;
  }
}

/** Leads to the sign-in where that is needed. */
function reload() {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button button-small";
  button.textContent = "Reload the page";
  button.addEventListener("click", () => location.reload());
  return button;
}

function kept(count) {
  return count ? `${answers(count)} kept on this machine and will be sent. ` : "Nothing is lost. ";
}
