// What `unlossy restore` does:
//
//     input ── (up to 44.1 kHz) ──┬───────────────────────────────────────────── + ── peak guard ── output
//                                 └─ to 44.1 kHz ── network ── its change ── back ┘

import { cut, RATE } from "./blocks.js";
import { guardPeaks } from "./guard.js";
import { resample } from "./resample.js";
import { keepSilence } from "./silence.js";

/**
 * @param {Float32Array[]} channels one or two, ±1.
 * @param {number} rate of theirs [Hz].
 * @param {number} detail from 0, most faithful, to 1, most complete.
 * @param {Function} run the network, see `loadNetwork`.
 * @param {(share: number) => Promise<boolean>} goesOn is told the share that is done, and says whether to go on.
 * @returns {Promise<{before: Float32Array[], after: Float32Array[], rate: number} | null>} null if it did not go on.
 */
export const restore = async (channels, rate, detail, run, goesOn) => {
  const finalRate = Math.max(rate, RATE);
  const before = channels.map((samples) => convert(samples, rate, finalRate));
  const degraded = before.map((samples) => convert(samples, finalRate, RATE));
  const change = degraded.map((samples) => new Float32Array(samples.length));
  for (const { first, last, start, length } of cut(degraded[0].length)) {
    if (!(await goesOn(first / degraded[0].length))) return null;
    const block = degraded.map((samples) => {
      const part = new Float32Array(length); // silent beyond the end
      part.set(samples.subarray(start, start + length));
      return part;
    });
    const restored = await run(block.length === 2 ? block : [block[0], block[0]], detail, start);
    for (const [index, samples] of block.entries()) {
      const difference = restored[index].map((value, i) => value - samples[i]);
      if (!difference.every(Number.isFinite)) throw new LoudError();
      keepSilence(difference, samples, RATE);
      change[index].set(difference.subarray(first - start, last - start), first);
    }
  }
  const after = change.map((samples, index) => {
    const back = convert(samples, RATE, finalRate);
    return before[index].map((value, i) => value + back[i]);
  });
  guardPeaks(after, finalRate);
  return { before, after, rate: finalRate };
};

/** The samples are too large for the network. */
export class LoudError extends Error {}

const convert = (samples, from, to) => (from === to ? samples : resample(samples, from, to));
