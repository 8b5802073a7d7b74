/** What the model says of the image, where the project tells it: before the answer (Enter takes it) or with its reply. */
import { fill, gettext } from "../base/words.js";

/**
 * @param {{take: HTMLButtonElement | null, told: HTMLElement}} parts
 */
export function suggestions({ take, told }) {
  // Enter on a link or a button that has the focus is its own, and takes no suggestion.
  window.addEventListener(
    "keydown",
    (event) => {
      if (event.key === "Enter" && take && !take.hidden && event.target.closest?.("a, button, summary") !== take) {
        if (event.target.closest?.("a, button, summary")) event.stopPropagation();
      }
    },
    { capture: true },
  );

  return {
    /** Of the image that is shown now; nothing while an answer is corrected. */
    show(item) {
      const said = item?.suggestion;
      take.hidden = !said;
      if (!said) return;
      take.value = said.class;
      take.querySelector("[data-suggested]").textContent = said.words;
    },
    hide() {
      take.hidden = true;
    },
    /** Between an answer and its reply: what is told of the one before would be taken for this one's. */
    wait() {
      told.textContent = "\u00a0"; // its line stays: the picture is not to jump
    },
    /** With the reply to an answer. */
    tell(words, said) {
      told.hidden = !said;
      told.textContent = said ? fill(gettext("You: %(answer)s. The model: %(model)s"), { answer: words, model: said.words }) : "";
    },
    /** Whether it stood on the page when the person answered: kept with the answer, as it sways them. */
    seen(item) {
      return item.suggestion ? "before" : "";
    },
  };
}
