// Unpack LiteRT.js and the model from this page, and classify what is dropped, chosen or pasted.

const TASK = JSON.parse(document.getElementById("task").textContent);
const SHOWN = 5; // classes
const RUNS = 10; // of the model, for one time in milliseconds
const LONGEST = 300; // milliseconds that these may take
const view = (id) => document.getElementById(id);
const percent = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 1 });
let litert, model, classWeights;

async function unpacked(id) {
  const text = atob(view(id).textContent.trim());
  const packed = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

function address(...parts) {
  return URL.createObjectURL(new Blob(parts, { type: "text/javascript" }));
}

async function load() {
  const utils = JSON.stringify(address(await unpacked("utils")));
  const core = new TextDecoder().decode(await unpacked("core"));
  litert = await import(address(core.replaceAll('"@litertjs/wasm-utils"', utils)));
  self.Module = {
    wasmBinary: await unpacked("wasm"), // instead of a file beside the glue
    printErr: (text) => (/^(INFO|WARNING)/.test(text) ? console.debug(text) : console.error(text)),
  };
  await litert.loadLiteRt(`${address(await unpacked("glue"))}#.js`);
  const content = new Uint8Array(await unpacked("model"));
  model = await litert.loadAndCompile(content, { accelerator: "wasm" });
  if (TASK.places) classWeights = new Float32Array(await unpacked("weights")); // a row per class
  await run(new Uint8Array(TASK.shape.reduce((a, b) => a * b))); // the first run is slow
}

async function run(pixels, looking = false) {
  const values = TASK.dtype === "float32" ? Float32Array.from(pixels) : pixels;
  const input = new litert.Tensor(values, [1, ...TASK.shape]);
  const start = performance.now();
  const [output, inside] = await model.run(input);
  const milliseconds = performance.now() - start;
  const scores = Array.from(await output.data(), (q) => (q - TASK.zero) * TASK.scale);
  const features = inside && looking ? Array.from(await inside.data()) : null;
  for (const tensor of [output, inside, input]) tensor?.delete();
  return { scores, features, milliseconds };
}

// Classify a file or blob: scores by class, the pixels that the model saw, and its median time.
async function classify(file) {
  const picture = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const head = new Uint8Array(await file.slice(0, 25).arrayBuffer());
  const deep = String.fromCharCode(...head.slice(1, 4)) === "PNG" && head[24] === 16;
  const pixels = decode(picture, TASK.shape, TASK.fit, deep ? TASK.levels ?? "own" : null);
  picture.close();
  const { scores, features, milliseconds } = await run(pixels, true);
  const times = [milliseconds];
  for (let i = 1; i < RUNS && times.length * milliseconds < LONGEST; i++) {
    times.push((await run(pixels)).milliseconds);
  }
  times.sort((a, b) => a - b);
  return { scores, features, pixels, milliseconds: times[times.length >> 1] };
}

// A share for each class; one score for two classes is the probability of the second.
function shares(scores) {
  if (scores.length === 1) {
    const second = TASK.probabilities ? scores[0] : 1 / (1 + Math.exp(-scores[0]));
    return [1 - second, second];
  }
  if (TASK.probabilities) return scores;
  const largest = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

function bar(label, share) {
  const row = view("row").content.cloneNode(true);
  row.querySelector(".label").textContent = label;
  row.querySelector(".share").textContent = percent.format(share);
  row.querySelector(".fill").style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  return row;
}

// How much each place speaks for a class: its features, weighted as the class weighs their mean.
function placesOf(features, k) {
  const [height, width, channels] = TASK.places;
  const own = classWeights.subarray(k * channels, (k + 1) * channels);
  return Array.from({ length: height * width }, (_, place) => {
    const sum = own.reduce((all, weight, c) => all + weight * features[place * channels + c], 0);
    return Math.max(0, sum);
  });
}

// Draw what the model sees, dark where it does not see the class.
function showHeat(features, k) {
  const [height, width] = TASK.places;
  const heat = placesOf(features, k);
  const most = Math.max(...heat);
  const shade = new ImageData(width, height);
  heat.forEach((value, i) => (shade.data[4 * i + 3] = 215 * (1 - (most ? value / most : 0))));
  const small = new OffscreenCanvas(width, height);
  small.getContext("2d").putImageData(shade, 0, 0);
  const { width: wide, height: high } = view("seen");
  Object.assign(view("heat"), { width: wide, height: high });
  const context = view("heat").getContext("2d");
  context.drawImage(view("seen"), 0, 0);
  context.drawImage(small, 0, 0, wide, high);
  view("whose").textContent = TASK.labels[k];
}

function showSeen(pixels) {
  const [height, width, channels] = TASK.shape;
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = pixels[channels * i + (c % channels)];
    image.data[4 * i + 3] = 255;
  }
  view("seen").width = width;
  view("seen").height = height;
  view("seen").getContext("2d").putImageData(image, 0, 0);
}

async function show(file) {
  if (!file) return fail("That was no image file.");
  try {
    await ready;
    const { scores, features, pixels, milliseconds } = await classify(file);
    const found = shares(scores).map((share, k) => ({ label: TASK.labels[k], share, k }));
    found.sort((a, b) => b.share - a.share);
    const best = found.slice(0, SHOWN);
    view("classes").replaceChildren(...best.map(({ label, share }) => bar(label, share)));
    URL.revokeObjectURL(view("picture").src);
    view("picture").src = URL.createObjectURL(file);
    showSeen(pixels);
    if (features) showHeat(features, best[0].k);
    view("unknown").hidden = TASK.threshold === null || best[0].share >= TASK.threshold;
    view("milliseconds").textContent = milliseconds.toFixed(milliseconds < 10 ? 1 : 0);
    view("result").hidden = false;
    say("");
  } catch (error) {
    fail(`This cannot be classified: ${error.message ?? error}`);
  }
}

// Say why there is no result, and take an earlier one away.
function fail(text) {
  view("result").hidden = true;
  say(text, true);
}

function say(text, wrong = false) {
  view("status").textContent = text;
  view("status").classList.toggle("wrong", wrong);
}

const zone = view("zone");
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  window.addEventListener(kind, (event) => {
    event.preventDefault();
    zone.classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop") show(event.dataTransfer.files[0]);
  });
}
window.addEventListener("paste", (event) => show(event.clipboardData.files[0]));
view("file").addEventListener("change", ({ target }) => target.files[0] && show(target.files[0]));

for (const button of document.querySelectorAll("#samples button")) {
  button.addEventListener("click", async () => {
    show(await (await fetch(button.firstElementChild.src)).blob());
  });
}

const ready = load();
Object.assign(window, { classify, placesOf, ready });
ready.then(
  () => say("Ready."),
  (error) => say(`LiteRT.js does not run in this browser: ${error.message ?? error}`, true),
);
