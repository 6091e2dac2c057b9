// Run a model on raw images in LiteRT.js, and post what came out, or why nothing did.

const ARRAYS = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array };
const NEWS = /^(INFO|VERBOSE|WARNING):/; // what the runtime tells on the console besides errors
const said = []; // errors on the console
const blocked = new Set(); // addresses elsewhere that something asked for

for (const level of ["warn", "error"]) {
  console[level] = (...words) => NEWS.test(words[0]) || said.push(words.join(" "));
}
document.addEventListener("securitypolicyviolation", (event) => blocked.add(event.blockedURI));

async function bytes(path) {
  return new Uint8Array(await (await fetch(path)).arrayBuffer());
}

function median(times) {
  const sorted = times.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

async function timed(model, input, { runs, seconds }) {
  const times = [];
  let total = 0;
  while (times.length < 5 || (times.length < runs && total < 1e3 * seconds)) {
    const start = performance.now();
    const outputs = await model.run(input);
    times.push(performance.now() - start);
    total += times.at(-1);
    outputs.forEach((output) => output.delete());
  }
  return median(times);
}

async function run() {
  const task = await (await fetch("/task.json")).json();
  const { loadAndCompile, loadLiteRt, Tensor } = await import("@litertjs/core");
  await loadLiteRt("/@litertjs/core/wasm/");
  const images = await bytes("/images.bin");
  said.length = 0; // from here on, what goes wrong is the model's fault
  const model = await loadAndCompile(await bytes("/model.tflite"), { accelerator: "wasm" });
  const [details] = model.getInputDetails();
  model.getOutputDetails();
  const size = images.length / task.images;
  const scores = [];
  let input;
  for (let i = 0; i < task.images; i++) {
    input?.delete();
    const pixels = ARRAYS[details.dtype].from(images.subarray(i * size, (i + 1) * size));
    input = new Tensor(pixels, task.shape);
    const [output] = await model.run(input);
    scores.push(Array.from(await output.data()));
    output.delete();
  }
  return { scores, latency_ms: await timed(model, input, task) };
}

function external() {
  const asked = performance.getEntriesByType("resource").map((entry) => entry.name);
  return [...new Set([...asked, ...blocked])].filter(
    (address) => /^[a-z]+:\/\//.test(address) && new URL(address).origin !== location.origin,
  );
}

const result = await run().catch((error) => ({ error: String(error?.message ?? error) }));
const answer = { said, agent: navigator.userAgent, external: external(), ...result };
await fetch("/result", { method: "POST", body: JSON.stringify(answer) });
