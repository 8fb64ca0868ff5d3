// Uploads a file past the application, by the protocol of storages.uploads. Types: client.d.ts

export const KINDS = ["post", "put", "multipart", "resumable", "blocks", "link", "tus"];

const CHUNKED = new Set(["multipart", "resumable", "blocks", "tus"]); // what a later page can go on with
const STALL = 120_000; // milliseconds without a byte, after which a connection counts as lost
const LONGEST_PAUSE = 30_000; // milliseconds
const REFUSALS = 3; // of one part, with a fresh signature each
const TRANSIENT = new Set([408, 425, 429, 500, 502, 503, 504]);
const REFUSED = new Set([400, 401, 403]); // how clouds word an expired signature
const GONE = new Set(["upload_not_found", "upload_expired", "upload_aborted"]);
const ALIVE = new Set(["begun", "uploaded", "quarantined", "finished"]); // states of an upload
const SET_BY_BROWSER = new Set(["content-length", "host", "origin"]);
const PREFIX = "storages-uploads:"; // of keys in localStorage
const REMEMBERED = 50; // uploads
const SAMPLE = 64 * 1024; // bytes at each end of a file that tell it from others

export class UploadError extends Error {
  constructor(code, message, { detail = "", field = null, ...known } = {}) {
    super(detail || message || code);
    this.name = "UploadError";
    Object.assign(this, { code, detail, field, status: 0, retryable: false, retryAfter: null, ...known });
  }
}

export async function upload(file, options) {
  options.signal?.throwIfAborted();
  const scope = options.scope ?? location.pathname;
  const key = options.resume === false ? null : PREFIX + (await fingerprint(file, `${options.endpoint} ${scope}`));
  return alone(key, (owned) => new Session(file, options, owned ? key : null).run());
}

class Session {
  constructor(file, options, key) {
    this.file = file;
    this.key = key;
    this.options = options;
    this.api = new Api(options);
    this.retries = options.retries ?? 8;
    this.backoff = options.backoff ?? 500; // milliseconds
    this.restarts();
    this.token = null;
    this.over = false; // all bytes are there: only to be finished
    this.inherited = []; // parts that an earlier page has sent
    this.confirmed = 0; // bytes that have arrived for certain
    this.moving = new Map(); // bytes on their way, by part
  }

  async run() {
    const cancel = () => this.stop.abort(this.options.signal.reason);
    const leave = (event) => event.persisted || this.leave();
    this.options.signal?.addEventListener("abort", cancel, { once: true });
    addEventListener("pagehide", leave);
    try {
      return await this.sent();
    } catch (error) {
      this.stop.abort(error);
      if (this.options.signal?.aborted || !this.resumable || isRefused(error)) this.giveUp();
      throw this.options.signal?.aborted ? this.options.signal.reason : error;
    } finally {
      this.options.signal?.removeEventListener("abort", cancel);
      removeEventListener("pagehide", leave);
    }
  }

  restarts() {
    this.stop = new AbortController();
    this.signal = this.stop.signal;
  }

  get resumable() {
    return this.key !== null && CHUNKED.has(this.kind);
  }

  async sent() {
    if (await this.picksUp()) {
      try {
        return await this.finished();
      } catch (error) {
        if (isOfAnother(error)) this.giveUp();
        else if (GONE.has(error.code)) forget(this.key);
        else throw error;
        this.restarts();
      }
    }
    return this.begunAndFinished();
  }

  // A grant for one request dies with it: after its end, and after each failure of a link, a new one.
  async begunAndFinished() {
    for (let again = 0; ; again++) {
      await this.begin();
      try {
        return await this.finished();
      } catch (error) {
        const anew = error.code === "grant_over" || (this.kind === "link" && error.retryable);
        if (!anew || again >= (this.kind === "link" ? this.retries : REFUSALS)) throw error;
        this.giveUp();
        await this.pause(again, error.retryAfter);
      }
    }
  }

  async begin() {
    this.token = null;
    this.inherited = [];
    const question = {
      slot: this.options.slot,
      filename: this.file.name,
      size: this.file.size,
      content_type: this.file.type || "application/octet-stream",
      accepts: this.options.accepts ?? KINDS,
    };
    if (this.options.checksum) question.checksum = await this.checksum();
    if (globalThis.crypto?.subtle) question.part_checksums = true;
    let answer;
    try {
      answer = await this.asks("begin", question);
    } catch (error) {
      const amended = await this.amended(question, error);
      answer = await this.asks("begin", amended);
    }
    this.takes(answer.body);
    this.token = answer.body.upload;
    this.arrived([]);
    if (this.resumable) remember(this.key, this.token);
    this.options.onBegin?.(answer.body);
  }

  async amended(question, error) {
    if (error.field === "checksum" && !question.checksum) return { ...question, checksum: await this.checksum() };
    if (error.code === "slot_expired" && this.options.field) {
      const { body } = await this.asks("slot", { field: this.options.field });
      this.options.slot = body.slot;
      return { ...question, slot: body.slot };
    }
    throw error;
  }

  async checksum() {
    this.tells("checksum");
    return { algorithm: "sha256", value: await sha256(this.file) };
  }

  takes({ kind, request, parts }) {
    if (!(kind in SENDERS)) throw new UploadError("kind_not_supported", `Unknown kind of upload: ${kind}`);
    this.kind = kind;
    this.request = request ?? null;
    this.parts = parts ?? null;
  }

  // Go on with what an earlier page began, if the server still knows it.
  async picksUp() {
    const token = this.key && recall(this.key);
    if (!token) return false;
    let known;
    try {
      known = (await this.asks("status", { upload: token })).body;
      if (!ALIVE.has(known.state)) throw new UploadError("upload_expired");
      this.takes(known);
    } catch (error) {
      if (error.retryable) throw error;
      forget(this.key);
      return false;
    }
    this.token = token;
    this.arrived(known.received ?? [], known.offset);
    this.inherited = [...this.received.keys()];
    this.over = known.state !== "begun";
    if (this.over) this.confirmed = this.file.size;
    this.options.onBegin?.({ ...known, upload: token });
    this.tells("resumed");
    return true;
  }

  arrived(received, offset) {
    this.received = new Map(received.map(({ number, size }) => [number, size]));
    this.confirmed = offset ?? received.reduce((sum, { size }) => sum + size, 0);
    this.moving.clear();
    this.reports();
  }

  async finished() {
    for (let again = 0; ; again++) {
      this.tells("sending");
      if (!this.over) await SENDERS[this.kind](this);
      this.over = false;
      try {
        const answer = await this.checked();
        if (this.key) forget(this.key);
        return answer;
      } catch (error) {
        if (error.code !== "parts_missing" || again >= REFUSALS || !CHUNKED.has(this.kind)) throw error;
        await this.refreshes();
      }
    }
  }

  async refreshes() {
    const { body } = await this.asks("status", { upload: this.token });
    this.arrived(body.received ?? [], body.offset);
    return body;
  }

  async checked() {
    this.tells("checking");
    for (;;) {
      const { status, body } = await this.asks("finish", { upload: this.token });
      if (status !== 202) return body;
      await sleep(1000 * (body.retry_after ?? 2), this.signal);
    }
  }

  asks(verb, question) {
    return this.patiently(() => this.api.call(verb, question, { signal: this.signal }));
  }

  async patiently(task) {
    for (let attempt = 0; ; attempt++) {
      try {
        return await task();
      } catch (error) {
        if (!error.retryable || error.code === "parts_missing" || attempt >= this.retries) throw error;
        await this.pause(attempt, error.retryAfter);
      }
    }
  }

  // Full jitter: clients that failed together do not come back together.
  async pause(attempt, retryAfter) {
    this.tells("waiting");
    const longest = Math.min(LONGEST_PAUSE, this.backoff * 2 ** attempt);
    await sleep(Math.max(Math.random() * longest, 1000 * (retryAfter ?? 0)), this.signal);
    await online(this.signal);
    this.tells("sending");
  }

  tells(state) {
    if (state !== this.state) this.options.onState?.((this.state = state));
  }

  reports() {
    let loaded = this.confirmed;
    for (const bytes of this.moving.values()) loaded += bytes;
    this.options.onProgress?.({ loaded: Math.min(loaded, this.file.size), total: this.file.size });
  }

  // Send one piece, and count it while it moves.
  async sends(request, body, { number = 1, xhr } = {}) {
    const moved = (bytes) => {
      this.moving.set(number, bytes);
      this.reports();
    };
    try {
      return await transfer(xhr ?? (await quietRequest()), request, body, { moved, signal: this.signal });
    } catch (error) {
      if (error.code === "network") await this.readable();
      throw error;
    } finally {
      this.moving.delete(number);
    }
  }

  // A file that was changed or removed since it was chosen looks like a broken network.
  async readable() {
    await bytesOf(this.file.slice(0, 1));
  }

  leave() {
    if (!this.resumable) this.aborts();
  }

  giveUp() {
    if (this.key) forget(this.key);
    this.aborts();
  }

  aborts() {
    const token = this.token;
    this.token = null;
    if (token) abort(token, this.options);
  }
}

// Tell the server that an upload is not wanted any more. Survives the page that calls it, and never fails.
export async function abort(token, options) {
  await new Api(options).call("abort", { upload: token }, { keepalive: true }).catch(() => {});
}

// Somebody has answered. Whatever else goes wrong, such as in a page that is being left, a later page can go on.
function isRefused({ status, retryable }) {
  return status > 0 && !retryable;
}

// The file that is gone on with is not the one that was begun.
function isOfAnother({ code, field }) {
  return code === "checksum_mismatch" && field === "checksums";
}

async function sha256(blob) {
  if (!globalThis.crypto?.subtle) {
    throw new UploadError("checksum_unavailable", "A checksum can only be computed on a page that came by HTTPS.");
  }
  const digest = await crypto.subtle.digest("SHA-256", await bytesOf(blob));
  return btoa(String.fromCharCode(...new Uint8Array(digest)));
}

async function bytesOf(blob) {
  try {
    return await blob.arrayBuffer();
  } catch {
    throw new UploadError("file_unreadable", "The file cannot be read any more; choose it again.");
  }
}

// One file in one request

async function sendWhole(session) {
  const { request, file, kind } = session;
  const body = kind === "post" ? filledForm(request, file) : file.slice();
  const answer = await session[kind === "link" ? "once" : "patiently"](() => answered(session.sends(request, body)));
  session.confirmed = file.size;
  return answer;
}

Session.prototype.once = (task) => task();

function filledForm(request, file) {
  const form = new FormData();
  for (const [name, value] of Object.entries(request.fields)) form.append(name, value);
  form.append(request.file_field ?? "file", file); // last: S3 ignores what follows it
  return form;
}

async function answered(sending) {
  const answer = await sending;
  // 412, 409: an attempt whose answer was lost has made the object, and nothing can replace it.
  if (answer.ok || answer.status === 412 || answer.status === 409) return answer;
  throw refusal(answer, "grant_over");
}

function refusal({ status, header }, over) {
  if (REFUSED.has(status)) return new UploadError(over, "The storage refused the file.", { status });
  const retryable = TRANSIENT.has(status);
  return new UploadError("storage", "The storage could not take the file.", {
    status,
    retryable,
    retryAfter: seconds(header("Retry-After")),
  });
}

// Parts, in any order, several at once

async function sendParts(session) {
  const { count, concurrency = 3 } = session.parts;
  const queue = [];
  for (let number = 1; number <= count; number++) {
    if (session.received.get(number) !== partOf(session, number).size) queue.push(number);
  }
  const links = new Links(session, queue);
  const work = async () => {
    while (queue.length) await sendPart(session, links, queue.shift());
  };
  const workers = Array.from({ length: Math.min(concurrency, queue.length) }, work);
  if (session.parts.checksums) workers.push(links.compare(session.inherited.splice(0)));
  try {
    await Promise.all(workers);
  } catch (error) {
    queue.length = 0;
    session.stop.abort(error);
    await Promise.allSettled(workers);
    throw error;
  }
}

function partOf({ file, parts }, number) {
  const start = (number - 1) * parts.size;
  return file.slice(start, Math.min(start + parts.size, file.size));
}

async function sendPart(session, links, number) {
  const body = partOf(session, number);
  for (let refused = 0; ; refused++) {
    const answer = await session.patiently(async () => {
      const answer = await session.sends(await links.of(number), body, { number });
      if (!answer.ok && !REFUSED.has(answer.status)) throw await gone(session, answer);
      return answer;
    });
    if (answer.ok) break;
    links.drop(number);
    if (refused >= REFUSALS) throw refusal(answer, "storage_refused");
    if (refused) await session.pause(refused);
  }
  session.confirmed += body.size;
  session.received.set(number, body.size);
  session.reports();
}

// 404: the cloud has given the upload up. The server knows why.
async function gone(session, answer) {
  if (answer.status === 404) {
    const { body } = await session.asks("status", { upload: session.token });
    if (body.state !== "begun") return new UploadError("upload_expired", "The upload is over.");
  }
  return refusal(answer);
}

// The signatures for parts: asked for in batches, and shortly before they are used.
class Links {
  constructor(session, queue) {
    Object.assign(this, { session, queue, known: new Map(), wanted: new Set(), asking: Promise.resolve() });
  }

  of(number) {
    this.wanted.add(number);
    this.asking = this.asking.catch(() => {}).then(() => this.fresh(number) ?? this.asked(number));
    return this.asking.finally(() => this.wanted.delete(number));
  }

  fresh(number) {
    const link = this.known.get(number);
    return link && performance.now() < link.until ? link : null;
  }

  drop(number) {
    this.known.delete(number);
  }

  async asked(number) {
    const { batch = 16, concurrency = 3, checksums } = this.session.parts;
    const most = Math.max(1, checksums ? Math.min(batch, concurrency) : batch); // each is read before the first is sent
    const next = [...this.wanted, ...this.queue].filter((other) => other !== number && !this.fresh(other));
    const numbers = [number, ...next.slice(0, most - 1)];
    const question = { upload: this.session.token, numbers };
    if (checksums) question.checksums = await this.sums(numbers);
    const { body, served } = await this.session.asks("parts", question);
    for (const part of body.parts) this.known.set(part.number, { ...part, until: until(part.expires, served) });
    return this.known.get(number);
  }

  // The server signs a part with its first checksum only, and so tells whether this is still the file.
  async compare(numbers) {
    while (numbers.length) {
      const some = numbers.splice(0, this.session.parts.batch ?? 16);
      await this.session.asks("parts", { upload: this.session.token, numbers: some, checksums: await this.sums(some) });
    }
  }

  // One after the other, so that one part is in memory; anew each time, so that a change of the file is found.
  async sums(numbers) {
    const sums = {};
    for (const number of numbers) {
      this.session.signal.throwIfAborted();
      sums[number] = await sha256(partOf(this.session, number));
    }
    return sums;
  }
}

// The browser's clock may be wrong, so an expiry is compared with the server's own.
function until(expires, served) {
  const life = Date.parse(expires) - served;
  return Number.isFinite(life) ? performance.now() + life * 0.9 : Infinity;
}

// Bytes in order, to a session of the cloud (resumable) or to our own server (tus)

async function sendInOrder(session, piece, arrived) {
  const { size } = session.file;
  for (let failures = 0; session.confirmed < size; ) {
    const before = session.confirmed;
    let problem = null;
    try {
      problem = await piece();
    } catch (error) {
      if (!error.retryable) throw error;
      problem = error;
    }
    if (problem) {
      await session.pause(failures, problem.retryAfter);
      session.confirmed = await arrived();
    }
    failures = session.confirmed > before ? 0 : failures + 1;
    session.reports();
    if (failures > session.retries) throw problem ?? new UploadError("storage", "The storage takes no more bytes.");
  }
}

function sendResumable(session) {
  const piece = async () => {
    const { body } = await session.asks("parts", { upload: session.token, numbers: [1] });
    const [part] = body.parts;
    const { start, end, headers } = rangeOf(session, part);
    const answer = await session.sends({ ...part, headers }, session.file.slice(start, end));
    if (answer.ok) session.confirmed = session.file.size;
    else if (answer.status === 308) session.confirmed = held(answer) ?? (await offset());
    else return refusal(answer, "storage_refused");
  };
  const offset = async () => (await session.refreshes()).offset ?? session.confirmed;
  return sendInOrder(session, piece, offset);
}

// Where the bucket's CORS rules show this header; else the server is asked.
function held(answer) {
  const range = /^bytes=0-(\d+)$/.exec(answer.header("Range") ?? "");
  return range && Number(range[1]) + 1;
}

function rangeOf({ file, confirmed }, part) {
  const headers = { ...part.headers };
  const name = Object.keys(headers).find((name) => name.toLowerCase() === "content-range");
  const said = /(\d+)-(\d+)\//.exec(headers[name] ?? "");
  if (said) return { start: Number(said[1]), end: Number(said[2]) + 1, headers };
  const start = part.offset ?? confirmed;
  const end = Math.min(file.size, start + (part.size || file.size));
  headers["Content-Range"] = `bytes ${start}-${end - 1}/${file.size}`;
  return { start, end, headers };
}

function sendTus(session) {
  const { url, headers } = session.request;
  const ours = new URL(url, location.href).origin === new URL(session.options.endpoint, location.href).origin;
  const common = { "Tus-Resumable": "1.0.0", ...headers, ...(ours ? session.api.headers() : {}) };
  const piece = async () => {
    const start = session.confirmed;
    const body = session.file.slice(start, start + (session.parts?.size || session.file.size));
    const own = { "Content-Type": "application/offset+octet-stream", "Upload-Offset": String(start) };
    const answer = await session.sends(
      { method: "PATCH", url, headers: { ...common, ...own } },
      body,
      { xhr: new XMLHttpRequest() },
    );
    if (answer.ok) session.confirmed = Number(answer.header("Upload-Offset") ?? start + body.size);
    else if (answer.status === 409 || answer.status === 460 || TRANSIENT.has(answer.status)) return refusal(answer);
    else throw answerError(answer.status, parsed(answer.text), answer.header("Retry-After"));
  };
  const offset = async () => {
    const { "Content-Type": _, ...asking } = common;
    const init = { method: "HEAD", headers: asking, credentials: "same-origin", signal: session.signal };
    const answer = await fetched(url, init);
    if (!answer.ok) throw answerError(answer.status, null, answer.headers.get("Retry-After"));
    return Number(answer.headers.get("Upload-Offset"));
  };
  return sendInOrder(session, piece, () => session.patiently(offset));
}

const SENDERS = {
  post: sendWhole,
  put: sendWhole,
  link: sendWhole,
  multipart: sendParts,
  blocks: sendParts,
  resumable: sendResumable,
  tus: sendTus,
};

// Our own server

class Api {
  constructor({ endpoint, csrf, headers }) {
    this.endpoint = endpoint.endsWith("/") ? endpoint : `${endpoint}/`;
    this.csrf = csrf;
    this.extra = headers;
  }

  headers() {
    const csrf = typeof this.csrf === "function" ? this.csrf() : this.csrf;
    return { ...this.extra, ...(csrf ? { "X-CSRFToken": csrf } : {}) };
  }

  async call(verb, question, { signal, keepalive = false } = {}) {
    const answer = await fetched(`${this.endpoint}${verb}/`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json", ...this.headers() },
      body: JSON.stringify(question),
      credentials: "same-origin",
      cache: "no-store",
      redirect: "error", // a login page is no answer, and the CSRF token is for nobody else
      signal,
      keepalive,
    });
    const body = parsed(await answer.text());
    if (!answer.ok) throw answerError(answer.status, body, answer.headers.get("Retry-After"));
    if (body === null && answer.status !== 204) throw new UploadError("bad_answer", "The server's answer is no JSON.");
    return { status: answer.status, body, served: Date.parse(answer.headers.get("Date")) };
  }
}

async function fetched(url, init) {
  try {
    return await fetch(url, init);
  } catch (error) {
    if (init.signal?.aborted) throw init.signal.reason;
    throw new UploadError("network", "The server cannot be reached.", { retryable: true });
  }
}

function answerError(status, body, retryAfter) {
  const { code, detail, field, retryable } = body?.error ?? {};
  return new UploadError(code ?? `http_${status}`, "The server did not take the file.", {
    status,
    detail,
    field,
    retryable: retryable ?? TRANSIENT.has(status),
    retryAfter: seconds(retryAfter),
  });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function seconds(value) {
  return value && Number.isFinite(Number(value)) ? Number(value) : null;
}

// The cloud. XMLHttpRequest: fetch() does not tell how much of a body has left.

function transfer(xhr, { method, url, headers = {} }, body, { moved, signal }) {
  return new Promise((resolve, reject) => {
    let watch;
    const lost = () => over(reject, new UploadError("network", "The connection broke.", { retryable: true }));
    const cancel = () => {
      over(reject, signal.reason);
      xhr.abort();
    };
    const alive = () => {
      clearTimeout(watch);
      watch = setTimeout(() => (lost(), xhr.abort()), STALL);
    };
    const over = (settle, value) => {
      clearTimeout(watch);
      signal.removeEventListener("abort", cancel);
      settle(value);
    };
    if (signal.aborted) return reject(signal.reason);
    signal.addEventListener("abort", cancel, { once: true });
    xhr.open(method, url);
    for (const [name, value] of Object.entries(headers)) {
      if (!SET_BY_BROWSER.has(name.toLowerCase())) xhr.setRequestHeader(name, value);
    }
    xhr.upload.addEventListener("progress", (event) => (alive(), moved(Math.min(event.loaded, body.size ?? Infinity))));
    xhr.addEventListener("error", lost);
    xhr.addEventListener("abort", lost);
    xhr.addEventListener("load", () => {
      const ok = xhr.status >= 200 && xhr.status < 300;
      over(resolve, { ok, status: xhr.status, text: xhr.responseText, header: (name) => xhr.getResponseHeader(name) });
    });
    alive();
    xhr.send(body);
  });
}

// Requests of an empty frame: about:blank is no address that a Referer could tell, whatever the policy of the page is.
// A request to another origin has no cookie by itself.
let frame = null;

async function quietRequest() {
  if (!frame?.isConnected) {
    frame = document.createElement("iframe");
    frame.hidden = true;
    document.documentElement.append(frame);
    if (frame.contentDocument?.readyState !== "complete") {
      await new Promise((resolve) => frame.addEventListener("load", resolve, { once: true }));
    }
  }
  return new frame.contentWindow.XMLHttpRequest();
}

// Time

function sleep(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const cancel = () => (clearTimeout(timer), reject(signal.reason));
    const timer = setTimeout(() => (signal.removeEventListener("abort", cancel), resolve()), milliseconds);
    signal.addEventListener("abort", cancel, { once: true });
  });
}

async function online(signal) {
  while (navigator.onLine === false) await sleep(250, signal);
}

// What survives a reload: the upload's token, under a fingerprint of the file

async function fingerprint(file, scope) {
  const ends = new Blob([file.slice(0, SAMPLE), file.slice(-SAMPLE)]);
  const known = new TextEncoder().encode([scope, file.name, file.size, file.type, file.lastModified].join("\n"));
  const sample = new Uint8Array(await bytesOf(ends));
  return hash([known, sample], 0x811c9dc5) + hash([known, sample], 0x01234567);
}

// FNV-1a: it only has to tell files apart, and crypto.subtle is not there without HTTPS.
function hash(pieces, seed) {
  let state = seed;
  for (const bytes of pieces) for (const byte of bytes) state = Math.imul(state ^ byte, 0x01000193);
  return (state >>> 0).toString(16).padStart(8, "0");
}

const memory = new Map(); // where the browser keeps nothing, this page still can

function remember(key, token) {
  memory.set(key, token);
  try {
    const keys = Object.keys(localStorage).filter((other) => other.startsWith(PREFIX));
    for (const old of keys.slice(0, Math.max(0, keys.length - REMEMBERED + 1))) localStorage.removeItem(old);
    localStorage.setItem(key, token);
  } catch {
    // Full, or not allowed.
  }
}

function recall(key) {
  try {
    return localStorage.getItem(key) ?? memory.get(key);
  } catch {
    return memory.get(key);
  }
}

function forget(key) {
  memory.delete(key);
  try {
    localStorage.removeItem(key);
  } catch {
    // Not allowed.
  }
}

// One upload is sent by one tab at a time; whoever comes second begins one of its own.
const active = new Set();

async function alone(key, task) {
  if (key === null || active.has(key)) return task(false);
  active.add(key);
  try {
    if (!navigator.locks) return await task(true);
    return await navigator.locks.request(key, { ifAvailable: true }, (lock) => task(lock !== null));
  } finally {
    active.delete(key);
  }
}
