/** The Label page: one key, one answer, the next image in the same frame. The parts are in files of their own. */
import { group } from "./alike.js";
import { openDrawers } from "./drawers.js";
import { commentImage } from "./comment.js";
import { filterClasses } from "./filter.js";
import { pressByKey } from "./hotkeys.js";
import { moveKeys } from "./keys.js";
import { keepLeases } from "./leases.js";
import { showNews } from "./news.js";
import { Outbox } from "./outbox.js";
import { proposeClass } from "./propose.js";
import { decoded, Queue } from "./queue.js";
import { FULL, Saved } from "./saved.js";
import { Stage } from "./stage.js";
import { Strip } from "./strip.js";
import { suggestions } from "./suggest.js";
import { pressBySwipe } from "./swipe.js";
import { Tabs } from "./tabs.js";
import { newKey } from "./uuid.js";
import { lookCloser, openTools } from "./view.js";
import { explain } from "./why.js";
import { fill, gettext, number } from "../base/words.js";

const PREFETCH = 4; // the image in view and three to come
const PROGRESS_EVERY = 10000; // others answer, too
const OFFLINE = gettext("The server does not answer. Your answers are kept on this machine and are sent as soon as it does.");
const WAITING = { offline: OFFLINE, full: FULL };

const root = document.querySelector("#label");
const part = (name) => root.querySelector(`[data-${name}]`);
const data = (id) => JSON.parse(document.getElementById(id).textContent);
const { user, project } = root.dataset;
const buttons = [...part("answers").elements].filter((each) => each.dataset.outcome);
const hasClasses = buttons.some((button) => button.dataset.outcome === "label");

let correcting = null; // the answer that is shown again, while it is
let left = matchMedia("(pointer: fine)").matches ? part("filter") : null; // gets the focus once there is something to answer
let lastProgress = 0;
let takesProposals = !("absent" in part("propose").dataset);
const stage = new Stage(part("table"), part("trouble"));
const tabs = new Tabs({ user, project });
const queue = new Queue({ url: root.dataset.nextUrl, want: PREFETCH, canAsk: () => outbox.length === 0 });
const outbox = new Outbox({
  user,
  project,
  urls: { answer: root.dataset.answerUrl, undo: root.dataset.undoUrl, comment: root.dataset.commentUrl },
  extra: () => ({ want: PREFETCH, holding: queue.holding }),
});
const saved = new Saved({ dot: part("saved"), line: part("kept"), loginUrl: root.dataset.loginUrl, say });
const model = suggestions({ take: part("take"), told: part("told") });
const alike = group({ line: part("group"), members: part("members") });
const strip = new Strip(part("strip"), withUnsent(data("label-recent")));
const classButtons = buttons.filter((button) => button.dataset.outcome === "label");
const used = data("label-used");
const tidyFilter = filterClasses(part("filter"), classButtons, used);
const showUnread = showNews(part("unread"));
const countUse = moveKeys(part("keys"), classButtons, used, `plusminus.keys.${user}.${project}`);

/** What this browser has not sent yet is newer than what the server knows. */
function withUnsent(recent) {
  let answers = recent;
  for (const { kind, body, shown } of outbox.waiting) {
    const former = kind === "undo" ? body.target : body.corrects;
    if (former) answers = answers.filter((answer) => answer.key !== former);
    if (kind === "answer") answers = [{ ...shown, ...body }, ...answers];
  }
  return answers;
}

function showNext({ isOnItsWay = false } = {}) {
  correcting = null;
  strip.mark(null);
  part("correcting").hidden = true;
  const item = queue.items[0] ?? null;
  if (item !== stage.item) stage.show(item);
  showButtons(Boolean(item), isOnItsWay);
  ask(item?.question);
  model.show(item);
  alike.show(item);
  if (!item) return part("why").replaceChildren();
  mark(null);
  explain(part("why"), item);
}

function answer(button) {
  const { outcome } = button.dataset;
  const label_class = outcome === "label" ? Number(button.value) : null;
  if (!give({ outcome, label_class }, wordsOf(button))) return;
  flash(button);
  tidyFilter(button);
  if (outcome === "label") countUse(button);
}

/** Keep an answer to the image in view and show the next one; false if there is nothing to answer. */
function give(content, words) {
  const item = stage.item;
  if (!item) return false;
  if (content.outcome === "label" && !stage.isSeen) {
    say(gettext("The picture is on its way."));
    return false;
  }
  const body = {
    key: newKey(),
    image: item.image,
    candidate: item.candidate ?? null,
    ...content,
    seconds: stage.seconds,
    answered_at: new Date().toISOString(),
    suggestion: model.seen(item),
  };
  if (correcting) body.corrects = correcting.key;
  const { element, ...shown } = { ...item, words };
  delete shown.proposed; // of the answer that is corrected
  outbox.put("answer", body, shown);
  root.querySelector("[data-confirm]")?.remove();
  const done = { ...shown, ...body, is_today: true };
  enter({ ...done, element });
  queue.leave(item.image);
  tabs.tellAnswered(done);
  say(words);
  model.wait();
  goOn();
  return true;
}

/** An answer takes its place in the strip and in the counts, whichever tab gave it. */
function enter(done) {
  if (strip.answers.some(({ key }) => key === done.key)) return; // read from the outbox already
  const former = strip.answers.find(({ key }) => key === done.corrects);
  if (former) strip.remove(former.key); // a correction is the newest answer, as it is after a reload: undo takes it back
  strip.add(done);
  countMine(done, former);
  countLabelled(done, former);
  part("undo").disabled = false;
}

/** An answer is no more: it was undone, here or in another tab, or the server did not take it. */
function strike(key) {
  const former = strip.answers.find((answer) => answer.key === key);
  if (!former) return;
  strip.remove(key);
  countMine(null, former);
  countLabelled(null, former);
  part("undo").disabled = !strip.answers.length;
}

/** Beside one that was refused: that which it was to correct, or one that was given since. */
function hasAnswer({ image, corrects }) {
  return Boolean(corrects) || strip.answers.some((answer) => answer.image === image);
}

/** The newest answer comes back (or the one that is shown for correction), whether it has been sent or not. */
function undo() {
  const last = correcting ?? strip.answers[0];
  if (!last) return;
  outbox.put("undo", { key: newKey(), target: last.key });
  strike(last.key);
  const { key, outcome, label_class, proposed, words, corrects, is_today, ...item } = last;
  queue.comeBack(item);
  tabs.tellUndone(key);
  showNext();
  mark(last);
  say(fill(gettext("Undone: %(words)s"), { words }));
}

/** Show a former answer again; the next key corrects it. */
function correct(former) {
  former.element ??= decoded(former);
  correcting = former;
  stage.show(former);
  showButtons(true);
  ask();
  model.hide();
  alike.show(null);
  part("correcting").hidden = false;
  part("former").textContent = former.words;
  explain(part("why"), former);
  mark(former);
  strip.mark(former.key);
  say(fill(gettext("Correcting %(words)s"), former));
}

/** Who types a class goes on typing while the next image is on its way: else letters would press the page's keys. */
function showButtons(isItem, isOnItsWay = false) {
  const focused = part("answers").contains(document.activeElement) ? document.activeElement : null;
  part("answers").hidden = !isItem && !(isOnItsWay && focused);
  if (part("answers").hidden) left ??= focused;
  else if (document.activeElement === document.body) left?.focus();
  if (isItem) left = null;
  part("outcomes").hidden = part("view-tools").hidden = part("view-open").hidden = !isItem;
  part("comment").hidden = !isItem;
  root.toggleAttribute("data-idle", !isItem);
  showProposing();
  part("undo-form").hidden = !isItem && !strip.answers.length;
  part("empty").hidden = isItem;
}

/** Who is typing a name may finish: the server says that it is too late. */
function showProposing() {
  const box = part("propose");
  box.hidden = root.hasAttribute("data-idle") || !(takesProposals || (!box.hidden && box.open));
}

function mark(former) {
  for (const button of buttons) {
    const isClass = button.dataset.outcome !== "label" || Number(button.value) === former?.label_class;
    const isFormer = former && button.dataset.outcome === former.outcome && isClass;
    if (isFormer) button.setAttribute("aria-pressed", "true");
    else button.removeAttribute("aria-pressed");
  }
}

function goOn() {
  showNext({ isOnItsWay: true });
  if (stage.item) return;
  part("empty-words").textContent = WAITING[outbox.state] ?? gettext("Getting the next image …");
  queue.fill();
}

function showProgress(progress) {
  if (outbox.length) return; // it knows nothing of these: the next one does
  lastProgress = performance.now();
  part("labelled").textContent = number(progress.labelled);
  part("total").textContent = number(progress.total);
  part("mine").textContent = number(progress.mine_today);
  part("pace").textContent = progress.seconds === null ? "" : number(progress.seconds);
  root.querySelector(".label-pace").hidden = progress.seconds === null;
}

/** Between two reports of the server the page counts by itself. */
function countMine(answer, former) {
  count(part("mine"), Number(Boolean(answer?.is_today)) - Number(Boolean(former?.is_today)));
}

function countLabelled(answer, former) {
  if (root.dataset.overlap !== "1") return; // one answer does not make a label
  const isLabel = (each) => Number(each?.outcome === "label" && !each.proposed); // what is proposed waits
  count(part("labelled"), isLabel(answer) - isLabel(former));
}

function count(element, change) {
  element.textContent = number(Number(element.textContent.replace(/\D/g, "")) + change);
}

function wordsOf(button) {
  return button.dataset.name ?? button.querySelector("span").textContent;
}

/** What is to be told apart, where that is not all that there is. */
function ask(question = "") {
  part("question").textContent = question;
  part("question").hidden = !question;
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
  const pressed = event.submitter === part("take") ? classButtons.find(({ value }) => value === event.submitter.value) : event.submitter;
  if (pressed) answer(pressed);
});
part("undo-form").addEventListener("submit", (event) => {
  event.preventDefault();
  undo();
});
part("leave-correction").addEventListener("click", goOn);
strip.addEventListener("chosen", (event) => correct(event.detail.answer));
tabs.addEventListener("answered", ({ detail: { answer } }) => {
  const isInView = stage.item?.image === answer.image;
  enter(answer);
  queue.leave(answer.image);
  if (isInView) goOn();
});
tabs.addEventListener("undone", ({ detail: { key } }) => {
  strike(key);
  if (correcting?.key === key) goOn();
});
queue.addEventListener("ready", () => {
  if (!hasClasses) return location.reload(); // there are some now: their buttons come with the page
  if (!correcting) showNext();
});
queue.addEventListener("progress", (event) => {
  showProgress(event.detail);
  if (!outbox.length) saved.show({ state: "saved", count: 0 });
});
queue.addEventListener("classes", ({ detail }) => {
  if (!hasClasses || detail === root.dataset.classes || !part("changed").hidden) return;
  part("changed").hidden = false;
  say(gettext("The classes have changed."));
});
queue.addEventListener("unread", ({ detail }) => {
  if (detail && showUnread(detail)) say(gettext("There is something new to read."));
});
queue.addEventListener("guide", ({ detail: isThere }) => {
  const button = part("guide-open");
  button.hidden = !isThere && button.getAttribute("aria-expanded") === "false"; // who reads it may close it
});
queue.addEventListener("proposals", ({ detail }) => {
  takesProposals = detail;
  showProposing();
});
part("reload").addEventListener("click", () => location.reload()); // what was not sent is kept on disk
for (const state of ["signed-out", "stale"]) {
  queue.addEventListener(state, ({ detail }) => saved.show({ state, count: outbox.length, ...detail }));
}
for (const state of Object.keys(WAITING)) {
  queue.addEventListener(state, () => stage.item || (part("empty-words").textContent = WAITING[state]));
}
queue.addEventListener("empty", (event) => {
  if (correcting) return;
  showNext();
  part("empty-words").textContent = event.detail.words;
  for (const way of root.querySelectorAll("[data-way-out]")) way.hidden = way.dataset.wayOut !== event.detail.why;
});
outbox.addEventListener("state", ({ detail }) => {
  saved.show(detail);
  if (!detail.count && queue.isShort) queue.fill(); // another tab may have sent the last one
});
outbox.addEventListener("refused", ({ detail: { kind, body, shown, field } }) => {
  strike(body.key);
  tabs.tellUndone(body.key);
  if (kind === "answer" && field === "label_class" && !hasAnswer(body)) {
    const { words, ...item } = shown;
    queue.add([item]); // after those that are here
  }
  lastProgress = -Infinity; // perhaps its class is archived: ask anew
  queue.fill({ isForced: true });
  saved.showRefused(outbox.refused, () => outbox.forgetRefused());
});
outbox.addEventListener("saved", (event) => {
  const { items, empty, classes, told } = event.detail.reply;
  if (event.detail.kind === "answer") model.tell(event.detail.shown?.words, told);
  if (classes) queue.dispatchEvent(new CustomEvent("classes", { detail: classes }));
  queue.add(items, outbox.length ? null : empty);
  if (outbox.length || empty) return;
  if (queue.isShort) queue.fill();
  else if (performance.now() - lastProgress > PROGRESS_EVERY) queue.fill({ isForced: true });
});
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload(); // its leases were given back when it was left
});

keepLeases({
  url: root.dataset.leasesUrl,
  holding: () => queue.holding,
  isShared: () => tabs.areOpen,
  onLost: (ids) => {
    queue.drop(ids);
    if (!correcting) goOn();
    queue.fill();
  },
});
lookCloser(part("table"), stage, part("view-tools"));
openTools(part("view-open"), part("view-tools"));
pressBySwipe(part("table"), part("undo"));
openDrawers(root);
proposeClass(part("propose"), part("filter"), (proposed) => {
  const isGiven = give({ outcome: "label", label_class: null, proposed }, fill(gettext("proposed: %(proposed)s"), { proposed }));
  if (isGiven) tidyFilter();
  return isGiven;
});
commentImage(part("comment"), () => stage.item?.image, (body) => {
  outbox.put("comment", body, { words: fill(gettext("comment: %(text)s"), body) });
  say(gettext("Sent to the managers. Their reply is shown here."));
});
pressByKey(root);

const answered = new Set(outbox.waiting.filter(({ kind }) => kind !== "comment").map(({ body }) => body.image));
const [first] = data("label-items").filter((item) => !answered.has(item.image));
if (first) queue.add([first]);
else goOn();
saved.show({ state: outbox.length ? "sending" : "saved", count: outbox.length });
saved.showRefused(outbox.refused, () => outbox.forgetRefused());
outbox.send();
lastProgress = outbox.length ? -Infinity : performance.now(); // what is sent first changes what the page counts
queue.fill();
part("undo").disabled = !strip.answers.length;
root.dataset.ready = "";
