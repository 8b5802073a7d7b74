/** What the model says of the image, where the project shows it: before the answer (Enter takes it) or after it. */

/**
 * @param {{take: HTMLButtonElement | null, told: HTMLElement, why: HTMLElement}} parts
 */
export function suggestions({ take, told, why }) {
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
      const said = item?.suggestion?.when === "before" ? item.suggestion : null;
      take.hidden = !said;
      if (!said) return;
      take.value = said.class;
      take.querySelector("[data-suggested]").textContent = said.words;
    },
    hide() {
      take.hidden = true;
    },
    /** Of the image that was just answered. */
    tell(item, words) {
      const said = item?.suggestion?.when === "after" ? item.suggestion : null;
      told.hidden = !said;
      told.textContent = said ? `You: ${words}. The model: ${said.words}` : "";
      if (said) item.suggestion.isTold = true;
    },
    /** Whether the person has seen it when they answer: kept with the answer, as it sways them. */
    seen(item, isCorrection) {
      const said = item.suggestion;
      if (!why.hidden && item.likely?.length) return "before"; // read beside the picture
      if (!said) return "";
      return said.when === "before" || said.isTold || isCorrection ? "before" : "after";
    },
  };
}
