// The widget of django-buckets: a file goes to S3 by a signed form, and its URL into a hidden input.

const REFUSED = new Set([401, 403]);

const underWay = new WeakMap(); // uploads of a form: a Set of widgets
const turns = new WeakMap(); // of a widget: only the latest choice counts

// Rows that are added later need no set-up: events of all widgets arrive here.
document.addEventListener("change", (event) => {
  const widget = event.target.closest?.(".s3-buckets");
  if (widget && event.target.matches(".file-input")) choose(widget, event.target);
});

document.addEventListener("click", (event) => {
  const widget = event.target.closest?.(".s3-buckets");
  if (!widget || !event.target.closest(".file-remove")) return;
  event.preventDefault();
  turns.get(widget)?.abort();
  widget.querySelector(".file-input").value = "";
  say(widget, "");
  link(widget, "", "");
});

export function join(url, key) {
  return `${url.replace(/\/+$/, "")}/${key.split("/").map(encodeURIComponent).join("/")}`;
}

export function typeOf(file, lookups) {
  const extension = file.name.includes(".") ? file.name.split(".").pop().toLowerCase() : "";
  return file.type || lookups[extension] || "";
}

export function isAccepted(type, accepted) {
  return accepted.some((one) => one === type || (one.endsWith("/*") && type.startsWith(one.slice(0, -1))));
}

async function choose(widget, input) {
  turns.get(widget)?.abort();
  const [file] = input.files;
  if (!file) return;
  const turn = new AbortController();
  turns.set(widget, turn);
  say(widget, "");
  const accepted = (widget.dataset.acceptedTypes || "").split(",").filter(Boolean);
  if (accepted.length && !isAccepted(typeOf(file, data(widget, "mimeLookups")), accepted)) {
    input.value = "";
    return say(widget, text(widget, "type"));
  }
  hold(widget, true);
  try {
    const url = await send(widget, file, turn.signal);
    if (turn.signal.aborted) return;
    input.value = ""; // else the browser would ask for a file that is there
    input.required = false;
    link(widget, url, file.name);
  } catch (error) {
    if (turn.signal.aborted) return;
    input.value = "";
    say(widget, error.said || text(widget, "failed"));
  } finally {
    if (turns.get(widget) === turn) hold(widget, false);
  }
}

async function send(widget, file, signal) {
  const { url, fields } = await signed(widget, file, signal);
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) body.append(name, value);
  body.append("file", file); // S3 ignores what comes behind it
  // The bucket is told neither who asks nor from which page: no cookie, no CSRF token, no Referer.
  const options = { method: "POST", body, signal, mode: "cors", credentials: "omit", referrerPolicy: "no-referrer" };
  const answer = await fetch(url, options);
  if (!answer.ok) throw refusal(widget, answer.status, await answer.text());
  return join(url, fields.key);
}

async function signed(widget, file, signal) {
  const { uploadTo = "", field = "", signUrl = "/s3/signed-url/" } = widget.dataset;
  const body = new FormData();
  body.append("key", uploadTo ? `${uploadTo.replace(/\/+$/, "")}/${file.name}` : file.name);
  if (field) body.append("field", field);
  const answer = await fetch(signUrl || "/s3/signed-url/", {
    method: "POST",
    body,
    signal,
    credentials: "same-origin",
    mode: "same-origin",
    redirect: "error",
    headers: { "X-CSRFToken": csrf(widget), Accept: "application/json" },
  });
  if (answer.ok) return answer.json();
  // What the answer says is for developers, and in one language.
  const message = text(widget, REFUSED.has(answer.status) ? "denied" : "failed");
  throw Object.assign(new Error(message), { said: message });
}

function refusal(widget, status, xml) {
  // Not every error is XML: what cannot be read has no code.
  const code = /<Code>(\w+)<\/Code>/.exec(xml)?.[1];
  const most = Number(/<MaxSizeAllowed>(\d+)<\/MaxSizeAllowed>/.exec(xml)?.[1]);
  const said = code === "EntityTooLarge" ? text(widget, "large").replace("{limit}", size(most)) : text(widget, "failed");
  return Object.assign(new Error(`${status} ${code || ""}`), { said });
}

function size(bytes) {
  if (!bytes) return "?";
  const unit = ["byte", "kilobyte", "megabyte", "gigabyte"][Math.min(3, Math.floor(Math.log10(bytes) / 3))];
  const power = { byte: 0, kilobyte: 1, megabyte: 2, gigabyte: 3 }[unit];
  const style = { style: "unit", unit, maximumFractionDigits: 1 };
  return new Intl.NumberFormat(document.documentElement.lang || undefined, style).format(bytes / 1000 ** power);
}

function link(widget, url, name) {
  const anchor = widget.querySelector(".file-link");
  const input = widget.querySelector(".file-url");
  input.value = url;
  anchor.textContent = name;
  if (/^(https?:\/\/|\/(?![/\\]))/.test(url)) anchor.href = url;
  else anchor.removeAttribute("href");
  widget.classList.toggle("uploaded", Boolean(url));
  anchor.dispatchEvent(new CustomEvent("link:update", { bubbles: true, detail: { url, name } }));
  input.dispatchEvent(new Event("input", { bubbles: true }));
}

function hold(widget, isOn) {
  const form = widget.closest("form");
  if (!form) return;
  const widgets = underWay.get(form) ?? new Set();
  underWay.set(form, widgets);
  if (isOn) widgets.add(widget);
  else widgets.delete(widget);
  widget.setAttribute("aria-busy", String(isOn));
  for (const button of form.querySelectorAll("[type=submit], button:not([type])")) button.disabled = widgets.size > 0;
}

function csrf(widget) {
  const input = widget.closest("form")?.querySelector("[name=csrfmiddlewaretoken]");
  return input?.value || /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie)?.[1] || "";
}

function say(widget, message) {
  const place = widget.querySelector(".file-message");
  if (place) place.textContent = message;
}

function text(widget, name) {
  return data(widget, "messages")[name] || name;
}

function data(widget, name) {
  try {
    return JSON.parse(widget.dataset[name] || "{}");
  } catch {
    return {};
  }
}
