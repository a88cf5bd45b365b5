// How audio is cut for the network, so that its parts agree with the whole.

export const RATE = 44100; // [Hz] of the network
export const REACH = 36864; // [samples] how far a restored sample looks to either side
const GRID = 2048; // [samples] a block starts at a multiple of it
const HOP = 512; // [samples] a block's length is a multiple of it
const SIZE = 173 * GRID; // [samples] of the longest block without its surroundings, eight seconds

/**
 * The blocks of `total` samples, all about equally long.
 *
 * Each has `first` and `last`, what of the whole it is for; `start`, where its surroundings begin; and `length` of all
 * of it, which may go beyond the end of the whole: there it is silent.
 */
export const cut = (total) => {
  const count = Math.ceil(total / SIZE);
  const size = Math.ceil(total / count / GRID) * GRID;
  const blocks = [];
  for (let first = 0; first < total; first += size) {
    const last = Math.min(first + size, total);
    const start = Math.max(first - REACH, 0);
    const length = Math.ceil((Math.min(last + REACH, total) - start) / HOP) * HOP;
    blocks.push({ first, last, start, length });
  }
  return blocks;
};
