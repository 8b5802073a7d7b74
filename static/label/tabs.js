/**
 * The same person's other tabs on the same project. They hold the same leases: an image that is answered in one leaves the
 * others at once, and a tab that closes gives nothing back that another one still shows. Their strips tell the same story.
 *
 * Events: "answered" {answer}, "undone" {key}.
 */
export class Tabs extends EventTarget {
  #channel;
  #me = Math.random().toString(36).slice(2);
  #others = new Set();

  constructor({ user, project }) {
    super();
    this.#channel = new BroadcastChannel(`plusminus.label.${user}.${project}`);
    this.#channel.addEventListener("message", ({ data }) => this.#hear(data));
    addEventListener("pagehide", () => this.#say("bye"));
    this.#say("hello");
  }

  get areOpen() {
    return this.#others.size > 0;
  }

  tellAnswered(answer) {
    this.#say("answered", { answer });
  }

  tellUndone(key) {
    this.#say("undone", { key });
  }

  #say(kind, detail = {}) {
    this.#channel.postMessage({ kind, from: this.#me, ...detail });
  }

  #hear({ kind, from, ...detail }) {
    if (kind === "bye") {
      this.#others.delete(from);
      return;
    }
    this.#others.add(from);
    if (kind === "hello") this.#say("here");
    else if (kind !== "here") this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}
