// An archive without compression, made while it is sent: files are read once and never held in memory.
import { fill, gettext } from "../base/words.js";

const LOCAL = 30;
const DESCRIPTOR = 16;
const CENTRAL = 46;
const OFFSET_FIELD = 12;
const END = 56 + 20 + 22;
const SLICE = 1 << 20;
const encoder = new TextEncoder();
const table = new Uint32Array(256).map((_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

export function zipSize(files) {
  return files.reduce(
    (sum, { file, name }) =>
      sum + LOCAL + DESCRIPTOR + CENTRAL + OFFSET_FIELD + 2 * encoder.encode(name).length + file.size,
    END,
  );
}

export async function* zipStream(files) {
  const entries = [];
  let offset = 0;
  for (const { file, name } of files) {
    if (file.size >= 2 ** 32) throw new Error(fill(gettext("%(name)s is too large for one image"), { name }));
    const raw = encoder.encode(name);
    yield record(LOCAL, [0x04034b50, 4], [45, 2], [0x0808, 2], [0, 2], [0, 4], [0, 4], [file.size, 4], [file.size, 4], [raw.length, 2], [0, 2]);
    yield raw;
    let crc = 0xffffffff;
    for (let at = 0; at < file.size; at += SLICE) {
      const bytes = new Uint8Array(await file.slice(at, at + SLICE).arrayBuffer());
      for (let index = 0; index < bytes.length; index += 1) crc = table[(crc ^ bytes[index]) & 0xff] ^ (crc >>> 8);
      yield bytes;
    }
    crc = ~crc >>> 0;
    yield record(DESCRIPTOR, [0x08074b50, 4], [crc, 4], [file.size, 4], [file.size, 4]);
    entries.push({ raw, crc, size: file.size, offset });
    offset += LOCAL + raw.length + file.size + DESCRIPTOR;
  }
  const start = offset;
  for (const { raw, crc, size, offset: at } of entries) {
    yield record(CENTRAL, [0x02014b50, 4], [45, 2], [45, 2], [0x0808, 2], [0, 2], [0, 4], [crc, 4], [size, 4], [size, 4], [raw.length, 2], [OFFSET_FIELD, 2], [0, 2], [0, 2], [0, 2], [0, 4], [0xffffffff, 4]);
    yield raw;
    yield record(OFFSET_FIELD, [1, 2], [8, 2], [at, 8]);
    offset += CENTRAL + raw.length + OFFSET_FIELD;
  }
  const count = entries.length;
  yield record(56, [0x06064b50, 4], [44, 8], [45, 2], [45, 2], [0, 4], [0, 4], [count, 8], [count, 8], [offset - start, 8], [start, 8]);
  yield record(20, [0x07064b50, 4], [0, 4], [offset, 8], [1, 4]);
  yield record(22, [0x06054b50, 4], [0, 2], [0, 2], [0xffff, 2], [0xffff, 2], [0xffffffff, 4], [0xffffffff, 4], [0, 2]);
}

function record(length, ...fields) {
  const view = new DataView(new ArrayBuffer(length));
  let at = 0;
  for (const [value, size] of fields) {
    if (size === 2) view.setUint16(at, value, true);
    else if (size === 4) view.setUint32(at, value, true);
    else view.setBigUint64(at, BigInt(value), true);
    at += size;
  }
  return new Uint8Array(view.buffer);
}
