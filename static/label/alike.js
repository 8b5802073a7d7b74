/** What the image in view stands for: the group of images that look alike, and some others of it where the project shows them. */
const SIZE = 56; // pixels, as label/alike.css has it

/**
 * @param {{line: HTMLElement, members: HTMLElement | null}} parts
 */
export function group({ line, members }) {
  const [alike, groups] = ["alike", "groups"].map((name) => line.querySelector(`[data-${name}]`));

  function picture(address, isSmall) {
    const image = new Image(SIZE, SIZE);
    image.alt = "";
    image.draggable = false;
    image.toggleAttribute("data-pixelated", isSmall);
    image.addEventListener("error", () => image.remove()); // it may be gone since the queue was made
    image.src = address;
    return image;
  }

  return {
    /** Of the image that is shown now; once there was one, the line keeps its room: the picture is not to jump. */
    show(item) {
      if (item?.alike) line.hidden = false;
      alike.textContent = item?.alike || "\u00a0";
      groups.textContent = item?.groups ?? "";
      groups.parentElement.hidden = !item?.groups;
      members?.querySelector("div").replaceChildren(...(item?.members ?? []).map((address) => picture(address, item.is_small)));
    },
  };
}
