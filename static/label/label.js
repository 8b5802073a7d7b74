/** The Label page: one key, one answer, the next image in the same frame. The parts are in files of their own. */
import { filterClasses } from "./filter.js";
import { pressByKey } from "./hotkeys.js";
import { keepLeases } from "./leases.js";
import { Outbox } from "./outbox.js";
import { Queue } from "./queue.js";
import { Stage } from "./stage.js";
import { Strip } from "./strip.js";
import { newKey } from "./uuid.js";
import { explain } from "./why.js";

const PREFETCH = 3;
const root = document.querySelector("#label");
const part = (name) => root.querySelector(`[data-${name}]`);
const data = (id) => JSON.parse(document.getElementById(id).textContent);
const buttons = [...part("answers").querySelectorAll("button")];

let correcting = null; // the answer that is shown again, while it is
const stage = new Stage(part("table"));
const strip = new Strip(part("strip"), data("label-recent"));
const queue = new Queue({ url: root.dataset.nextUrl, want: PREFETCH, canAsk: () => outbox.length === 0 });
const outbox = new Outbox({
  user: root.dataset.user,
  project: root.dataset.project,
  urls: { answer: root.dataset.answerUrl, undo: root.dataset.undoUrl },
  extra: () => ({ want: PREFETCH, holding: queue.holding }),
});
const tidyFilter = filterClasses(part("filter"), buttons.filter((button) => button.dataset.outcome === "label"), answer);

function showNext() {
  correcting = null;
  strip.mark(null);
  const item = queue.items[0] ?? null;
  if (item !== stage.item) stage.show(item);
  part("answers").hidden = !item;
  if (item) {
    part("empty").hidden = true;
    mark(null);
    explain(part("why"), item);
  }
}

function answer(button) {
  const item = stage.item;
  if (!item) return;
  const body = {
    key: newKey(),
    image: item.image,
    candidate: item.candidate ?? null,
    outcome: button.dataset.outcome,
    label_class: button.dataset.outcome === "label" ? Number(button.value) : null,
    seconds: Math.round(stage.seconds * 100) / 100,
    answered_at: new Date().toISOString(),
  };
  const words = button.dataset.name ?? button.querySelector("span").textContent;
  const done = { ...item, key: body.key, outcome: body.outcome, label_class: body.label_class, words };
  if (correcting) {
    body.corrects = correcting.key;
    strip.replace(correcting.key, done);
  } else {
    queue.shift();
    strip.add(done);
    count(part("mine"), 1);
    if (body.outcome === "label") count(part("labelled"), 1);
  }
  outbox.put("answer", body);
  flash(button);
  tidyFilter(button);
  say(words);
  showNext();
  if (!stage.item) waitForMore();
}

/** The newest answer comes back, whether it has been sent or not. */
function undo() {
  const last = strip.pop();
  if (!last) return;
  if (!outbox.takeBack(last.key)) outbox.put("undo", { key: newKey(), target: last.key });
  if (last.outcome === "label") count(part("labelled"), -1);
  count(part("mine"), -1);
  queue.remove(last.image);
  queue.add([{ ...last, element: undefined }], null, { isFront: true });
  showNext();
  mark(last);
  say(`Undone: ${last.words}`);
  part("undo").disabled = !strip.answers.length;
}

/** Show a former answer again; the next key corrects it. */
function correct(former) {
  correcting = former;
  const item = { ...former, element: new Image(former.width, former.height) };
  item.element.src = former.url;
  item.element.alt = `Image to correct, ${former.name}`;
  stage.show(item);
  part("answers").hidden = false;
  part("empty").hidden = true;
  explain(part("why"), item);
  mark(former);
  strip.mark(former.key);
  say(`Correcting ${former.words}`);
}

function mark(former) {
  for (const button of buttons) {
    const isFormer = former && button.dataset.outcome === former.outcome && (!former.label_class || Number(button.value) === former.label_class);
    if (isFormer) button.setAttribute("aria-pressed", "true");
    else button.removeAttribute("aria-pressed");
  }
}

function waitForMore() {
  part("empty").hidden = false;
  part("empty-words").textContent = outbox.state === "offline" ? OFFLINE : "Getting the next image …";
  queue.fill();
}

const OFFLINE = "The server does not answer. Your answers are kept on this machine and are sent as soon as it does.";
const SAVED_WORDS = {
  saved: () => "saved",
  sending: (count) => `sending (${count})`,
  offline: (count) => `offline (${count} kept)`,
  "signed-out": (count) => `signed out (${count} kept)`,
};

function showState({ state, count: kept }) {
  const saved = root.querySelector(".label-saved");
  saved.hidden = false;
  saved.dataset.saved = state;
  part("saved-words").textContent = SAVED_WORDS[state](kept);
  if (state === "signed-out") showSignedOut(kept);
  else if (part("kept").dataset.about === "sign-in") part("kept").hidden = true;
}

function showSignedOut(kept) {
  const link = document.createElement("a");
  link.href = root.dataset.loginUrl;
  link.textContent = "Sign in";
  const words = kept ? `${kept} of your answers are kept on this machine. ` : "";
  part("kept").replaceChildren(`You are signed out. ${words}`, link, " to go on.");
  part("kept").dataset.about = "sign-in";
  part("kept").hidden = false;
}

function showRefused({ body, words }) {
  strip.remove(body.key);
  part("kept").replaceChildren(`One answer was not taken: ${words} Nothing else was lost.`);
  part("kept").dataset.about = "refused";
  part("kept").hidden = false;
}

function showProgress(progress) {
  if (!progress || outbox.length) return;
  part("labelled").textContent = progress.labelled.toLocaleString();
  part("total").textContent = progress.total.toLocaleString();
  part("mine").textContent = progress.mine_today.toLocaleString();
  part("pace").textContent = progress.seconds ?? "";
  root.querySelector(".label-pace").hidden = progress.seconds === null;
}

function count(element, change) {
  element.textContent = (Number(element.textContent.replace(/\D/g, "")) + change).toLocaleString();
}

function say(words) {
  part("announce").textContent = words;
}

function flash(button) {
  button.dataset.pressed = "";
  setTimeout(() => delete button.dataset.pressed, 150);
}

part("answers").addEventListener("submit", (event) => {
  event.preventDefault();
  if (event.submitter) answer(event.submitter);
});
part("undo-form").addEventListener("submit", (event) => {
  event.preventDefault();
  undo();
});
for (const button of root.querySelectorAll("[aria-controls]")) {
  button.addEventListener("click", () => {
    const panel = document.getElementById(button.getAttribute("aria-controls"));
    for (const other of root.querySelectorAll("[data-panel]")) if (other !== panel) other.hidden = true;
    panel.hidden = !panel.hidden;
    button.setAttribute("aria-expanded", String(!panel.hidden));
  });
}

strip.addEventListener("chosen", (event) => correct(event.detail));
queue.addEventListener("ready", () => correcting || showNext());
queue.addEventListener("progress", (event) => showProgress(event.detail));
queue.addEventListener("signed-out", () => showState({ state: "signed-out", count: outbox.length }));
queue.addEventListener("offline", () => stage.item || (part("empty-words").textContent = OFFLINE));
queue.addEventListener("empty", (event) => {
  if (correcting) return;
  showNext();
  part("empty").hidden = false;
  part("empty-words").textContent = event.detail.words;
});
outbox.addEventListener("state", (event) => showState(event.detail));
outbox.addEventListener("refused", (event) => showRefused(event.detail));
outbox.addEventListener("saved", (event) => {
  const { items, empty } = event.detail.reply;
  part("undo").disabled = !strip.answers.length;
  queue.add(items, outbox.length ? null : empty);
  if (queue.items.length < PREFETCH && !empty) queue.fill();
});
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload(); // its leases were given back when it was left
});

keepLeases({ url: root.dataset.leasesUrl, holding: () => queue.holding, onLost: () => {} });
pressByKey(root);
showState({ state: "saved", count: 0 });
queue.add(data("label-items"));
outbox.send();
queue.fill();
part("undo").disabled = !strip.answers.length;
if (part("filter")) part("filter").focus();
root.dataset.ready = "";
