/** The last answers, newest first. Choosing one shows it again, to correct it. */
const LENGTH = 12;

export class Strip extends EventTarget {
  #list;
  answers = [];

  constructor(list, recent) {
    super();
    this.#list = list;
    this.answers = recent;
    this.#draw();
  }

  add(answer) {
    this.answers = [answer, ...this.answers].slice(0, LENGTH);
    this.#draw();
  }

  /** The newest leaves: it was undone. */
  pop() {
    const answer = this.answers.shift();
    this.#draw();
    return answer;
  }

  remove(key) {
    this.answers = this.answers.filter((answer) => answer.key !== key);
    this.#draw();
  }

  replace(key, answer) {
    this.answers = this.answers.map((each) => (each.key === key ? answer : each));
    this.#draw();
  }

  mark(key) {
    for (const button of this.#list.querySelectorAll("button")) {
      button.toggleAttribute("data-correcting", button.dataset.key === key);
    }
  }

  #draw() {
    this.#list.replaceChildren(...this.answers.map((answer) => this.#entry(answer)));
  }

  #entry(answer) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "label-thumb";
    button.dataset.key = answer.key;
    const picture = new Image(36, 36);
    picture.src = answer.url;
    picture.alt = "";
    button.append(picture, answer.words);
    button.setAttribute("aria-label", `Correct ${answer.words}`);
    button.addEventListener("click", () => this.dispatchEvent(new CustomEvent("chosen", { detail: answer })));
    const item = document.createElement("li");
    item.append(button);
    return item;
  }
}
