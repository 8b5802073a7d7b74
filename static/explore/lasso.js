/** Which dots a hand-drawn line goes around. */

/**
 * @param {number[][]} line places as [across, up], closed by itself
 * @returns {number[]} indices of the dots inside, by the even-odd rule
 */
export function inside(line, x, y) {
  const found = [];
  if (line.length < 3) return found;
  const [xs, ys] = [line.map((place) => place[0]), line.map((place) => place[1])];
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  for (let i = 0; i < x.length; i++) {
    const [px, py] = [x[i], y[i]];
    if (px < left || px > right || py < low || py > high) continue;
    let isInside = false;
    for (let a = 0, b = xs.length - 1; a < xs.length; b = a++) {
      if (ys[a] > py !== ys[b] > py && px < ((xs[b] - xs[a]) * (py - ys[a])) / (ys[b] - ys[a]) + xs[a]) {
        isInside = !isInside;
      }
    }
    if (isInside) found.push(i);
  }
  return found;
}
