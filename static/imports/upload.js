// An upload on the server: opened, filled part by part, finished or cancelled. Waits out a lost network.
import { fill, gettext } from "../base/words.js";

export class Stopped extends Error {}

export async function openUpload(form, sources, signal) {
  const key = sources.length === 1 && sources[0].mark ? `upload ${form.action} ${sources[0].mark}` : null;
  const known = key && localStorage.getItem(key);
  // Not to be broken off: an upload that nobody knows of could not be cancelled.
  const urls = known ? JSON.parse(known) : await ask(form.action, null, form, new AbortController().signal);
  if (key) localStorage.setItem(key, JSON.stringify(urls));
  const forget = () => key && localStorage.removeItem(key);
  return {
    isKnown: Boolean(known),
    part: (query, body, progress) => send(`${urls.part}?${query}`, body, form, progress, signal),
    forget,
    async finish() {
      const { page } = await ask(urls.finish, null, form, signal);
      forget();
      return page;
    },
    async cancel() {
      forget();
      await fetch(urls.cancel, { method: "POST", headers: headers(form) });
    },
  };
}

export async function sendSource(upload, source, length, progress, say, signal) {
  let offset = 0;
  let wait = 1;
  let isAsking = upload.isKnown;
  do {
    // Of an upload that was begun before, an empty part asks where to go on.
    const body = isAsking ? "" : await source.part(offset, length);
    const query = new URLSearchParams({ name: source.name, size: source.size, offset });
    const answer = await upload.part(query, body, (sent) => progress(offset + sent));
    if (answer.status === 200 || answer.status === 409) {
      offset = answer.json.received;
      isAsking = false;
      wait = 1;
      progress(offset);
    } else if (answer.status === 0 || answer.status >= 500) {
      if (answer.json?.error) throw new Stopped(answer.json.error);
      say(fill(gettext("The connection is lost. Trying again in %(seconds)s s; nothing is lost."), { seconds: wait }));
      await pause(wait, signal);
      wait = Math.min(30, wait * 2);
    } else {
      upload.forget();
      throw new Stopped(answer.json?.error ?? gettext("You are signed out, or this upload is over. Sign in and start again."));
    }
  } while (offset < source.size);
}

async function ask(url, body, form, signal) {
  const answer = await send(url, body, form, () => {}, signal);
  if (answer.status === 200 && answer.json) return answer.json;
  const signedOut = gettext("You are signed out. Sign in and try again.");
  throw new Stopped(answer.json?.error ?? (answer.status ? signedOut : gettext("The server cannot be reached. Try again.")));
}

function send(url, body, form, progress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", url);
    for (const [name, value] of Object.entries(headers(form))) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => progress(event.loaded);
    request.onload = () => resolve({ status: request.status, json: parsed(request) });
    request.onerror = () => resolve({ status: 0, json: null });
    request.onabort = () => reject(new Stopped(gettext("Cancelled.")));
    signal.addEventListener("abort", () => request.abort(), { once: true });
    if (signal.aborted) reject(new Stopped(gettext("Cancelled.")));
    else request.send(body);
  });
}

function parsed(request) {
  try {
    return JSON.parse(request.responseText);
  } catch {
    return null; // a page: the sign-in page, or an error page
  }
}

function headers(form) {
  const cookie = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1];
  const token = cookie ?? form.querySelector("[name=csrfmiddlewaretoken]").value;
  return { "X-CSRFToken": token, Accept: "application/json", "Content-Type": "application/octet-stream" };
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(done, seconds * 1000);
    addEventListener("online", done, { once: true });
    signal.addEventListener("abort", () => reject(new Stopped(gettext("Cancelled."))), { once: true });
    function done() {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    }
  });
}
