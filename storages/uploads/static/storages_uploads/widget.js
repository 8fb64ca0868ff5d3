// <storages-upload>: uploads what is chosen in the file input inside it, and gives the form tokens in place of files.
// Without this script, or without a slot-token, that input is an ordinary one.

import { abort, upload, UploadError } from "./client.js";

const MESSAGES = {
  drop: "or drop it here",
  drop_several: "or drop them here",
  uploading: "Uploading {name}",
  progress: "{name}: {percent} %",
  done: "{name} is uploaded",
  cancel: "Cancel upload of {name}",
  cancel_short: "Cancel",
  remove: "Remove {name}",
  remove_short: "Remove",
  retry: "Try again",
  retrying: "The connection was lost; trying again",
  resuming: "Going on with {name}",
  cancelled: "Upload of {name} was cancelled",
  checking: "{name} is being checked",
  too_large: "{name} is larger than {limit}",
  too_small: "{name} is smaller than {limit}",
  empty: "{name} is empty",
  bad_type: "{name} is not of an allowed type",
  too_many: "At most {limit} files",
  failed: "{name} could not be uploaded",
  denied: "You may not upload this file",
  expired: "This form is too old; reload the page",
  quota: "Too many or too large uploads; try again later",
  rejected: "{name} was refused",
  unreadable: "{name} cannot be read any more; choose it again",
  busy: "Wait until all files are uploaded",
};

// What an error of the protocol is called; any other is "failed".
const WORDS = {
  too_large: "too_large",
  too_small: "too_small",
  type_not_allowed: "bad_type",
  permission_denied: "denied",
  // Logged out, or in again, since the page was made: what it has is nobody's now.
  not_authenticated: "expired",
  csrf_failed: "expired",
  slot_invalid: "expired",
  upload_not_found: "expired",
  slot_expired: "expired",
  rate_limited: "quota",
  quota_exceeded: "quota",
  too_many_open: "quota",
  size_mismatch: "rejected",
  checksum_mismatch: "rejected",
  type_mismatch: "rejected",
  content_rejected: "rejected",
  file_unreadable: "unreadable",
};
const FINAL = new Set(
  ["too_large", "too_small", "empty", "bad_type", "too_many", "denied", "expired", "rejected", "unreadable"],
);

const PREFIX = "storages-upload:"; // what tells a token from other texts in a form
const AT_ONCE = 3; // files
const ANNOUNCED = 25; // percent between two announcements
const BETWEEN_LOSSES = 60_000; // milliseconds between two announcements that the connection was lost
const SETTLES = 2_000; // milliseconds after which an attempt that moves is no mere attempt
const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
const MADE = "data-storages-upload-made"; // by this script: not to be kept in a copy of the element
let made = 0;

class StoragesUpload extends HTMLElement {
  static formAssociated = true;
  static observedAttributes = ["name", "slot-token"];

  #internals = this.attachInternals();
  #rows = [];
  #input = null;
  #required = false;
  #waiting = null; // the submission to go on with when all is uploaded
  #words = MESSAGES;
  #watch = new AbortController(); // its signal ends the listeners

  // Properties, as of an input

  get name() {
    return this.getAttribute("name") ?? "";
  }

  set name(value) {
    this.setAttribute("name", value);
  }

  get form() {
    return this.#internals.form;
  }

  get type() {
    return "file";
  }

  get multiple() {
    return this.hasAttribute("multiple");
  }

  get uploading() {
    return this.#rows.some((row) => row.busy);
  }

  get tokens() {
    return this.#rows.filter((row) => row.token).map((row) => row.token);
  }

  // Life

  connectedCallback() {
    // The parser may not have come to the content yet.
    if (document.readyState === "loading" && !this.querySelector("input[type=file]")) {
      document.addEventListener("DOMContentLoaded", () => this.#enhance(), { once: true });
    } else this.#enhance();
  }

  disconnectedCallback() {
    queueMicrotask(() => {
      if (this.isConnected) return; // only moved
      this.#watch.abort();
      this.#input = null;
      for (const row of this.#rows) row.stop(); // what is done may stand in the form that comes next
      this.#rows = [];
    });
  }

  attributeChangedCallback(name) {
    if (name === "name") this.#publish();
    else if (this.isConnected) this.#enhance();
  }

  formDisabledCallback(disabled) {
    if (!this.#input) return;
    this.#input.disabled = disabled;
    for (const row of this.#rows) row.disable(disabled);
  }

  formResetCallback() {
    for (const row of [...this.#rows]) row.leave();
    this.#rows = [];
    this.list?.replaceChildren();
    this.#restore(this.getAttribute("value"));
  }

  formStateRestoreCallback(state) {
    if (typeof state === "string" && !this.#rows.length) this.#restore(state);
  }

  // The element

  #enhance() {
    const input = this.querySelector("input[type=file]");
    if (this.#input || !this.isConnected || !input || !this.getAttribute("slot-token")) return;
    this.querySelectorAll(`[${MADE}]`).forEach((copied) => copied.remove());
    this.#input = input;
    this.#required = this.hasAttribute("required") || input.required;
    this.#words = { ...MESSAGES, ...parsed(this.getAttribute("messages")) };
    if (!this.name) this.name = input.name;
    input.removeAttribute("name"); // the form is to have tokens, not the file
    this.#build();
    this.#listen();
    this.#restore(this.getAttribute("value"));
    this.formDisabledCallback(this.matches(":disabled"));
  }

  #build() {
    this.hint = element("span", "storages-upload-hint", this.text(this.multiple ? "drop_several" : "drop"));
    this.list = element("ul", "storages-upload-files");
    this.status = element("p", "storages-upload-status");
    this.status.setAttribute("role", "status");
    for (const child of [this.hint, this.list, this.status]) child.setAttribute(MADE, "");
    this.#input.after(this.hint);
    this.append(this.list, this.status);
  }

  #listen() {
    this.#watch = new AbortController();
    const { signal } = this.#watch;
    const hover = (event, over) => {
      if (this.#input.disabled || !event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      this.toggleAttribute("data-over", over);
    };
    this.#input.addEventListener("change", () => this.#chosen(), { signal });
    this.addEventListener("dragover", (event) => hover(event, true), { signal });
    this.addEventListener("dragleave", (event) => hover(event, this.contains(event.relatedTarget)), { signal });
    this.addEventListener("drop", (event) => (hover(event, false), this.#dropped(event)), { signal });
    // Before any handler of the page, which would read the form while it is incomplete.
    this.getRootNode().addEventListener("submit", (event) => this.#submitted(event), { signal, capture: true });
  }

  text(key, values = {}) {
    const { language } = this;
    return this.#words[key].replace(/\{(\w+)\}/g, (whole, name) => {
      const value = values[name] ?? whole;
      return typeof value === "number" ? value.toLocaleString(language) : value;
    });
  }

  get language() {
    return this.closest("[lang]")?.lang || undefined;
  }

  say(text) {
    this.status.textContent = text;
    this.status.removeAttribute("data-shown");
  }

  // Files

  #chosen() {
    const files = [...this.#input.files];
    this.#input.value = ""; // so that the same file can be chosen again
    this.take(files);
  }

  #dropped(event) {
    if (this.#input.disabled) return;
    const items = [...(event.dataTransfer?.items ?? [])].filter((item) => item.kind === "file");
    const files = items.filter((item) => !item.webkitGetAsEntry?.()?.isDirectory).map((item) => item.getAsFile());
    if (files.length) this.take(files);
  }

  // Upload these files, in place of an earlier one where the field has one.
  take(files) {
    if (!files.length || !this.#input) return;
    if (!this.multiple) {
      files = files.slice(0, 1);
      for (const row of [...this.#rows]) row.leave(), this.#drop(row);
    }
    for (const file of files) this.#add(new Row(this, file)).check();
    const clear = this.form?.elements.namedItem(`${this.name}-clear`);
    if (clear) clear.checked = false;
    this.changed();
  }

  #add(row) {
    this.#rows.push(row);
    this.list.append(row.item);
    return row;
  }

  #drop(row) {
    this.#rows = this.#rows.filter((other) => other !== row);
    row.item.remove();
  }

  // The focus goes to what is next, not to the top of the page.
  remove(row) {
    const at = this.#rows.indexOf(row);
    const focused = row.item.contains(document.activeElement);
    row.leave();
    this.#drop(row);
    if (focused) (this.#rows[at] ?? this.#rows[at - 1])?.button.focus() ?? this.#input.focus();
    this.changed();
  }

  #restore(value) {
    for (const { token, name, size } of parsed(value) ?? []) this.#add(new Row(this, { name, size })).has(token);
    this.changed(false);
  }

  problemWith(file) {
    const limit = Number(this.getAttribute("max-files") ?? (this.multiple ? 0 : 1));
    const [least, most] = ["min-size", "max-size"].map((name) => Number(this.getAttribute(name) ?? 0));
    const count = this.#rows.filter((row) => row.state !== "failed").length;
    if (limit && count > limit) return this.text("too_many", { limit });
    if (file.size === 0 && least > 0) return this.text("empty", { name: file.name });
    if (file.size < least) return this.text("too_small", { name: file.name, limit: this.bytes(least) });
    if (most && file.size > most) return this.text("too_large", { name: file.name, limit: this.bytes(most) });
    return this.#allows(file.type) ? "" : this.text("bad_type", { name: file.name });
  }

  // A file whose type the browser does not know is for the server to judge.
  #allows(type) {
    const types = (this.getAttribute("types") ?? "").split(",").map((pattern) => pattern.trim()).filter(Boolean);
    if (!types.length || !type) return true;
    const family = `${type.split("/")[0]}/*`;
    return types.some((pattern) => [type, family, "*/*"].includes(pattern));
  }

  bytes(size) {
    const step = Math.min(UNITS.length - 1, Math.floor(Math.log2(Math.max(size, 1)) / 10));
    const unitDisplay = step ? "short" : "long"; // "3 bytes", where the short form has no plural
    const options = { style: "unit", unit: UNITS[step], unitDisplay, maximumFractionDigits: step > 1 ? 1 : 0 };
    return new Intl.NumberFormat(this.language, options).format(size / 1024 ** step);
  }

  options(signal) {
    return {
      endpoint: this.getAttribute("endpoint") ?? "/uploads/",
      slot: this.getAttribute("slot-token"),
      field: this.getAttribute("field") ?? undefined,
      checksum: this.hasAttribute("checksum"),
      scope: `${location.pathname} ${this.getAttribute("field") ?? this.name}`,
      csrf: () => this.form?.querySelector("[name=csrfmiddlewaretoken]")?.value || cookie("csrftoken"),
      signal,
    };
  }

  // What the form gets

  changed(told = true) {
    this.list.hidden = !this.#rows.length;
    this.toggleAttribute("data-uploading", this.uploading);
    this.#publish();
    for (const row of this.#rows) row.start();
    if (told) this.dispatchEvent(new Event("change", { bubbles: true }));
    this.#resubmit();
  }

  roomForMore() {
    return this.#rows.filter((row) => row.state === "sending").length < AT_ONCE;
  }

  #publish() {
    if (!this.#input) return;
    const value = new FormData();
    for (const token of this.tokens) value.append(this.name, PREFIX + token);
    const done = this.#rows.filter((row) => row.token);
    const kept = done.map(({ token, file: { name, size } }) => ({ token, name, size }));
    this.#internals.setFormValue(value, JSON.stringify(kept));
    const failed = this.#rows.find((row) => row.state === "failed");
    if (failed) this.#internals.setValidity({ customError: true }, failed.error.textContent, failed.button);
    else this.#internals.setValidity({});
    this.#input.required = this.#required && !this.#rows.length;
    describe(this.#input, this.#rows.map((row) => row.error.id), failed?.error.id);
  }

  #submitted(event) {
    if (event.target !== this.form || event.defaultPrevented || !this.uploading) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    this.#waiting = { form: event.target, submitter: event.submitter };
    this.say(this.text("busy"));
    this.status.setAttribute("data-shown", "");
  }

  #resubmit() {
    if (!this.#waiting || this.uploading) return;
    const { form, submitter } = this.#waiting;
    this.#waiting = null;
    const failed = this.#rows.find((row) => row.state === "failed");
    if (failed) return failed.again.hidden ? failed.button.focus() : failed.again.focus();
    form.requestSubmit(submitter?.form === form ? submitter : null);
  }
}

// One file: what is seen of it, and its upload.
class Row {
  state = "waiting"; // sending, done, failed
  token = null; // of the finished file
  #upload = null; // token of the upload, to give it up with
  #stop = null;
  #quarter = 0;
  #loss = new Loss();
  #quiet = 0; // until when another loss is only shown, and not said

  constructor(owner, file) {
    this.owner = owner;
    this.file = file;
    const id = `storages-upload-${++made}`;
    this.item = element("li", "storages-upload-file");
    this.label = element("bdi", "storages-upload-name", file.name);
    this.label.id = `${id}-name`;
    this.size = element("span", "storages-upload-size", owner.bytes(file.size));
    this.bar = element("progress", "storages-upload-progress");
    this.bar.max = 100;
    this.bar.value = 0;
    this.bar.setAttribute("aria-labelledby", this.label.id);
    this.percent = element("span", "storages-upload-percent");
    this.percent.setAttribute("aria-hidden", "true"); // the bar says it
    this.note = element("span", "storages-upload-note"); // what the tick shows
    this.again = button(owner.text("retry"), () => this.retry());
    this.button = button("", () => this.pressed());
    this.error = element("p", "storages-upload-error");
    this.error.id = `${id}-error`;
    this.error.setAttribute("role", "alert");
    this.again.setAttribute("aria-describedby", `${this.label.id} ${this.error.id}`);
    this.button.setAttribute("aria-describedby", this.error.id);
    this.item.append(this.label, this.note, this.size, this.bar, this.percent, this.again, this.button, this.error);
    this.#becomes("waiting");
  }

  get busy() {
    return this.state === "waiting" || this.state === "sending";
  }

  #becomes(state) {
    const { owner, file } = this;
    this.state = this.item.dataset.state = state;
    this.again.hidden = state !== "failed";
    this.bar.hidden = this.percent.hidden = !this.busy;
    this.note.textContent = state === "done" ? owner.text("done", { name: file.name }) : "";
    // One button all along, so that whoever is on it stays there.
    this.button.textContent = owner.text(this.busy ? "cancel_short" : "remove_short");
    this.button.setAttribute("aria-label", owner.text(this.busy ? "cancel" : "remove", { name: file.name }));
  }

  disable(disabled) {
    this.button.disabled = this.again.disabled = disabled;
  }

  has(token) {
    this.token = token;
    this.#becomes("done");
  }

  check() {
    const problem = this.owner.problemWith(this.file);
    if (problem) this.#fails(problem, true);
  }

  start() {
    if (this.state !== "waiting" || !this.owner.roomForMore()) return;
    this.#becomes("sending");
    this.#quarter = 0;
    this.#loss = new Loss();
    this.#say("uploading");
    this.#send();
  }

  async #send() {
    const stop = (this.#stop = new AbortController());
    try {
      const answer = await upload(this.file, {
        ...this.owner.options(stop.signal),
        onBegin: (begun) => this.#begins(begun),
        onProgress: (progress) => this.#moves(progress),
        onState: (state) => this.#tells(state),
      });
      if (stop.signal.aborted) return;
      this.has(answer.token);
      this.#say("done");
    } catch (error) {
      if (stop.signal.aborted) return;
      const word = WORDS[error.code] ?? "failed";
      this.#fails(this.#problem(word) + this.#number(error), FINAL.has(word));
      if (!(error instanceof UploadError)) reportError(error);
    }
    this.owner.changed();
  }

  // The page is told, but for the tokens.
  #begins({ upload, kind, parts, enforced, limits, state }) {
    this.#upload = upload;
    const { name, size } = this.file;
    const detail = { name, size, kind, parts, enforced, limits, resumed: state !== undefined };
    this.owner.dispatchEvent(new CustomEvent("storages-upload-begin", { detail, bubbles: true }));
  }

  #problem(word) {
    const limit = this.owner.getAttribute({ too_large: "max-size", too_small: "min-size" }[word] ?? "");
    const known = limit !== null || !word.startsWith("too_");
    return this.owner.text(known ? word : "rejected", { name: this.file.name, limit: this.owner.bytes(Number(limit)) });
  }

  // Under which the server's log has more: its own words are for developers, and in one language.
  #number({ detail }) {
    return / \([0-9a-f-]{36}\)$/.exec(detail ?? "")?.[0] ?? "";
  }

  #moves({ loaded, total }) {
    const percent = Math.floor((100 * loaded) / Math.max(total, 1));
    this.bar.value = percent;
    this.#loss.sees(loaded);
    this.item.toggleAttribute("data-retrying", this.#loss.lasts);
    if (this.#loss.lasts) return; // and what is shown of it stays
    this.percent.textContent = new Intl.NumberFormat(this.owner.language, { style: "percent" }).format(percent / 100);
    const quarter = Math.floor(percent / ANNOUNCED);
    if (quarter > this.#quarter && quarter < 100 / ANNOUNCED) this.#say("progress", quarter * ANNOUNCED);
    this.#quarter = Math.max(quarter, this.#quarter);
  }

  #tells(state) {
    if (state === "checksum" || state === "checking") this.bar.removeAttribute("value");
    if (state === "checking") this.#shows("checking");
    if (state === "waiting") this.#loses();
    if (state === "sending") this.#loss.triesAgain();
    if (state === "resumed") this.#say("resuming");
  }

  #loses() {
    if (!this.#loss.begins()) return;
    this.item.setAttribute("data-retrying", "");
    this.#shows("retrying");
    if (performance.now() < this.#quiet) return;
    this.#quiet = performance.now() + BETWEEN_LOSSES;
    this.#say("retrying");
  }

  #shows(key) {
    this.percent.textContent = this.owner.text(key, { name: this.file.name });
  }

  #say(key, percent) {
    this.owner.say(this.owner.text(key, { name: this.file.name, percent }));
  }

  #fails(problem, final) {
    this.#becomes("failed");
    this.owner.say("");
    this.error.textContent = problem;
    this.again.hidden = final;
  }

  retry() {
    this.error.textContent = "";
    this.button.focus(); // the one that was pressed goes away
    this.#becomes("waiting");
    this.owner.changed();
  }

  pressed() {
    const cancelled = this.busy;
    this.owner.remove(this);
    if (cancelled) this.#say("cancelled");
    else this.owner.say(""); // what it said may be of this file
  }

  stop() {
    this.#stop?.abort();
  }

  // Stop what is under way, and have what came of it deleted.
  leave() {
    this.stop();
    if (this.state === "done" && this.#upload) abort(this.#upload, this.owner.options());
    this.state = "gone";
  }
}

// That the connection is lost: until more has been sent than ever, or an attempt has lasted. The first bytes of each
// attempt only go into a buffer, and a percentage that comes and goes with them would tell nothing.
class Loss {
  lasts = false;
  #most = 0;
  #least = 0;
  #settled = 0;

  begins() {
    const isNew = !this.lasts;
    this.lasts = true;
    this.#least = this.#settled = Infinity;
    return isNew;
  }

  triesAgain() {
    this.#settled = performance.now() + SETTLES;
  }

  sees(loaded) {
    const lasted = loaded > this.#least && performance.now() > this.#settled;
    if (loaded > this.#most || lasted) this.lasts = false;
    this.#least = Math.min(this.#least, loaded);
    if (!this.lasts) this.#most = loaded;
  }
}

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text; // never markup: a file may have any name
  return made;
}

function button(text, pressed) {
  const made = element("button", "storages-upload-button", text);
  made.type = "button";
  made.addEventListener("click", pressed);
  return made;
}

// Keep what the page itself described the input with.
function describe(input, ours, id) {
  const others = (input.getAttribute("aria-describedby") ?? "").split(/\s+/).filter((other) => !isOurs(other));
  const all = [...others, ...(id ? [id] : [])].filter(Boolean).join(" ");
  if (all) input.setAttribute("aria-describedby", all);
  else input.removeAttribute("aria-describedby");
}

function isOurs(id) {
  return /^storages-upload-\d+-error$/.test(id);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function cookie(name) {
  const found = document.cookie.split("; ").find((pair) => pair.startsWith(`${name}=`));
  return found && decodeURIComponent(found.slice(name.length + 1));
}

customElements.define("storages-upload", StoragesUpload);
