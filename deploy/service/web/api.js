// Calls of the service: JSON in and out, problems as errors, a login where one is asked for.

export class ProblemError extends Error {
  // `isMistake`: whether what was asked can never be answered.
  constructor(status, detail, isMistake = false) {
    super(detail);
    Object.assign(this, { status, isMistake });
  }
}

let loggingIn = null;

export async function call(method, path, { body, headers = {}, signal } = {}) {
  const isForm = body instanceof FormData;
  const options = { method, headers: { Accept: "application/json", ...headers }, signal };
  if (body !== undefined) {
    options.body = isForm ? body : JSON.stringify(body);
    if (!isForm) options.headers["Content-Type"] = "application/json";
  }
  for (;;) {
    let response;
    try {
      response = await fetch(path, options);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ProblemError(0, "the service cannot be reached");
    }
    if (response.status === 401) {
      await login();
      continue;
    }
    if (response.ok) return response;
    throw await problemOf(response);
  }
}

export async function json(method, path, body, signal) {
  const response = await call(method, path, { body, signal });
  return response.status === 204 ? null : response.json();
}

async function problemOf(response) {
  try {
    const problem = await response.json();
    const mistakes = (problem.errors ?? []).map(({ field, detail }) => `${field}: ${detail}`);
    const isNamed = mistakes.length && !mistakes.some((mistake) => problem.detail.includes(mistake));
    return new ProblemError(response.status, isNamed ? mistakes.join("; ") : problem.detail || problem.title, mistakes.length > 0);
  } catch {
    return new ProblemError(response.status, `the service answered ${response.status}`);
  }
}

function login() {
  loggingIn ??= new Promise((resolve) => {
    const dialog = document.getElementById("login-dialog");
    const form = document.getElementById("login-form");
    const token = document.getElementById("login-token");
    const error = document.getElementById("login-error");
    error.hidden = true;
    dialog.showModal();
    dialog.onclose = () => loggingIn && dialog.showModal(); // Esc closes it, but nothing can be seen without
    form.onsubmit = async (event) => {
      event.preventDefault();
      const headers = { "Content-Type": "application/json" };
      const body = JSON.stringify({ token: token.value });
      const response = await fetch("/v1/session", { method: "POST", headers, body }).catch(() => null);
      if (response?.ok) {
        token.value = "";
        loggingIn = null;
        dialog.close();
        resolve();
      } else {
        error.textContent = response ? (await problemOf(response)).message : "the service cannot be reached";
        error.hidden = false;
      }
    };
  });
  return loggingIn;
}

// Server-sent events of a response, as [name, data].
export async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(
        block.split("\n").filter((line) => !line.startsWith(":")).map((line) => line.split(/: (.*)/s).slice(0, 2)),
      );
      if (fields.event) yield [fields.event, JSON.parse(fields.data)];
    }
  }
}
