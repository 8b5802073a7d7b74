/**
 * Answers on their way to the server. Each is kept on disk, synchronously, before the page moves on, and leaves only when
 * the server has said that it has it. A closed tab, a lost network, a stopped server or an ended session lose nothing:
 * the next visit of the same person to the same project sends what is left. A repeated send is harmless (same key).
 */
import { post } from "./post.js";

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15000;

export class Outbox extends EventTarget {
  #prefix;
  #urls;
  #isSending = false;
  #inFlight = null;
  #pause = 0;
  #timer = 0;
  #memory = new Map(); // where the browser refuses to store (private windows, full disk)
  state = "saved";

  /** @param {{user: string, project: string, urls: {answer: string, undo: string}, extra: () => object}} options */
  constructor({ user, project, urls, extra }) {
    super();
    this.#prefix = `plusminus.outbox.${user}.${project}.`;
    this.#urls = urls;
    this.extra = extra;
    addEventListener("online", () => this.#retryNow());
    addEventListener("storage", (event) => event.key?.startsWith(this.#prefix) && this.#announce());
    document.addEventListener("visibilitychange", () => document.hidden || this.#retryNow());
  }

  /** Keep an operation and start sending. `kind` is "answer" or "undo". */
  put(kind, body) {
    const name = `${this.#prefix}${String(Date.now()).padStart(15, "0")}.${String(performance.now()).padStart(20, "0")}.${body.key}`;
    const text = JSON.stringify({ kind, body });
    try {
      localStorage.setItem(name, text);
    } catch {
      this.#memory.set(name, text);
    }
    this.#announce();
    this.send();
  }

  /** Take back what has not been sent. False if it is on its way, or has arrived. */
  takeBack(key) {
    const name = this.#names().find((each) => each.endsWith(key));
    if (!name || this.#inFlight === name) return false;
    this.#forget(name);
    this.#announce();
    return true;
  }

  get length() {
    return this.#names().length;
  }

  /** Send in order, one at a time; only one tab of the browser sends (where locks exist). */
  async send() {
    if (this.#isSending) return;
    this.#isSending = true;
    try {
      if (navigator.locks) {
        await navigator.locks.request(`${this.#prefix}sending`, { ifAvailable: true }, (lock) =>
          lock ? this.#sendAll() : this.#later(2000),
        );
      } else {
        await this.#sendAll();
      }
    } finally {
      this.#isSending = false;
      this.#announce();
    }
  }

  async #sendAll() {
    for (let name = this.#names()[0]; name; name = this.#names()[0]) {
      const { kind, body } = JSON.parse(this.#read(name));
      this.#inFlight = name;
      let reply;
      try {
        reply = await post(this.#urls[kind], { ...body, ...this.extra() });
      } catch {
        reply = { status: 0, body: {} };
      } finally {
        this.#inFlight = null;
      }
      if (!this.#settle(name, kind, body, reply)) return;
    }
  }

  /** What the reply means for the operation; false stops the sending. */
  #settle(name, kind, body, reply) {
    if (reply.status === 200) {
      this.#forget(name);
      this.#pause = 0;
      this.#announce();
      this.#tell("saved", { kind, body, reply: reply.body });
      return true;
    }
    if (reply.status === 401 || reply.status === 403) return this.#stop("signed-out");
    if (reply.status === 400 || reply.status === 404) {
      this.#forget(name);
      this.#tell("refused", { kind, body, words: reply.body.error || "The server did not take this answer." });
      return true;
    }
    this.#pause = Math.min(this.#pause ? this.#pause * 2 : FIRST_PAUSE, LONGEST_PAUSE);
    this.#later(this.#pause);
    return this.#stop("offline");
  }

  #stop(state) {
    this.#set(state);
    if (state === "signed-out") this.#later(LONGEST_PAUSE);
    return false;
  }

  #later(pause) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.send(), pause);
  }

  #retryNow() {
    this.#pause = 0;
    if (this.length) this.send();
  }

  #names() {
    const stored = Object.keys(localStorage).filter((name) => name.startsWith(this.#prefix));
    return [...stored, ...this.#memory.keys()].sort();
  }

  #read(name) {
    return this.#memory.get(name) ?? localStorage.getItem(name);
  }

  #forget(name) {
    this.#memory.delete(name);
    localStorage.removeItem(name);
  }

  #announce() {
    const isStuck = this.state === "offline" || this.state === "signed-out";
    if (!this.length) this.#set("saved");
    else if (!isStuck || this.#pause === 0) this.#set(isStuck ? this.state : "sending");
    else this.#set(this.state);
  }

  #set(state) {
    this.state = state;
    this.#tell("state", { state, count: this.length });
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
