/** Which dot is under the pointer: dots sorted into 256 × 256 cells, once. */
const SIDE = 256;

export class Near {
  /** @param {Uint16Array} x @param {Uint16Array} y */
  constructor(x, y) {
    this.x = x;
    this.y = y;
    this.starts = new Uint32Array(SIDE * SIDE + 1);
    for (let i = 0; i < x.length; i++) this.starts[cell(x[i], y[i]) + 1]++;
    for (let i = 0; i < SIDE * SIDE; i++) this.starts[i + 1] += this.starts[i];
    const next = this.starts.slice();
    this.order = new Uint32Array(x.length);
    for (let i = 0; i < x.length; i++) this.order[next[cell(x[i], y[i])]++] = i;
  }

  /**
   * The nearest dot to a place, in 65,535ths, within a distance of `rx` across and `ry` up; -1: none.
   */
  find(px, py, rx, ry) {
    let [best, least] = [-1, 1];
    for (let row = clamp(py - ry) >> 8; row <= clamp(py + ry) >> 8; row++) {
      const from = this.starts[row * SIDE + (clamp(px - rx) >> 8)];
      const to = this.starts[row * SIDE + (clamp(px + rx) >> 8) + 1];
      for (let k = from; k < to; k++) {
        const i = this.order[k];
        const far = ((this.x[i] - px) / rx) ** 2 + ((this.y[i] - py) / ry) ** 2;
        if (far < least) [best, least] = [i, far];
      }
    }
    return best;
  }
}

const cell = (x, y) => (y >> 8) * SIDE + (x >> 8);
const clamp = (value) => Math.min(65535, Math.max(0, Math.round(value)));
