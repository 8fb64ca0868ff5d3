// What another front end makes of client.d.ts: all of it, with the mistakes that a compiler has to find. Never run.

import {
  abort,
  KINDS,
  upload,
  UploadError,
  type BeginDetail,
  type Begun,
  type Enforced,
  type Finished,
  type Kind,
  type Progress,
  type ServerOptions,
  type State,
  type UploadOptions,
} from "../../../storages/uploads/static/storages_uploads/client.js";

const server: ServerOptions = { endpoint: "/uploads/", headers: { Authorization: "Token 1" } };
const words: Record<State, string> = {
  checksum: "reading",
  resumed: "going on",
  sending: "sending",
  waiting: "waiting",
  checking: "checking",
};

export async function send(file: File, slot: string, bar: HTMLProgressElement): Promise<string | null> {
  const stop = new AbortController();
  let token: string | undefined;
  const options: UploadOptions = {
    ...server,
    csrf: () => document.querySelector<HTMLInputElement>("[name=csrfmiddlewaretoken]")?.value,
    slot,
    field: "cinema.Film.file",
    onProgress: ({ loaded, total }: Progress) => (bar.value = loaded / total),
    onState: (state) => (bar.title = words[state]),
    onBegin: (begun: Begun) => {
      token = begun.upload;
      console.log(begun.kind, begun.expires, begun.parts?.count, begun.parts?.checksums, begun.limits?.max_size);
      if (begun.state) console.log(begun.state);
    },
    signal: stop.signal,
    resume: true,
    scope: "film",
    checksum: false,
    accepts: KINDS.filter((kind) => kind !== "tus"),
    retries: 3,
    backoff: 100,
  };
  addEventListener("offline", () => stop.abort());
  try {
    return taken(await upload(file, options));
  } catch (error) {
    if (!(error instanceof UploadError)) throw error;
    const { code, detail, field, status, retryable, retryAfter } = error;
    console.warn(code, detail || error.message, field ?? "", status.toFixed(), retryAfter ?? 0);
    if (!retryable && token) await abort(token, server);
    return null;
  }
}

function taken(finished: Finished): string {
  const digest: string | undefined = finished.checksum?.value;
  console.log(finished.name, finished.size.toFixed(), finished.content_type, finished.expires, digest);
  return `storages-upload:${finished.token}`;
}

addEventListener("storages-upload-begin", (event) => {
  const { name, size, resumed, kind, parts, enforced } = (event as CustomEvent<BeginDetail>).detail;
  console.log(name, size.toFixed(), resumed ? "again" : "", label(kind), parts?.concurrency, parts?.batch, said(enforced));
});

function label(kind: Kind): string {
  switch (kind) {
    case "post":
    case "put":
    case "link":
      return "at once";
    case "multipart":
    case "resumable":
    case "blocks":
    case "tus":
      return "in parts";
    default:
      return kind satisfies never; // there is no other kind
  }
}

function said(enforced?: Enforced): boolean {
  return enforced?.key === "signed" && enforced.size !== "finish" && enforced.overwrite !== "promote";
}

// Mistakes: a line that compiles all the same is an error of its own.

export async function mistakes(file: File, finished: Finished, error: UploadError): Promise<void> {
  // @ts-expect-error: without a slot
  await upload(file, server);
  // @ts-expect-error: not a file
  await upload("film.mov", { ...server, slot: "" });
  // @ts-expect-error: an option that there is not
  await upload(file, { ...server, slot: "", onprogress: () => {} });
  // @ts-expect-error: a kind that there is not
  await upload(file, { ...server, slot: "", accepts: ["ftp"] });
  // @ts-expect-error: the server's part alone has no progress
  await abort("token", { ...server, onProgress: () => {} });
  // @ts-expect-error: there may be no checksum
  finished.checksum.value.trim();
  // @ts-expect-error: the token is a text
  const token: number = finished.token;
  // @ts-expect-error: what was answered stays
  error.code = "";
  // @ts-expect-error: so do the kinds
  KINDS.push("post");
  console.log(token);
}
