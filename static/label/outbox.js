/**
 * Answers on their way to the server. Each is kept on disk, synchronously, before the page moves on, and leaves only when
 * the server has said that it has it. A closed tab, a lost network, a stopped server, its full disk or an ended session lose nothing:
 * the next visit of the same person to the same project sends what is left. A repeated send is harmless (same key).
 * What the server refuses is kept aside, with its words, until the person has read them.
 *
 * Events: "state" {state, count, words}, "saved" {kind, body, reply}, "refused" {kind, body, shown, words, field}.
 *
 * @typedef {"saved" | "sending" | "offline" | "full" | "signed-out" | "stale" | "shut-out"} State
 * @typedef {{kind: "answer" | "undo" | "comment", body: any, shown?: object, words?: string, field?: string}} Operation
 */
import { DISK_FULL, post } from "./post.js";
import { Store } from "./store.js";

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15000;
const OTHER_TAB_PAUSE = 1000;

export class Outbox extends EventTarget {
  #store = new Store();
  #prefix;
  #refusedPrefix;
  #urls;
  #isSending = false;
  #pause = 0;
  #timer = 0;
  #words = "";
  /** @type {State} */
  state = "saved";

  /** @param {{user: string, project: string, urls: {answer: string, undo: string, comment: string}, extra: () => object}} options */
  constructor({ user, project, urls, extra }) {
    super();
    this.#prefix = `plusminus.outbox.${user}.${project}.`;
    this.#refusedPrefix = `plusminus.refused.${user}.${project}.`;
    this.#urls = urls;
    this.extra = extra;
    addEventListener("online", () => this.#retryNow());
    addEventListener("storage", (event) => event.key?.startsWith(this.#prefix) && this.#announce());
    document.addEventListener("visibilitychange", () => document.hidden || this.#retryNow());
  }

  /** Keep an operation and start sending. `shown` is what the page needs to show it after a reload. */
  put(kind, body, shown) {
    this.#store.set(this.#nextName(body.key), JSON.stringify({ kind, body, shown }));
    this.#announce();
    this.send();
  }

  get length() {
    return this.#names().length;
  }

  /** @returns {Operation[]} in the order in which they will be sent */
  get waiting() {
    return this.#names().map((name) => this.#read(name)).filter(Boolean);
  }

  /** @returns {Operation[]} */
  get refused() {
    return this.#store.names(this.#refusedPrefix).map((name) => this.#read(name)).filter(Boolean);
  }

  forgetRefused() {
    for (const name of this.#store.names(this.#refusedPrefix)) this.#store.remove(name);
  }

  /** Send in order, one at a time; only one tab of the browser sends (where locks exist). */
  async send() {
    if (this.#isSending) return;
    this.#isSending = true;
    try {
      if (navigator.locks) {
        await navigator.locks.request(`${this.#prefix}sending`, { ifAvailable: true }, (lock) =>
          lock ? this.#sendAll() : this.#later(OTHER_TAB_PAUSE),
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
      const operation = this.#read(name);
      if (!operation) {
        this.#store.remove(name); // another tab was faster, or the text is broken
        continue;
      }
      const extra = operation.kind === "answer" ? this.extra() : {};
      const reply = await post(this.#urls[operation.kind], { ...operation.body, ...extra }).catch(() => NO_REPLY);
      if (!this.#settle(name, operation, reply)) return;
    }
  }

  /** What the reply means for the operation; false stops the sending. */
  #settle(name, operation, reply) {
    if (reply.status === 200) {
      this.#store.remove(name);
      this.#pause = 0;
      this.state = "sending";
      this.#tell("saved", { ...operation, reply: reply.body }); // what the reply brings comes before the news
      this.#announce();
      return true;
    }
    if (reply.status === 400) {
      this.#keepAside(name, { ...operation, words: reply.body.error || "The server did not take this answer.", field: reply.body.field });
      return true;
    }
    this.#words = reply.body.error ?? "";
    this.#pause = Math.min(this.#pause ? this.#pause * 2 : FIRST_PAUSE, LONGEST_PAUSE);
    if (reply.status === 401) this.#stop("signed-out", LONGEST_PAUSE);
    else if (reply.status === 403) this.#stop("stale", LONGEST_PAUSE);
    else if (reply.status === 404) this.#stop("shut-out", LONGEST_PAUSE);
    else this.#stop(reply.status === DISK_FULL ? "full" : "offline", this.#pause);
    return false;
  }

  #keepAside(name, operation) {
    this.#store.set(this.#refusedPrefix + operation.body.key, JSON.stringify(operation));
    this.#store.remove(name);
    for (const other of this.#names()) {
      if (this.#read(other)?.body.target === operation.body.key) this.#store.remove(other); // its undo
    }
    this.#announce();
    this.#tell("refused", operation);
  }

  #stop(state, pause) {
    this.state = state;
    this.#later(pause);
  }

  #later(pause) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.send(), pause);
  }

  #retryNow() {
    this.#pause = 0;
    if (this.length) this.send();
  }

  /** Names sort in the order of the answers, whatever the clock does. */
  #nextName(key) {
    const last = this.#names().at(-1)?.slice(this.#prefix.length).split(".")[0] ?? "0";
    return `${this.#prefix}${String(Number(last) + 1).padStart(9, "0")}.${key}`;
  }

  #names() {
    return this.#store.names(this.#prefix);
  }

  /** @returns {Operation | null} */
  #read(name) {
    try {
      return JSON.parse(this.#store.get(name));
    } catch {
      return null;
    }
  }

  #announce() {
    const count = this.length;
    if (!count) this.state = "saved";
    else if (this.state === "saved") this.state = "sending";
    this.#tell("state", { state: this.state, count, words: this.#words });
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

const NO_REPLY = { status: 0, body: {} };
