/**
 * Dots on a canvas, drawn by the processor into a buffer of pixels: 60,000 take a few milliseconds on any machine,
 * with a graphics card or without.
 *
 * Places are in 65,535ths of the sides, `x` across and `y` up, as the columns have them.
 */
import { drag } from "./drag.js";
import { drawAxes, drawLine, drawRegions, drawRing } from "./over.js";

const FULL = 65535;
const MOST_ZOOM = 400;

export class Plot extends EventTarget {
  /**
   * @param {HTMLElement} box holds the two canvases and the tip
   * @param {{x: Uint16Array, y: Uint16Array, axes: object | null, regions: object[]}} data
   */
  constructor(box, data) {
    super();
    this.box = box;
    this.data = data;
    [this.dots, this.over] = box.querySelectorAll("canvas");
    this.colours = new Uint32Array(1); // of each colour number, as the buffer wants them
    this.colourOf = new Uint8Array(data.x.length);
    this.order = null; // which dot is drawn when; null: as they come
    this.selected = null; // Uint8Array, one a dot
    this.line = [];
    this.ring = -1;
    this.view = { x: -0.02, y: -0.02, width: 1.04, height: 1.04 };
    this.all = { ...this.view };
    this.frame = 0;
    new ResizeObserver(() => this.resize()).observe(box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    drag(this);
  }

  get inset() {
    return this.data.axes ? { left: 44, right: 8, top: 8, bottom: 34 } : { left: 6, right: 6, top: 6, bottom: 6 };
  }

  resize() {
    this.ratio = window.devicePixelRatio || 1;
    for (const canvas of [this.dots, this.over]) {
      canvas.width = Math.max(1, Math.round(this.box.clientWidth * this.ratio));
      canvas.height = Math.max(1, Math.round(this.box.clientHeight * this.ratio));
    }
    this.pixels = this.dots.getContext("2d").createImageData(this.dots.width, this.dots.height);
    this.draw();
  }

  /** The rectangle of the plot in CSS pixels. */
  get area() {
    const { left, right, top, bottom } = this.inset;
    return { left, top, width: this.box.clientWidth - left - right, height: this.box.clientHeight - top - bottom };
  }

  /** From a place to CSS pixels of the box. */
  toScreen(x, y) {
    const { area, view } = this;
    return [
      area.left + ((x / FULL - view.x) / view.width) * area.width,
      area.top + (1 - (y / FULL - view.y) / view.height) * area.height,
    ];
  }

  /** And back. */
  toPlace(left, top) {
    const { area, view } = this;
    return [
      (view.x + ((left - area.left) / area.width) * view.width) * FULL,
      (view.y + (1 - (top - area.top) / area.height) * view.height) * FULL,
    ];
  }

  /** The corners of what is in view, as places. */
  get outline() {
    const { left, top, width, height } = this.area;
    const corners = [[0, 0], [1, 0], [1, 1], [0, 1]];
    return corners.map(([across, down]) => this.toPlace(left + across * width, top + down * height));
  }

  /** Zoom by a factor about a point in CSS pixels, by default the middle. */
  zoom(factor, left = this.box.clientWidth / 2, top = this.box.clientHeight / 2) {
    const [x, y] = this.toPlace(left, top).map((value) => value / FULL);
    const size = Math.min(this.all.width, Math.max(1 / MOST_ZOOM, this.view.width / factor));
    const scale = size / this.view.width;
    this.view.x = x - (x - this.view.x) * scale;
    this.view.y = y - (y - this.view.y) * scale;
    this.view.width *= scale;
    this.view.height *= scale;
    this.keepInside();
  }

  /** Move by CSS pixels. */
  move(left, top) {
    this.view.x -= (left / this.area.width) * this.view.width;
    this.view.y += (top / this.area.height) * this.view.height;
    this.keepInside();
  }

  showAll() {
    this.view = { ...this.all };
    this.draw();
  }

  keepInside() {
    const { view, all } = this;
    view.x = Math.min(all.x + all.width - view.width, Math.max(all.x, view.x));
    view.y = Math.min(all.y + all.height - view.height, Math.max(all.y, view.y));
    this.draw();
  }

  /** At most once a frame. */
  draw() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      if (!this.pixels) return;
      this.drawDots();
      this.drawOver();
    });
  }

  drawDots() {
    const { x, y } = this.data;
    const { width, height } = this.pixels;
    const buffer = new Uint32Array(this.pixels.data.buffer);
    buffer.fill(0);
    const { area, view, ratio } = this;
    const zoom = this.all.width / view.width;
    const size = Math.max(1, Math.round(ratio * Math.min(7, (x.length > 20000 ? 1.6 : 3) * zoom ** 0.35)));
    const [kx, ky] = [(area.width * ratio) / view.width / FULL, (-area.height * ratio) / view.height / FULL];
    const bx = area.left * ratio - (view.x / view.width) * area.width * ratio - size / 2;
    const by = (area.top + area.height) * ratio + (view.y / view.height) * area.height * ratio - size / 2;
    const [x0, x1] = [area.left * ratio - size, (area.left + area.width) * ratio];
    const [y0, y1] = [area.top * ratio - size, Math.min(height - size, (area.top + area.height) * ratio)];
    const right = Math.min(width - size, x1);
    const { selected, colourOf, colours, order } = this;
    const dim = colours.map((colour) => (colour & 0xffffff) | 0x30000000);
    for (const isTop of selected ? [0, 1] : [0]) {
      const palette = selected && !isTop ? dim : colours;
      for (let k = 0; k < x.length; k++) {
        const i = order ? order[k] : k;
        if (selected && selected[i] !== isTop) continue;
        const [left, top] = [Math.round(x[i] * kx + bx), Math.round(y[i] * ky + by)];
        if (left < x0 || left < 0 || left > right || top < y0 || top < 0 || top > y1) continue;
        const colour = palette[colourOf[i]];
        for (let row = 0, at = top * width + left; row < size; row++, at += width) buffer.fill(colour, at, at + size);
      }
    }
    this.dots.getContext("2d").putImageData(this.pixels, 0, 0);
  }

  drawOver() {
    const context = this.over.getContext("2d");
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.box.clientWidth, this.box.clientHeight);
    const style = getComputedStyle(this.over);
    const look = {
      ink: style.color,
      accent: style.caretColor,
      rule: style.textDecorationColor,
      paper: getComputedStyle(this.box).backgroundColor,
      font: style.fontFamily,
    };
    drawRegions(context, this, look);
    if (this.data.axes) drawAxes(context, this, look);
    drawLine(context, this, look);
    drawRing(context, this, look);
  }
}
