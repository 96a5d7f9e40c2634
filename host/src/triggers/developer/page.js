// The script of the page for developers: its forms send requests and show the answers.
"use strict";

// The most characters of an answer that the page shows.
const MOST = 100_000;

for (const form of document.forms) {
  form.hidden = false;
  form.addEventListener("submit", send);
  form.elements.type?.addEventListener("change", () => showPayload(form));
  showPayload(form);
}

// Shows the field of the payload if the request has a body.
function showPayload({ elements: { type, payload } }) {
  if (!payload) return;
  payload.labels[0].hidden = type.value === "";
  // A payload that nobody has changed fits its type.
  const fitting = type.value === "application/json" ? "{}" : "";
  if (["", "{}"].includes(payload.value)) payload.value = fitting;
}

async function send(event) {
  event.preventDefault();
  const form = event.currentTarget;
  const { type, payload } = form.elements;
  const { method, path } = form.dataset;
  if (form.ariaBusy === "true") return;
  payload?.removeAttribute("aria-invalid");
  const request = { method, cache: "no-store" };
  if (type?.value) {
    request.headers = { "content-type": type.value };
    request.body = payload.value;
    const fault = type.value === "application/json" && faultOf(payload.value);
    if (fault) {
      payload.setAttribute("aria-invalid", "true");
      payload.focus();
      return show(form, "bad", `The payload is not JSON: ${fault}`);
    }
  }
  const url = path.replace(/\{(\w+)\}/g, (_, name) => {
    return encodeURIComponent(form.querySelector(`[data-param="${name}"]`).value);
  });
  show(form, "", `${method} ${url} was sent.`);
  form.ariaBusy = "true";
  const begun = performance.now();
  try {
    const answer = await fetch(url, request);
    const bytes = await answer.arrayBuffer();
    const time = Math.round(performance.now() - begun);
    const kind = answer.headers.get("content-type") ?? "no content type";
    const facts = [`${answer.status} ${answer.statusText}`.trim(), kind, `${bytes.byteLength} bytes`, `${time} ms`];
    const text = textOf(bytes, kind);
    if (text.length > MOST) facts.push(`the first ${MOST} characters`);
    show(form, answer.ok ? "good" : "bad", `${method} ${url}: ${facts.join(", ")}`, text.slice(0, MOST));
  } catch (error) {
    show(form, "bad", `${method} ${url}: no answer (${error.message})`);
  } finally {
    form.ariaBusy = "false";
  }
}

function show(form, result, status, text = "") {
  const [line, body] = [form.querySelector(".status"), form.querySelector("pre")];
  line.dataset.result = result;
  line.textContent = status;
  body.textContent = text;
  body.hidden = text === "";
}

function faultOf(json) {
  try {
    JSON.parse(json);
  } catch (error) {
    return error.message;
  }
}

function textOf(bytes, kind) {
  const isJson = /^[^;]*[/+]json\b/i.test(kind);
  if (!isJson && !/^(text\/|[^;]*(\+xml|\/xml|javascript|urlencoded))|no content type/i.test(kind)) return "";
  const text = new TextDecoder().decode(bytes);
  return isJson && !faultOf(text) ? pretty(text) : text;
}

// Indents JSON. Numbers, keys and strings stay as they are written.
function pretty(json) {
  const tokens = json.match(/"(?:\\.|[^"\\])*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  const opens = (token) => token === "{" || token === "[";
  const closes = (token) => token === "}" || token === "]";
  let depth = 0;
  const newLine = () => `\n${"  ".repeat(depth)}`;
  return tokens.map((token, index) => {
    if (opens(token)) {
      depth += 1;
      return closes(tokens[index + 1]) ? token : token + newLine();
    }
    if (closes(token)) {
      depth -= 1;
      return opens(tokens[index - 1]) ? token : newLine() + token;
    }
    if (token === ",") return token + newLine();
    return token === ":" ? ": " : token;
  }).join("");
}
