// Loads the network, and runs it where it is fastest: on the graphics card, or on the processor.

import sizes from "./library/sizes.js";

const LIBRARY = new URL("./library/", import.meta.url).href;
const MOST_THREADS = 8; // more gain nothing
const TRIAL = 172 * 512; // [samples] two seconds
const CLOSE = 1e-3; // how near the graphics card must come to the processor

/**
 * The network, ready to run.
 *
 * @param {(done: number, total: number) => void} onProgress is told how much is loaded [bytes].
 * @returns {Promise<{place: string, run: Function}>} where it runs, in words; and a function from two channels, the
 *   share of detail and the position of the first sample to the same two channels, restored.
 */
export const loadNetwork = async (onProgress) => {
  const graphics = await hasGraphics();
  const flavour = graphics ? "jspi" : "wasm";
  const program = graphics ? "ort-wasm-simd-threaded.jspi.wasm" : "ort-wasm-simd-threaded.wasm";
  const total = sizes[program] + sizes["model.onnx"];
  let done = 0;
  const count = (bytes) => onProgress((done += bytes), total);
  const [ort, wasmBinary, model] = await Promise.all([
    import(`${LIBRARY}ort.${flavour}.bundle.min.mjs`),
    fetchBytes(program, count),
    fetchBytes("model.onnx", count),
  ]);
  const threads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, MOST_THREADS) : 1;
  Object.assign(ort.env.wasm, { wasmBinary, numThreads: threads });
  const processor = { place: `the processor, ${threads} ${threads === 1 ? "thread" : "threads"}` };
  processor.run = await open(ort, model, "wasm");
  return graphics ? faster(processor, { place: "the graphics card" }, ort, model) : processor;
};

/** Whether there is a graphics card to try. WebGPU answers later, for which WebAssembly has to suspend. */
const hasGraphics = async () => {
  if (!navigator.gpu || !("Suspending" in WebAssembly)) return false;
  const adapter = await navigator.gpu.requestAdapter().catch(() => null);
  return Boolean(adapter && !adapter.info.isFallbackAdapter);
};

const fetchBytes = async (name, count) => {
  const answer = await fetch(LIBRARY + name);
  if (!answer.ok) throw new Error(`the server answers ${answer.status} for ${name}`);
  const bytes = new Uint8Array(sizes[name]);
  let at = 0;
  for (const reader = answer.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return bytes;
    bytes.set(value, at);
    at += value.length;
    count(value.length);
  }
};

const open = async (ort, model, provider) => {
  const session = await ort.InferenceSession.create(model, {
    executionProviders: [provider],
    logSeverityLevel: 3, // errors only
    // It would fold padding into pools that are shorter than it, which then refuse it.
    extra: { optimization: { disable_specified_optimizers: "Pad_Fusion" } },
  });
  return async (channels, detail, offset) => {
    const { length } = channels[0];
    const samples = new Float32Array(2 * length);
    channels.forEach((channel, index) => samples.set(channel, index * length));
    const { audio_values: result } = await session.run({
      input_values: new ort.Tensor("float32", samples, [1, 2, length]),
      detail: new ort.Tensor("float32", [detail], []),
      offset: new ort.Tensor("int64", [BigInt(offset)], []),
    });
    const restored = [result.data.slice(0, length), result.data.slice(length)];
    result.dispose();
    return restored;
  };
};

/** Of both the faster one, which is the processor too if the graphics card fails or computes something else. */
const faster = async (processor, card, ort, model) => {
  try {
    card.run = await open(ort, model, "webgpu");
    const noise = Float32Array.from({ length: TRIAL }, () => (Math.random() - 0.5) / 4);
    const times = [];
    const results = [];
    for (const { run } of [processor, card]) {
      await run([noise, noise], 1, 0); // the first run is slower
      const start = performance.now();
      results.push(await run([noise, noise], 1, 0));
      times.push(performance.now() - start);
    }
    const [[expected], [found]] = results;
    const agrees = expected.every((value, i) => Math.abs(value - found[i]) < CLOSE);
    return agrees && times[1] < times[0] ? card : processor;
  } catch {
    return processor;
  }
};
