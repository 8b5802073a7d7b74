/** What lies over the dots: axes, outlines of the regions, the lasso, the ring around the dot that is looked at. */
import { number } from "../base/words.js";

const FULL = 65535;
const STEPS = [0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];

export function drawAxes(context, plot, look) {
  const { area, view } = plot;
  const { across, up } = plot.data.axes;
  context.font = `12px ${look.font}`;
  context.fillStyle = look.ink;
  context.strokeStyle = look.rule;
  context.lineWidth = 1;
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const value of ticks(view.x * across.most, (view.x + view.width) * across.most, area.width / 70)) {
    if (value > across.most) continue;
    const [left] = plot.toScreen((value / across.most) * FULL, 0);
    context.fillText(short(value), left, area.top + area.height + 3);
  }
  context.fillText(across.words, area.left + area.width / 2, area.top + area.height + 18);
  context.textAlign = "end";
  context.textBaseline = "middle";
  for (const value of ticks(view.y * up.most, (view.y + view.height) * up.most, area.height / 50)) {
    if (value > up.most) continue;
    const [, top] = plot.toScreen(0, (value / up.most) * FULL);
    context.fillText(short(value), area.left - 4, top);
  }
  context.save();
  context.translate(9, area.top + area.height / 2);
  context.rotate(-Math.PI / 2);
  context.textAlign = "center";
  context.fillText(up.words, 0, 0);
  context.restore();
  context.strokeRect(area.left - 0.5, area.top + 0.5, area.width, area.height);
}

export function drawRegions(context, plot, look) {
  const { area } = plot;
  context.save();
  context.beginPath();
  context.rect(area.left, area.top, area.width, area.height);
  context.clip();
  context.font = `12px ${look.font}`;
  context.fillStyle = look.ink;
  context.strokeStyle = look.ink;
  context.setLineDash([4, 4]);
  context.lineWidth = 1;
  for (const { name, place } of plot.data.regions) {
    const [left, bottom] = plot.toScreen(place[0], place[2]);
    const [right, top] = plot.toScreen(place[1], place[3]);
    context.strokeRect(left, top, right - left, bottom - top);
    context.textAlign = "left";
    context.textBaseline = "top";
    const width = context.measureText(name).width;
    const at = Math.max(area.left + 4, Math.min(left + 5, area.left + area.width - width - 4));
    const down = Math.max(top + 5, area.top + 4);
    if (right - left < 24) continue;
    context.save();
    context.setLineDash([]);
    context.lineWidth = 4;
    context.strokeStyle = look.paper;
    context.strokeText(name, at, down);
    context.fillText(name, at, down);
    context.restore();
  }
  context.restore();
}

export function drawLine(context, plot, look) {
  if (plot.line.length < 2) return;
  context.beginPath();
  for (const [x, y] of plot.line) context.lineTo(...plot.toScreen(x, y));
  context.closePath();
  context.strokeStyle = look.accent;
  context.fillStyle = look.accent;
  context.lineWidth = 2;
  context.stroke();
  context.globalAlpha = 0.12;
  context.fill();
  context.globalAlpha = 1;
}

export function drawRing(context, plot, look) {
  if (plot.ring < 0) return;
  const [left, top] = plot.toScreen(plot.data.x[plot.ring], plot.data.y[plot.ring]);
  context.beginPath();
  context.arc(left, top, 7, 0, 2 * Math.PI);
  context.strokeStyle = look.accent;
  context.lineWidth = 2;
  context.stroke();
}

function ticks(from, to, most) {
  const step = STEPS.findLast((size) => (to - from) / size <= Math.max(2, most)) ?? 0.5;
  const found = [];
  for (let k = Math.ceil(from / step - 1e-9); k * step <= to; k++) if (k >= 0) found.push(k * step);
  return found;
}

/** No zero has a sign. */
const short = (value) => number(Number(value.toFixed(4)) + 0, { maximumFractionDigits: 4 });
