/** Columns of bytes as the server packs them (labeler/selectors/columns.py). */
import { fill, gettext } from "../base/words.js";

/**
 * @typedef {object} Points
 * @property {number} count dots
 * @property {number} total images in all
 * @property {Uint32Array | null} positions of the images; null: dot i is image i
 * @property {Uint16Array} x across, 65,535ths
 * @property {Uint16Array} y up, 65,535ths
 * @property {Uint8Array | Uint16Array | Uint32Array} classes
 */

/** @returns {Promise<Points>} */
export async function fetchPoints(url) {
  const buffer = await fetchBytes(url);
  const [count, total, size, isSample] = new Uint32Array(buffer, 0, 4);
  let at = 16;
  const take = (Type, itemSize) => {
    const column = at % itemSize ? new Type(buffer.slice(at, at + count * itemSize)) : new Type(buffer, at, count);
    at += count * itemSize;
    return column;
  };
  const positions = isSample ? take(Uint32Array, 4) : null;
  const [x, y] = [take(Uint16Array, 2), take(Uint16Array, 2)];
  const classes = take({ 1: Uint8Array, 2: Uint16Array, 4: Uint32Array }[size], size);
  return { count, total, positions, x, y, classes };
}

/** @returns {Promise<Uint8Array>} */
export async function fetchStates(url) {
  return new Uint8Array(await fetchBytes(url));
}

/** @returns {Promise<string>} */
export async function fetchTiles(url, signal) {
  return (await answerOf(url, signal)).text();
}

async function fetchBytes(url) {
  return (await answerOf(url)).arrayBuffer();
}

async function answerOf(url, signal) {
  const response = await fetch(url, { headers: { Accept: "*/*" }, signal });
  if (!response.ok) throw new Error((await response.text()).slice(0, 300) || fill(gettext("The server said %(status)s."), { status: response.status }));
  if (response.redirected) throw new Error(gettext("You are signed out. Sign in and open the page again."));
  return response;
}
