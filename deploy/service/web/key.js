// What the colours of a live view mean: metres for depth, names for classes.

import { json } from "./api.js";

const known = new Map();
const FONT = "11px system-ui, sans-serif";

export async function drawKey(canvas, prompt) {
  canvas.dataset.prompt = prompt;
  canvas.hidden = true;
  if (!prompt) return;
  if (!known.has(prompt)) known.set(prompt, json("GET", `/v1/key?prompt=${encodeURIComponent(prompt)}`));
  let key;
  try {
    key = await known.get(prompt);
  } catch {
    known.delete(prompt);
    return;
  }
  if (canvas.dataset.prompt !== prompt) return;
  if (key.stops.length) drawScale(canvas, key);
  else if (key.classes.length) drawNames(canvas, key.classes);
  else return;
  canvas.hidden = false;
}

function begin(canvas, width, height) {
  canvas.width = 2 * width;
  canvas.height = 2 * height;
  const pen = canvas.getContext("2d");
  pen.scale(2, 2);
  pen.fillStyle = "rgb(12 14 11 / 72%)";
  pen.fillRect(0, 0, width, height);
  pen.font = FONT;
  pen.textBaseline = "middle";
  return pen;
}

function drawScale(canvas, { stops, ticks }) {
  const [width, height, top] = [64, 190, 10];
  const pen = begin(canvas, width, height);
  const length = height - 2 * top;
  const fill = pen.createLinearGradient(0, top, 0, top + length);
  stops.forEach((colour, index) => fill.addColorStop(index / (stops.length - 1), colour));
  pen.fillStyle = fill;
  pen.fillRect(width - 18, top, 10, length);
  pen.fillStyle = "#eef1ea";
  pen.textAlign = "right";
  let last = -20;
  for (const { metres, place } of ticks) {
    const y = top + place * length;
    if (y - last < 13) continue;
    last = y;
    pen.fillRect(width - 21, y - 0.5, 3, 1);
    pen.fillText(`${metres} m`, width - 24, y);
  }
}

function drawNames(canvas, classes) {
  const line = 16;
  const shown = classes.slice(0, 12);
  const measure = canvas.getContext("2d");
  measure.font = FONT;
  const width = Math.min(140, 30 + Math.max(...shown.map(({ name }) => measure.measureText(name).width)));
  const height = Math.max(190, line * shown.length + 10);
  const pen = begin(canvas, width, height);
  pen.clearRect(0, 0, width, height);
  pen.fillStyle = "rgb(12 14 11 / 72%)";
  pen.fillRect(0, 0, width, line * shown.length + 10);
  shown.forEach(({ name, colour }, index) => {
    const y = 5 + line * (index + 0.5);
    pen.fillStyle = colour;
    pen.fillRect(7, y - 5, 10, 10);
    pen.fillStyle = "#eef1ea";
    pen.fillText(name, 23, y, width - 28);
  });
}
