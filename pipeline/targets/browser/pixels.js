// One picture -> uint8 [H, W, C], in the way of Pillow: on white, resized by a triangle filter that
// covers what becomes one pixel, centre-cropped or padded with black. Columns first; Pillow 13 begins
// with the rows of some tall pictures, so that a value may differ by 1 of 255. Or stretched in the
// way of Keras, from the four nearest pixels alone.

const LARGEST = 1 << 24; // pixels of a canvas that every phone can make
const BITS = 22; // of a weight, behind the point
const DEPTHS = [8, 10, 12, 14, 16]; // bits that cameras and scanners use

// `fit`: crop, pad or stretch. `levels`: of a picture of 16 bits the values that become black and
// white, or "own" for those of the picture itself. A browser gives the upper 8 of its bits.
function decode(picture, [height, width, channels], fit, levels) {
  const shrink = Math.min(1, Math.sqrt(LARGEST / (picture.width * picture.height)));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.floor(picture.width * shrink));
  canvas.height = Math.max(1, Math.floor(picture.height * shrink));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  if (levels) spread(data, levels === "own" ? ownLevels(data) : levels);
  const plane = channels === 1 ? grey(data) : colours(data);
  const shape = [canvas.height, canvas.width, channels];
  if (canvas.height === height && canvas.width === width) return plane;
  return { crop: cropped, pad: padded, stretch: stretched }[fit](plane, shape, [height, width]);
}

function ownLevels(rgba) {
  const highest = 257 * rgba.reduce((most, value, i) => (i % 4 < 3 ? Math.max(most, value) : most));
  return [0, DEPTHS.map((bits) => 2 ** bits - 1).find((white) => highest <= white)];
}

function spread(rgba, [black, white]) {
  for (let i = 0; i < rgba.length; i++) {
    if (i % 4 < 3) rgba[i] = ((257 * rgba[i] - black) / (white - black)) * 255; // clamps and rounds
  }
}

function grey(rgba) {
  const plane = new Uint8Array(rgba.length / 4);
  for (let i = 0, j = 0; i < plane.length; i++, j += 4) {
    plane[i] = (19595 * rgba[j] + 38470 * rgba[j + 1] + 7471 * rgba[j + 2] + 0x8000) >> 16;
  }
  return plane;
}

function colours(rgba) {
  const plane = new Uint8Array((rgba.length / 4) * 3);
  for (let i = 0, j = 0; j < rgba.length; i += 3, j += 4) {
    plane[i] = rgba[j];
    plane[i + 1] = rgba[j + 1];
    plane[i + 2] = rgba[j + 2];
  }
  return plane;
}

function padded(plane, [height, width, channels], [toHeight, toWidth]) {
  const scale = Math.min(toWidth / width, toHeight / height);
  const [down, across] = [height, width].map((side) => Math.max(1, Math.trunc(side * scale + 0.5)));
  const columns = weights(width, 0, width, across);
  const rows = weights(height, 0, height, down);
  const narrow = resize(plane, height, width * channels, channels, columns);
  const small = resize(narrow, 1, height * across * channels, across * channels, rows);
  const out = new Uint8Array(toHeight * toWidth * channels);
  const [top, left] = [(toHeight - down) >> 1, (toWidth - across) >> 1];
  for (let y = 0; y < down; y++) {
    const row = small.subarray(y * across * channels, (y + 1) * across * channels);
    out.set(row, ((top + y) * toWidth + left) * channels);
  }
  return out;
}

function stretched(plane, [height, width, channels], [toHeight, toWidth]) {
  const [rows, columns] = [neighbours(height, toHeight), neighbours(width, toWidth)];
  const out = new Uint8Array(toHeight * toWidth * channels);
  let at = 0;
  for (const [top, bottom, down] of rows) {
    for (const [left, right, along] of columns) {
      for (let c = 0; c < channels; c++) {
        const [upper, lower] = [top, bottom].map((y) => {
          const [a, b] = [left, right].map((x) => plane[(y * width + x) * channels + c]);
          return a + (b - a) * along;
        });
        out[at++] = even(upper + (lower - upper) * down);
      }
    }
  }
  return out;
}

// The two old pixels around every new one, and how far it is between them.
function neighbours(size, toSize) {
  return Array.from({ length: toSize }, (_, i) => {
    const place = (i + 0.5) * (size / toSize) - 0.5;
    const before = Math.floor(place);
    const near = [before, before + 1].map((x) => Math.min(size - 1, Math.max(0, x)));
    return [...near, place - before];
  });
}

// Round; a half to the even number, as NumPy does.
function even(value) {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 ? up - 1 : up;
}

function cropped(plane, [height, width, channels], [toHeight, toWidth]) {
  const ratio = toWidth / toHeight;
  const wide = width / height >= ratio;
  const across = wide ? ratio * height : width;
  const down = wide ? height : width / ratio;
  const columns = weights(width, (width - across) / 2, across, toWidth);
  const rows = weights(height, (height - down) / 2, down, toHeight);
  const narrow = resize(plane, height, width * channels, channels, columns);
  return resize(narrow, 1, height * toWidth * channels, toWidth * channels, rows);
}

// What each new pixel is made of: the first old one, and the weights of it and those behind.
function weights(size, start, extent, toSize) {
  const from = Math.fround(start);
  const scale = Math.fround(Math.fround(start + extent) - from) / toSize;
  const reach = Math.max(1, scale);
  return Array.from({ length: toSize }, (_, i) => {
    const centre = from + (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const end = Math.min(size, Math.trunc(centre + reach + 0.5));
    const raw = Array.from({ length: end - first }, (_, x) =>
      Math.max(0, 1 - Math.abs((x + first - centre + 0.5) * (1 / reach))),
    );
    const sum = raw.reduce((a, b) => a + b, 0);
    return { first, parts: raw.map((part) => Math.trunc(0.5 + (part / sum) * 2 ** BITS)) };
  });
}

// Resize along one axis: `lines` times `length` values, of which neighbours are `step` apart.
function resize(plane, lines, length, step, made) {
  const out = new Uint8Array(lines * made.length * step);
  let at = 0;
  for (let line = 0; line < lines; line++) {
    for (const { first, parts } of made) {
      for (let channel = 0; channel < step; channel++) {
        let sum = 2 ** (BITS - 1);
        let from = line * length + first * step + channel;
        for (const part of parts) {
          sum += plane[from] * part;
          from += step;
        }
        out[at++] = Math.min(255, Math.floor(sum / 2 ** BITS));
      }
    }
  }
  return out;
}
