/** What the panel says about why this image is asked about. */
import { fill, gettext, number } from "../base/words.js";

const places = (count) => ({ minimumFractionDigits: count, maximumFractionDigits: count });
const digits = (score) => number(score, score >= 0.1 || score < 1e-9 ? places(2) : { maximumSignificantDigits: 2 });

/**
 * @param {HTMLElement} list a <dl>
 * @param {object} item
 */
export function explain(list, item) {
  const facts = [[gettext("asked"), item.reason_words ?? gettext("again, to correct it")]];
  if (item.round !== undefined) facts.push([gettext("place"), fill(item.rank > 0 ? gettext("round %(round)s, rank %(rank)s") : gettext("round %(round)s, first"), item)]);
  if (typeof item.score === "number") facts.push([item.measure, `${digits(item.score)} ${item.unit}`]);
  if (item.group > 1) facts.push([gettext("look alike"), fill(gettext("%(count)s images, this one among them"), { count: number(item.group) })]);
  if (typeof item.percentile === "number") facts.push([gettext("more unsure than"), fill(gettext("%(share)s % of the pool"), { share: number(item.percentile, places(1)) })]);
  if (item.model) facts.push([gettext("by"), fill(gettext("the model of round %(model)s"), item)]);
  if (item.likely?.length) facts.push([gettext("the model says"), item.likely.join("\n")]);
  facts.push([gettext("file"), item.name], [gettext("size"), `${item.width} × ${item.height}`]);
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
