/** The Explore page: two plots of the same images with one selection. */
import { fetchPoints, fetchStates } from "./columns.js";
import { inside } from "./lasso.js";
import { Near } from "./near.js";
import { Plot } from "./plot.js";
import { Selection } from "./selection.js";
import { fill, gettext, number } from "../base/words.js";

const FULL = 65535;
const HOLDOUT = 8;
const TWO_DIGITS = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
const STATES = [
  [gettext("waiting for an answer"), "#8a8c8f"],
  [gettext("labelled, the model agrees"), "#009e73"],
  [gettext("labelled, the model says another class"), "#d55e00"],
  [gettext("set aside, disputed or bad"), "#cc79a7"],
  [gettext("holdout, not answered"), "#56b4e9"],
];
const LAYERS = [4, 0, 3, 1, 2];
const DIFFERS = 2;
const root = document.getElementById("explore");
const status = document.getElementById("explore-status");
const setup = JSON.parse(document.getElementById("explore-setup").textContent);
const regions = setup.regions.map((region) => ({ ...region, place: placeOf(region.corner) }));

status.hidden = false;
try {
  const [points, states, map] = await Promise.all([
    fetchPoints(root.dataset.points),
    fetchStates(root.dataset.states),
    root.dataset.map ? fetchPoints(root.dataset.map) : null,
  ]);
  status.hidden = true;
  start(points, states, map);
} catch (error) {
  status.classList.add("notice-bad");
  status.textContent = fill(
    gettext("The dots could not be loaded. %(why)s The galleries above work without them."),
    { why: error.message },
  );
}

function start(points, states, map) {
  const axes = {
    across: { most: 1, words: gettext("probability of the predicted class") },
    up: { most: 0.5, words: gettext("standard deviation") },
  };
  const outlines = regions.filter((region) => region.key !== "wrong");
  const plots = [new Plot(document.getElementById("scatter"), { x: points.x, y: points.y, axes, regions: outlines })];
  if (map) plots.push(new Plot(document.getElementById("map-plot"), { x: map.x, y: map.y, axes: null, regions: [] }));
  const positionOf = (dot) => (points.positions ? points.positions[dot] : dot);
  const canBeSent = (dot) => states[dot] === 0;
  const selection = new Selection({ ...setup, tiles: root.dataset.tiles }, positionOf, canBeSent);
  const words = (dot) => describe(points, states, dot);

  const select = (dots, region = "") => {
    const mask = dots.length ? new Uint8Array(points.count) : null;
    for (const dot of dots) mask[dot] = 1;
    for (const plot of plots) {
      plot.selected = mask;
      plot.draw();
    }
    for (const button of root.querySelectorAll("[data-region]")) {
      button.setAttribute("aria-pressed", String(button.dataset.region === region));
    }
    selection.show(dots.sort((a, b) => points.y[b] - points.y[a] || points.x[a] - points.x[b]));
  };
  for (const plot of plots) listen(plot, { select, words, positionOf });
  listenToTools(plots, points, states, select);
  document.getElementById("selection-clear").addEventListener("click", () => select([]));
}

function listen(plot, { select, words, positionOf }) {
  const near = new Near(plot.data.x, plot.data.y);
  const under = ([left, top]) => {
    const [x, y] = plot.toPlace(left, top);
    const [reachX, reachY] = [plot.toPlace(left + 9, top)[0] - x, plot.toPlace(left, top - 9)[1] - y];
    return near.find(x, y, reachX, reachY);
  };
  plot.addEventListener("look", ({ detail }) => {
    const dot = detail ? under(detail) : -1;
    if (dot === plot.ring) return;
    plot.ring = dot;
    plot.drawOver();
    showTip(plot, dot, dot < 0 ? "" : words(dot), positionOf);
  });
  plot.addEventListener("take", ({ detail }) => {
    const dot = under(detail);
    select(dot < 0 ? [] : [dot]);
  });
  plot.addEventListener("lasso", ({ detail }) => select(inside(detail, plot.data.x, plot.data.y)));
  plot.addEventListener("empty", () => select([]));
}

function listenToTools(plots, points, states, select) {
  const colour = document.getElementById("colour");
  const paint = () => {
    const names = colour.value === "state" ? STATES : setup.classes.map(({ name, colour: hex }) => [name, hex]);
    const numbers = colour.value === "state" ? states.map(shownState) : points.classes.map((index) => index % 256);
    for (const plot of plots) {
      plot.colours = Uint32Array.from({ length: 256 }, (_, index) => packed(names[index % names.length][1]));
      plot.colourOf = Uint8Array.from(numbers).subarray(0, plot.data.x.length); // images newer than the map are not on it
      plot.order = colour.value === "state" ? inLayers(plot.colourOf) : null;
      plot.draw();
    }
    document.getElementById("legend").replaceChildren(...names.slice(0, 40).map(legendItem));
  };
  colour.addEventListener("change", paint);
  paint();
  for (const radio of root.querySelectorAll("[name=mode]")) {
    const set = () => radio.checked && plots.forEach((plot) => (plot.box.dataset.mode = radio.value));
    radio.addEventListener("change", set);
    set();
  }
  const zooms = { in: (plot) => plot.zoom(1.6), out: (plot) => plot.zoom(1 / 1.6), all: (plot) => plot.showAll() };
  for (const button of root.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => plots.forEach(zooms[button.dataset.zoom]));
  }
  for (const button of root.querySelectorAll("[data-region]")) {
    button.addEventListener("click", () => {
      if (button.getAttribute("aria-pressed") === "true") return select([]);
      const { key, corner } = regions.find((region) => region.key === button.dataset.region);
      select(inRegion(points, states, key, placeOf(corner)), key);
    });
  }
}

/** The same bounds as the server's `region_masks`. */
function inRegion(points, states, key, [left, right, low, high]) {
  const found = [];
  for (let i = 0; i < points.count; i++) {
    const [x, y] = [points.x[i], points.y[i]];
    if (x < left || (key === "torn" ? x >= right : x > right) || y < low || y > high) continue;
    if (key === "wrong" && (states[i] & 7) !== DIFFERS) continue;
    found.push(i);
  }
  return found;
}

function placeOf([from, to, low, high]) {
  return [from * FULL, to * FULL, low * 2 * FULL, high * 2 * FULL];
}

function shownState(state) {
  return state === HOLDOUT ? 4 : state & 7;
}

/** Dots in the order they are drawn in: the few that have answers lie over the many that wait. */
function inLayers(shown) {
  const order = new Uint32Array(shown.length);
  let at = 0;
  for (const layer of LAYERS) for (let i = 0; i < shown.length; i++) if (shown[i] === layer) order[at++] = i;
  return order;
}

function describe(points, states, dot) {
  const { name } = setup.classes[points.classes[dot]];
  const [mean, std] = [points.x[dot] / FULL, points.y[dot] / FULL / 2];
  const state = STATES[shownState(states[dot])][0];
  const holdout = states[dot] > HOLDOUT ? gettext(", holdout") : "";
  return `${name}: ${number(mean, TWO_DIGITS)} ± ${number(std, TWO_DIGITS)}\n${state}${holdout}`;
}

let tipTimer = 0;

function showTip(plot, dot, words, positionOf) {
  const tip = plot.box.querySelector(".plot-tip");
  clearTimeout(tipTimer);
  tip.hidden = dot < 0;
  if (dot < 0) return;
  const [picture, text] = tip.children;
  text.textContent = words;
  const [left, top] = plot.toScreen(plot.data.x[dot], plot.data.y[dot]);
  const x = left + 14 + tip.offsetWidth > plot.box.clientWidth ? left - 14 - tip.offsetWidth : left + 14;
  const y = Math.max(2, Math.min(top - tip.offsetHeight / 2, plot.box.clientHeight - tip.offsetHeight - 2));
  tip.style.translate = `${Math.max(2, x)}px ${y}px`;
  picture.removeAttribute("src");
  tipTimer = setTimeout(() => {
    picture.src = root.dataset.at.replace("/0/", `/${positionOf(dot)}/thumb/`);
  }, 60);
}

function legendItem([name, hex]) {
  const [item, swatch] = [document.createElement("li"), document.createElement("span")];
  swatch.className = "swatch";
  swatch.style.background = hex;
  item.append(swatch, name);
  return item;
}

/** `#rrggbb` as a little-endian pixel. */
function packed(hex) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
}
