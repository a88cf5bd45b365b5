// Reads what a file is, and decodes it at its own sampling rate.

import { ALL_FORMATS, BlobSource, Input } from "./library/mediabunny.min.mjs";

const MOST_SECONDS = 600; // decoded it takes memory seven times over
const RATES = [8000, 96000]; // [Hz] that every browser decodes at
const CODECS = { "pcm-": "PCM", mp3: "MP3", aac: "AAC", opus: "Opus", vorbis: "Vorbis", flac: "FLAC" };
const WAY_OUT = "For others there is the command line: `pip install unlossy`, then `unlossy restore FILE`.";

/** A sentence for the reader; the message of any other error is not. */
export class Complaint extends Error {}

/**
 * What is in a file.
 *
 * @returns {Promise<{rate: number, facts: string[]}>} the rate to decode it at [Hz].
 * @throws {Complaint} it is no audio, or too much.
 */
export const inspect = async (file) => {
  const input = new Input({ formats: ALL_FORMATS, source: new BlobSource(file) });
  try {
    const track = (await input.canRead()) && (await input.getPrimaryAudioTrack());
    if (!track) throw new Complaint(`${file.name} is not an audio file that this page can read.`);
    const [codec, rate, channels, seconds] = await Promise.all(
      [track.getCodec(), track.getSampleRate(), track.getNumberOfChannels(), track.computeDuration()],
    );
    if (seconds > MOST_SECONDS) {
      throw new Complaint(`${file.name} is ${clock(seconds)} long; here at most ${clock(MOST_SECONDS)}. ${WAY_OUT}`);
    }
    if (channels > 2) {
      throw new Complaint(`${file.name} has ${channels} channels; here at most two. ${WAY_OUT}`);
    }
    const { averageBitrate } = await track.computePacketStats();
    // HE-AAC names the rate of its lower half.
    const own = codec === "aac" && rate <= 24000 ? 2 * rate : rate;
    const name = Object.entries(CODECS).find(([start]) => codec?.startsWith(start))?.[1] ?? codec ?? "unknown codec";
    return {
      rate: Math.min(Math.max(own, RATES[0]), RATES[1]),
      facts: [
        name,
        `${Math.round(averageBitrate / 1000)} kbps`,
        `${own / 1000} kHz`,
        channels === 1 ? "mono" : "stereo",
        clock(seconds),
      ],
    };
  } catch (error) {
    if (error instanceof Complaint) throw error;
    throw new Complaint(`${file.name} is damaged, or not an audio file that this page can read.`, { cause: error });
  } finally {
    input.dispose();
  }
};

/**
 * The samples of a file.
 *
 * @returns {Promise<Float32Array[]>} its channels.
 * @throws {Complaint} this browser does not decode it, or has not the memory.
 */
export const decode = async (file, rate) => {
  try {
    const buffer = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await file.arrayBuffer());
    return Array.from({ length: buffer.numberOfChannels }, (_, channel) => buffer.getChannelData(channel).slice());
  } catch (error) {
    const reason = error instanceof RangeError || error.name === "NotReadableError"
      ? "is too long for the memory that this browser has left"
      : "can't be decoded by this browser";
    throw new Complaint(`${file.name} ${reason}. ${WAY_OUT}`, { cause: error });
  }
};

const clock = (seconds) => {
  const whole = Math.round(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")} min`;
};
