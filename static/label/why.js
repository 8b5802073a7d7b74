/** What the panel says about why this image is asked about. */

const digits = (score) => (score >= 0.1 || score < 1e-9 ? score.toFixed(2) : score.toLocaleString("en", { maximumSignificantDigits: 2 }));

/**
 * @param {HTMLElement} list a <dl>
 * @param {object} item
 */
export function explain(list, item) {
  const facts = [["asked", item.reason_words ?? "again, to correct it"]];
  if (item.round !== undefined) facts.push(["place", `round ${item.round}, ${item.rank > 0 ? `rank ${item.rank}` : "first"}`]);
  if (typeof item.score === "number") facts.push([item.measure, `${digits(item.score)} ${item.unit}`]);
  if (item.group > 1) facts.push(["look alike", `${item.group.toLocaleString("en")} images, this one among them`]);
  if (typeof item.percentile === "number") facts.push(["more unsure than", `${item.percentile.toFixed(1)} % of the pool`]);
  if (item.likely?.length) facts.push([item.model ? `the model of round ${item.model} says` : "the model says", item.likely.join("\n")]);
  facts.push(["file", item.name], ["size", `${item.width} × ${item.height}`]);
  list.replaceChildren(
    ...facts.flatMap(([term, words]) => {
      const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
      dt.textContent = term;
      dd.textContent = words;
      dd.className = "label-lines";
      return [dt, dd];
    }),
  );
}
