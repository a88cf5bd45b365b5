// Lays the page out in dist/, ready for any web server: `npm run build [-- MODEL.onnx]`.

import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const top = join(here, "..", "..");
const demo = join(here, "..", "unlossy_space"); // its player is this page's, too
const dist = join(here, "dist");
const packages = join(here, "node_modules");
const model = process.argv[2] ?? join(top, "modeling", "unlossy", "checkpoints", "unlossy-44khz", "onnx", "model.onnx");

if (!existsSync(model)) {
  console.error(`${model}: there is no such network; name one: npm run build -- MODEL.onnx`);
  process.exit(1);
}

rmSync(dist, { recursive: true, force: true });
cpSync(join(here, "page"), dist, { recursive: true });
cpSync(join(here, "README.md"), join(dist, "README.md"));
cpSync(join(here, "..", "examples", "canon_64kbps.mp3"), join(dist, "canon_64kbps.mp3"));

// Two flavours of ONNX Runtime, of which a visitor loads one: for the processor alone, and with WebGPU.
const library = join(dist, "library");
mkdirSync(library);
for (const name of [
  "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm",
  "ort.jspi.bundle.min.mjs", "ort-wasm-simd-threaded.jspi.wasm",
]) {
  cpSync(join(packages, "onnxruntime-web", "dist", name), join(library, name));
}
cpSync(join(packages, "mediabunny", "dist", "bundles", "mediabunny.min.mjs"), join(library, "mediabunny.min.mjs"));
cpSync(join(packages, "mediabunny", "LICENSE"), join(library, "mediabunny.LICENSE.txt"));
cpSync(model, join(library, "model.onnx"));

// How far loading has come needs sizes: a server that compresses doesn't tell them.
const sizes = ["model.onnx", "ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.jspi.wasm"].map(
  (name) => [name, statSync(join(library, name)).size],
);
writeFileSync(join(library, "sizes.js"), `export default ${JSON.stringify(Object.fromEntries(sizes))}; // [bytes]\n`);

// The demo's player is written for a component of Gradio, which gives it `element`, `props` and `watch`, and keeps its
// styles to itself.
const read = (name) => readFileSync(join(demo, name), "utf8");
writeFileSync(
  join(dist, "player.js"),
  `export const PLAYER = ${JSON.stringify(read("player.html"))};\n` +
    `export const startPlayer = (element, props, watch) => {\n${read("player.js")}};\n`,
);
writeFileSync(join(dist, "player.css"), `.player-host {\n${read("player.css")}}\n`);
