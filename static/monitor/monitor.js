/** A page that cannot be brought up to date says so, and since when. */
import { timeOfDay } from "../base/words.js";

const note = document.getElementById("stale");
let freshAt = new Date();

document.body.addEventListener("htmx:afterOnLoad", () => {
  freshAt = new Date();
  note.hidden = true;
});
for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
  document.body.addEventListener(name, () => {
    note.querySelector("time").textContent = timeOfDay(freshAt);
    note.hidden = false;
  });
}
