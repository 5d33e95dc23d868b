// What a question came to: first whether it is there, then the picture, how old it is, and each thing that was found.

import { ago, when } from "./clock.js";
import { drawKey } from "./key.js";
import { looksFor } from "./questions.js";

const MAX_ROWS = 50;
const OLD_S = 2;

const at = (id) => document.getElementById(id);

export class Answer {
  constructor() {
    this.frames = [];
    this.told = {};
    at("answer-frame").oninput = () => this.turn(Number(at("answer-frame").value));
  }

  hide() {
    this.frames = [];
    at("answer").hidden = true;
    at("answer").classList.remove("old");
  }

  // What is shown is not what is there now.
  age(why) {
    at("answer").classList.add("old");
    at("answer-headline").textContent = why;
  }

  // `told`: `of`, what was asked; `headline` instead of the answer's own; `elapsed` in ms; `added`, the prompt that nobody wrote.
  show(frames, told = {}) {
    Object.assign(this, { frames, told });
    at("answer").hidden = false;
    at("answer").classList.remove("old");
    at("answer-frames").hidden = frames.length < 2;
    at("answer-frame").max = String(frames.length - 1);
    // A clip is shown from where it is there first.
    const first = Math.max(0, frames.findIndex((frame) => this.wanted(frame).some(isThere)));
    at("answer-frame").value = String(first);
    this.turn(first);
  }

  wanted(frame) {
    return frame.answers.filter((answer) => answer.prompt !== this.told.added);
  }

  // What a question came to; of a clip, in how many of its pictures it is there.
  headline(wanted) {
    const each = wanted.map((answer, place) => {
      if (this.frames.length < 2 || !looksFor(answer.prompt)) return found(answer);
      const count = this.frames.filter((frame) => isThere(this.wanted(frame)[place])).length;
      return `${found(answer)} (in ${count || "none"} of ${this.frames.length} pictures)`;
    });
    return each.join(" · ");
  }

  turn(number) {
    const frame = this.frames[number];
    const [first] = frame.answers;
    const wanted = this.wanted(frame);
    at("answer-number").textContent = `picture ${number + 1} of ${this.frames.length}`;
    at("answer-headline").textContent = this.told.headline ?? this.headline(wanted);
    at("answer-picture").src = `data:image/jpeg;base64,${frame.drawn}`;
    at("answer-picture").alt = `The frame, and on it the answer to ${first.prompt}`;
    drawKey(at("answer-key"), first.prompt);
    const model = frame.answers.reduce((sum, answer) => sum + answer.model_ms, 0);
    const { elapsed } = this.told;
    const words = [
      this.told.of,
      this.frames.length > 1 && frame.time_s !== null ? `at ${frame.time_s.toFixed(1)} s` : "",
      ...wanted.filter(isToBeSaid).map((answer) => answer.said),
      frame.captured_at && frame.age_s !== null ? `seen ${when(frame.captured_at)}` : "",
      frame.age_s > OLD_S ? `this picture is ${ago(frame.age_s)} old` : "",
      elapsed === undefined ? "" : `answered in ${Math.round(elapsed)} ms, of these ${Math.round(model)} ms in the model`,
    ];
    at("answer-words").textContent = words.filter(Boolean).join(" · ");
    this.table(frame);
  }

  table(frame) {
    const total = frame.width * frame.height;
    const rows = frame.answers.flatMap((answer) => answer.objects);
    const table = at("answer-table");
    table.replaceChildren();
    if (!rows.length) return;
    const head = table.createTHead().insertRow();
    for (const [title, isNumber] of [["found", false], ["distance", true], ["of picture", true], ["score", true]]) {
      const cell = document.createElement("th");
      cell.textContent = title;
      if (isNumber) cell.className = "number";
      head.append(cell);
    }
    const body = table.createTBody();
    for (const row of rows.sort((a, b) => b.area_px - a.area_px).slice(0, MAX_ROWS)) {
      const line = body.insertRow();
      const distance = number(row.distance_m, (metres) => `${metres.toFixed(1)} m`);
      const share = number(row.area_px, (pixels) => `${((100 * pixels) / total).toFixed(1)} %`);
      const score = number(row.score, (value) => value.toFixed(2));
      for (const [index, text] of [row.label, distance, share, score].entries()) {
        const cell = line.insertCell();
        cell.textContent = text;
        if (index) cell.className = "number";
      }
    }
  }
}

function number(value, form) {
  return value === null || value === undefined ? "–" : form(value);
}

function isThere(answer) {
  return answer.status === "ok" && looksFor(answer.prompt) && answer.objects.length > 0;
}

// What the headline does not say already.
function isToBeSaid(answer) {
  return isThere(answer) || (answer.status === "ok" && !looksFor(answer.prompt) && !answer.prompt.startsWith("ask"));
}

// Whether what was asked for is there.
function found(answer) {
  const what = answer.prompt.replace(/^[a-z]+(\[[^\]]*\])?:?/, "") || answer.prompt;
  if (answer.status !== "ok") return `${answer.prompt}: no answer, ${answer.said}`;
  if (!looksFor(answer.prompt)) return answer.prompt.startsWith("ask") ? answer.said : answer.prompt;
  if (!answer.objects.length) return `Not there: ${what}`;
  const metres = answer.objects.map((object) => object.distance_m).filter((distance) => distance !== null);
  const nearest = metres.length ? `, ${answer.objects.length > 1 ? "the nearest " : ""}${Math.min(...metres).toFixed(1)} m away` : "";
  const count = answer.objects.length > 1 ? `${answer.objects.length} × ` : "";
  return `There: ${count}${what}${nearest}`;
}
