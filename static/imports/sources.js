// What is sent: archives and single files as they are, many files as one archive that is made on the way.
import { gettext } from "../base/words.js";
import { zipSize, zipStream } from "./zip_stream.js";

export function sourcesOf(files) {
  const archives = files.filter(({ name }) => /\.(zip|npz|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$/i.test(name));
  const others = files.filter((file) => !archives.includes(file));
  const sources = archives.map(fileSource);
  if (others.length === 1) sources.push(fileSource(others[0]));
  if (others.length > 1) sources.push(zipSource(others));
  return sources;
}

function fileSource({ file, name }) {
  return {
    name,
    size: file.size,
    mark: `${name} ${file.size} ${file.lastModified}`,
    part: async (offset, length) => file.slice(offset, offset + length),
  };
}

function zipSource(files) {
  const stream = zipStream(files);
  const left = { rest: new Uint8Array() };
  let kept = { offset: 0, bytes: new Uint8Array() };
  return {
    name: "files.zip",
    size: zipSize(files),
    mark: null, // it is made on the way, so only this tab can go on with it
    async part(offset, length) {
      if (offset === kept.offset && kept.bytes.length) return kept.bytes;
      if (offset !== kept.offset + kept.bytes.length) throw new Error(gettext("the server lost a part; start again"));
      kept = { offset, bytes: await collect(stream, left, length) };
      return kept.bytes;
    },
  };
}

async function collect(stream, left, length) {
  const bytes = new Uint8Array(length);
  let used = 0;
  for (;;) {
    const some = left.rest.subarray(0, length - used);
    bytes.set(some, used);
    used += some.length;
    left.rest = left.rest.subarray(some.length);
    if (used === length) return bytes;
    const { value, done } = await stream.next();
    if (done) return bytes.subarray(0, used);
    left.rest = value;
  }
}
