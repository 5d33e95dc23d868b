// What is written into the question, as tasks; what cannot be meant is said before anything is asked.

const TASKS = ["semantic", "instances", "refer", "depth", "normals", "generate", "detect", "ask", "prompt"];
const KNOWN = new RegExp(`^(${TASKS.join("|")})(\\[[^\\]]*\\])?\\s*(:|$)`);
const PREFIX = /^([A-Za-z_]+)\s*(\[[^\]]*\])?\s*:\s*(.*)$/;
// A question without its mark: by its first words, or what asks for a number. "can" alone is a thing, too: a can on the
// street is looked for, unless who might be able to follows it.
const QUESTION = new RegExp(
  [
    "\\?\\s*$",
    "^(how|what|where|when|who|why|which|whose|is|are|was|were|do|does|did|could|has|have)\\b",
    "^can\\s+(you|we|i|they|he|she|it|anyone|anybody|someone|somebody|people|the|this|that|these|those|any)\\b",
    "^(please\\s+)?(count|tell|say|describe|explain|estimate)\\b",
    "^(the\\s+)?(total\\s+)?(number|count|amount)\\s+of\\b",
  ].join("|"),
  "i",
);
const LOOKS_FOR = /^(instances|refer|semantic|detect)\b/;

// `hasWords`: whether the model here answers in words.
export function tasksOf(text, hasWords) {
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  if (!lines.length) throw new Error("write first what to look for, such as the red car");
  return lines.map((line) => taskOf(line, hasWords));
}

function taskOf(line, hasWords) {
  if (KNOWN.test(line)) return line;
  const named = PREFIX.exec(line);
  if (named) {
    const near = nearest(named[1].toLowerCase());
    const meant = near ? `did you mean ${near}:${named[3]}?` : `there are ${TASKS.join(", ")}`;
    throw new Error(`there is no task '${named[1]}': ${meant}`);
  }
  if (!QUESTION.test(line)) return `refer:${line}`;
  if (hasWords) return `ask:${line}`;
  throw new Error("the model here answers no questions in words: name what to look for, such as instances:car, which counts");
}

export function looksFor(task) {
  return LOOKS_FOR.test(task);
}

// The task that is written nearly so.
function nearest(name) {
  const ranked = TASKS.map((task) => [distance(name, task), task]).sort(([a], [b]) => a - b);
  return ranked[0][0] <= 2 ? ranked[0][1] : null;
}

function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, k) => k);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] !== b[j - 1])));
    }
    row = next;
  }
  return row[b.length];
}
