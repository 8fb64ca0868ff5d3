/** The kinds of upload that this client can do. */
export type Kind = "post" | "put" | "multipart" | "resumable" | "blocks" | "link" | "tus";

export declare const KINDS: readonly Kind[];

/** What the upload is doing; "waiting": for the network, or before another attempt. */
export type State = "checksum" | "resumed" | "sending" | "waiting" | "checking";

export interface Progress {
  /** Bytes that have arrived or are on their way. Falls when an attempt is lost. */
  loaded: number;
  /** Bytes of the file. */
  total: number;
}

/** What the storage itself refuses, as the server tells it. */
export interface Enforced {
  key: "signed";
  size: "exact" | "range" | "finish";
  type: "signed" | "finish";
  checksum: "signed" | "finish" | "none";
  overwrite: "denied" | "promote" | "pin";
}

export interface Begun {
  /** Token of the upload: a secret of this page, for `abort`. */
  upload: string;
  kind: Kind;
  /** ISO 8601. */
  expires: string;
  /** Of kinds that take parts. Sizes in bytes. `checksums`: the storage compares the SHA-256 of every part. */
  parts?: { size: number; count: number; concurrency: number; batch: number; checksums?: boolean };
  enforced?: Enforced;
  limits?: { min_size: number; max_size: number | null; types: string[] };
  /** Of an upload that is gone on with. */
  state?: string;
}

export interface Finished {
  /** Goes into the form as `storages-upload:<token>`, into JSON as it is. */
  token: string;
  name: string;
  /** Bytes. */
  size: number;
  content_type: string;
  /** Null where none was asked for; the value is in base64. */
  checksum: { algorithm: "sha256"; value: string } | null;
  /** ISO 8601: until then a form can take the file. */
  expires: string;
}

export interface ServerOptions {
  /** Where the app is mounted: "/uploads/". */
  endpoint: string;
  /** Django's CSRF token, sent to the endpoint only. */
  csrf?: string | (() => string | undefined);
  /** More headers for the endpoint: Authorization. */
  headers?: Record<string, string>;
}

export interface UploadOptions extends ServerOptions {
  /** Token that allows uploads for one field. */
  slot: string;
  /** "app.Model.field": lets a slot be renewed that has expired. */
  field?: string;
  onProgress?: (progress: Progress) => void;
  onState?: (state: State) => void;
  /** When the upload was begun, or is gone on with. */
  onBegin?: (begun: Begun) => void;
  /** Cancels: what has arrived is deleted, and the promise is rejected with the signal's reason. */
  signal?: AbortSignal;
  /** Go on with an upload of the same file that an earlier page began. Default: true. */
  resume?: boolean;
  /** Uploads of the same file are told apart by this. Default: the page's path. */
  scope?: string;
  /** Send the SHA-256 at once; without it, only where the server asks for it. Reads the whole file into memory. */
  checksum?: boolean;
  /** Kinds to choose from. Default: all. */
  accepts?: readonly Kind[];
  /** Attempts after the first, of one request. Default: 8. */
  retries?: number;
  /** The first pause is up to this many milliseconds; each further one up to twice as many. Default: 500. */
  backoff?: number;
}

/**
 * Why an upload failed. `code` is one of the protocol, or: network, storage, storage_refused, grant_over,
 * file_unreadable, checksum_unavailable, bad_answer, http_<status>.
 */
export declare class UploadError extends Error {
  readonly code: string;
  /** The server's sentence, for developers; empty where the error is the client's. */
  readonly detail: string;
  /** The member of the request that is wrong. */
  readonly field: string | null;
  /** HTTP status; 0 where there was no answer. */
  readonly status: number;
  /** Whether the same may succeed later. */
  readonly retryable: boolean;
  /** Seconds. */
  readonly retryAfter: number | null;
}

/** Upload a file and have it checked. Rejects with UploadError, or with the reason of `signal`. */
export declare function upload(file: File, options: UploadOptions): Promise<Finished>;

/** Give up an upload, also a finished one that no form has taken. Never rejects; survives the page. */
export declare function abort(upload: string, options: ServerOptions): Promise<void>;

/** Detail of `storages-upload-begin`, a bubbling CustomEvent of the element <storages-upload>. */
export interface BeginDetail extends Pick<Begun, "kind" | "parts" | "enforced" | "limits"> {
  name: string;
  /** Bytes. */
  size: number;
  resumed: boolean;
}
