// Takes what is dropped or chosen, sends it in parts, and shows how far it is.
import { fill, gettext, ngettext, number } from "../base/words.js";
import { droppedFiles } from "./dropped_files.js";
import { sourcesOf } from "./sources.js";
import { Stopped, openUpload, sendSource } from "./upload.js";

const form = document.querySelector("[data-upload]");
const field = form.querySelector("[data-files]");
const folder = form.querySelector("[data-folder]");
const zone = form.querySelector("[data-drop]");
const panel = document.querySelector("[data-panel]");
const bar = panel.querySelector("progress");
const words = panel.querySelector("[data-words]");
const fault = panel.querySelector("[data-fault]");
let running = null;

form.querySelectorAll("[data-script-only]").forEach((element) => (element.hidden = false));
form.querySelectorAll("[data-plain-only]").forEach((element) => (element.hidden = true));
form.querySelector("[data-choose]").addEventListener("click", () => field.click());
form.querySelector("[data-choose-folder]").addEventListener("click", () => folder.click());
field.addEventListener("change", () => start([...field.files].map((file) => ({ file, name: file.name }))));
folder.addEventListener("change", () =>
  start([...folder.files].map((file) => ({ file, name: file.webkitRelativePath || file.name }))),
);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  start([...field.files].map((file) => ({ file, name: file.name })));
});
zone.addEventListener("dragover", (event) => {
  event.preventDefault();
  zone.dataset.over = "";
});
zone.addEventListener("dragleave", () => delete zone.dataset.over);
zone.addEventListener("drop", async (event) => {
  event.preventDefault();
  delete zone.dataset.over;
  say(gettext("Looking through the folder…"));
  start(await droppedFiles(event.dataTransfer));
});
panel.querySelector("[data-cancel]").addEventListener("click", () => running?.abort());
addEventListener("beforeunload", (event) => {
  if (running) event.preventDefault();
});

async function start(files) {
  if (running) return;
  if (!files.length) return say(gettext("Nothing to send: that holds no files."));
  running = new AbortController();
  panel.hidden = false;
  form.hidden = true;
  fault.hidden = true;
  let upload = null;
  try {
    const sources = sourcesOf(files);
    const total = sources.reduce((sum, source) => sum + source.size, 0);
    upload = await openUpload(form, sources, running.signal);
    const meter = rateMeter(total, files.length);
    let before = 0;
    for (const source of sources) {
      await sendSource(upload, source, Number(form.dataset.part), (sent) => meter(before + sent), say, running.signal);
      before += source.size;
    }
    const page = await upload.finish(running.signal);
    running = null;
    location.assign(page);
  } catch (error) {
    const wasCancelled = running.signal.aborted;
    running = null;
    if (wasCancelled && upload) await upload.cancel();
    form.hidden = false;
    panel.hidden = wasCancelled;
    if (wasCancelled) return;
    fault.hidden = false;
    fault.textContent = error instanceof Stopped ? error.message : fill(gettext("The upload broke off: %(reason)s"), { reason: error.message });
    say(gettext("Nothing that was sent is lost for a day: choose the same file again to go on."));
  }
}

function rateMeter(total, count) {
  const points = [[performance.now(), 0]];
  return (sent) => {
    const now = performance.now();
    points.push([now, sent]);
    while (points.length > 2 && now - points[0][0] > 10_000) points.shift();
    const [[since, from]] = points;
    const rate = ((sent - from) / Math.max(1, now - since)) * 1000;
    bar.max = total;
    bar.value = sent;
    const parts = [
      fill(gettext("%(sent)s of %(total)s"), { sent: size(sent), total: size(total) }),
      fill(gettext("%(size)s/s"), { size: size(rate) }),
    ];
    if (count > 1) parts.unshift(fill(ngettext("%(files)s file", "%(files)s files", count), { files: number(count) }));
    if (rate > 0) parts.push(fill(gettext("%(time)s left"), { time: duration((total - sent) / rate) }));
    say(parts.join(" · "));
  };
}

function say(text) {
  panel.hidden = false;
  words.textContent = text;
}

function size(bytes) {
  const step = bytes >= 2 ** 30 ? 3 : bytes >= 2 ** 20 ? 2 : bytes >= 2 ** 10 ? 1 : 0;
  const digits = step ? 1 : 0;
  const value = number(bytes / 1024 ** step, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return `${value} ${[gettext("bytes"), "KiB", "MiB", "GiB"][step]}`;
}

function duration(seconds) {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  return seconds < 3600 ? `${Math.round(seconds / 60)} min` : `${number(seconds / 3600, { minimumFractionDigits: 1, maximumFractionDigits: 1 })} h`;
}
