/** The grid by keyboard: arrows move between tiles, Space takes one out, a class key corrects it, Enter accepts. */
import { fill, gettext } from "../base/words.js";
import { pressByKey } from "../label/hotkeys.js";
import { completeNames } from "./names.js";

const main = document.getElementById("main");
const form = main.querySelector("[data-grid]");

if (form) {
  const tiles = [...form.querySelectorAll("[data-tile]")];
  const boxes = tiles.map((tile) => tile.querySelector("[data-out]"));
  const accept = form.querySelector("[data-accept]");
  form.querySelector("[data-help]").hidden = false;
  let isSent = false;

  const count = () => {
    for (const tile of tiles) tile.toggleAttribute("data-corrected", Boolean(tile.querySelector("[data-is]")?.value));
    const given = tiles.filter((tile, at) => tile.hasAttribute("data-corrected") || !boxes[at].checked).length;
    const words = given === tiles.length ? gettext("Accept all %(all)s") : gettext("Accept %(given)s of %(all)s");
    form.querySelector("[data-count]").textContent = fill(words, { given, all: tiles.length });
  };

  /** How many tiles stand in a row now. */
  const columns = () => tiles.filter((tile) => tile.offsetTop === tiles[0].offsetTop).length;

  const STEPS = { ArrowRight: () => 1, ArrowLeft: () => -1, ArrowDown: columns, ArrowUp: () => -columns() };

  const move = (event) => {
    const step = STEPS[event.key];
    if (!step || event.target.matches("select, input[data-is]")) return;
    const at = boxes.indexOf(document.activeElement);
    const next = at < 0 ? 0 : at + step();
    event.preventDefault();
    boxes[next]?.focus();
    boxes[next]?.closest("li").scrollIntoView({ block: "nearest" });
  };

  const correct = (event) => {
    const tile = tiles[boxes.indexOf(document.activeElement)];
    const select = tile?.querySelector("[data-is]");
    if (select?.matches("input") && event.key === "/") {
      event.preventDefault();
      select.focus();
      return;
    }
    const option = select?.querySelector(`option[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
    if (!option) return;
    event.preventDefault();
    select.value = select.value === option.value ? "" : option.value; // the same key again takes it back
    count();
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Enter" && !event.target.closest("a, button, select, summary, input[data-is]")) {
      event.preventDefault();
      if (!event.repeat) form.requestSubmit(accept);
      return;
    }
    move(event);
    if (event.key === "u" && event.target.matches("[data-out]")) main.querySelector("[data-hotkey=u]")?.click();
    if (!event.repeat) correct(event);
  });
  completeNames(form, (field) => field.closest("[data-tile]").querySelector("[data-out]").focus());
  form.addEventListener("change", count);
  form.addEventListener("submit", (event) => {
    if (isSent) event.preventDefault(); // pressed twice: the page is on its way
    isSent = true;
  });
  addEventListener("pageshow", (event) => {
    isSent = false;
    if (event.persisted) location.reload();
  });
  count();
}
pressByKey(main);
