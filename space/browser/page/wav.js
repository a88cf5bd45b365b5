// Writes WAV files of 24 bits.

const SCALE = 2 ** 23;
const FRAMES = 65536; // that are packed at a time

/** A WAV file of `channels`, arrays of samples within ±1, as a `Blob`. */
export const makeWav = (channels, rate) => {
  const { length } = channels[0];
  const frame = 3 * channels.length; // [bytes]
  const parts = [header(length * frame, channels.length, rate)];
  for (let first = 0; first < length; first += FRAMES) {
    const frames = Math.min(FRAMES, length - first);
    const bytes = new Uint8Array(frames * frame);
    let at = 0;
    for (let i = first; i < first + frames; i++) {
      for (const samples of channels) {
        const value = Math.min(Math.max(Math.round(samples[i] * SCALE), -SCALE), SCALE - 1);
        bytes[at++] = value;
        bytes[at++] = value >> 8;
        bytes[at++] = value >> 16;
      }
    }
    parts.push(bytes);
  }
  if ((length * frame) % 2) parts.push(new Uint8Array(1)); // chunks have an even length
  return new Blob(parts, { type: "audio/wav" });
};

const header = (bytes, channels, rate) => {
  const view = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + bytes + (bytes % 2), true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // integers
  view.setUint16(22, channels, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * 3 * channels, true);
  view.setUint16(32, 3 * channels, true);
  view.setUint16(34, 24, true);
  text(36, "data");
  view.setUint32(40, bytes, true);
  return view;
};
