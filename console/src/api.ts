// The one way to the server: calls that are typed by its own description, and errors that say what it said.
import { signal } from "@preact/signals";
import type { Operations } from "./openapi";

export type Name = keyof Operations;
export type Answer<N extends Name> = Operations[N]["answer"];
type Query = Record<string, string | number | boolean | undefined>;

export interface Options {
  path?: Record<string, string>;
  query?: Query;
  body?: unknown;
  form?: FormData;
  signal?: AbortSignal;
  headers?: Record<string, string>;
}

/** What a screen asked for, for its "curl". */
export interface Request {
  method: string;
  url: string;
  body?: string;
}

export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly field?: string,
    readonly detail: { piece?: string; line?: number; type?: string; message?: string; [name: string]: unknown } = {},
    readonly id = "",
  ) {
    super(message);
  }
}

/** Requests since the last change of screen, the newest of each path last. */
export const requests = signal<Request[]>([]);
/** Who is logged in; null: nobody; undefined: not known yet. */
export const session = signal<{ name: string; admin: boolean } | null | undefined>(undefined);

export function address(name: Name, options: Options = {}): string {
  const filled = name
    .slice(name.indexOf(" ") + 1)
    .replace(/\{(\w+)\}/g, (_, part: string) => encodeURIComponent(options.path?.[part] ?? ""));
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(options.query ?? {})) {
    if (value !== undefined && value !== "") query.set(key, String(value));
  }
  return query.size ? `${filled}?${query}` : filled;
}

function remember(one: Request) {
  const path = one.url.split("?")[0];
  const others = requests.value.filter((r) => r.method !== one.method || r.url.split("?")[0] !== path);
  requests.value = [...others, one].slice(-12);
}

/** The server's answer, and how many there are or where older ones begin, if it says so. */
export async function fetched(name: Name, options: Options = {}): Promise<{ answer: unknown; headers: Headers }> {
  const method = name.slice(0, name.indexOf(" "));
  const url = address(name, options);
  const body = options.form ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
  remember({ method, url, ...(typeof body === "string" && !url.startsWith("/login") ? { body } : {}) });
  const headers: Record<string, string> = { Accept: "application/json", ...options.headers };
  if (typeof body === "string") headers["Content-Type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(url, { method, headers, body, signal: options.signal, credentials: "same-origin" });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError("The server cannot be reached. What you typed is kept; try again.", 0);
  }
  const text = await response.text();
  const kind = response.headers.get("Content-Type") ?? "";
  const answer: unknown = kind.includes("json") && text ? JSON.parse(text) : text;
  if (!response.ok) throw await failed(response, answer);
  return { answer, headers: response.headers };
}

async function failed(response: Response, answer: unknown): Promise<ApiError> {
  const said = (answer ?? {}) as Record<string, unknown>;
  const inner = said.error;
  const id = response.headers.get("X-Request-Id") ?? "";
  const own = !response.url.endsWith("/login") && !response.url.endsWith("/user/password");
  // Whose login is over is told from whose experiment it is not.
  if (response.status === 401 && own && session.value && !(await loggedIn())) session.value = null;
  if (inner && typeof inner === "object") {
    const { message, field, detail } = inner as { message: string; field?: string; detail?: object };
    return new ApiError(message, response.status, field, { ...detail }, id);
  }
  if (typeof inner === "string") return new ApiError(inner, response.status, undefined, {}, id);
  const message = typeof said.message === "string" ? said.message : `The server answered ${response.status}.`;
  const cause = (said.fault as { cause?: { file?: string; line?: number } } | undefined)?.cause;
  return new ApiError(message, response.status, undefined, { piece: cause?.file, line: cause?.line }, id);
}

/** Ask the server. Rejects with an ApiError. */
export async function call<N extends Name>(name: N, options: Options = {}): Promise<Answer<N>> {
  return (await fetched(name, options)).answer as Answer<N>;
}

const KEPT = "streamsim.user";

async function loggedIn(): Promise<boolean> {
  return (await fetch("/user/token", { headers: { Accept: "application/json" } })).ok;
}

/** Whether the cookie of an earlier visit still counts. */
export async function resume(): Promise<void> {
  const kept = localStorage.getItem(KEPT);
  // Without an earlier login nothing is asked: the answer would be a failed request.
  session.value = kept && (await loggedIn().catch(() => false)) ? JSON.parse(kept) : null;
}

export async function logIn(username: string, password: string): Promise<void> {
  const answer = await call("POST /login", { body: { username, password } });
  const user = { name: answer.username, admin: answer.admin };
  localStorage.setItem(KEPT, JSON.stringify(user));
  session.value = user;
}

export async function logOut(): Promise<void> {
  await call("POST /logout");
  localStorage.removeItem(KEPT);
  session.value = null;
}

/** Follow a job to its end. Rejects if it fails or is cancelled. */
export function follow<T>(id: string, progress: (done: number, total: number) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const events = new EventSource(`/jobs/${encodeURIComponent(id)}/events`);
    events.addEventListener("progress", (event) => {
      const { progress: at } = JSON.parse(event.data) as { progress: { done: number; total: number } };
      progress(at.done, at.total);
    });
    events.addEventListener("end", () => {
      events.close();
      call("GET /jobs/{job}", { path: { job: id } }).then((job) => {
        const ended = job as { state: string; result?: T; error?: { message?: string; detail?: object } };
        if (ended.state === "done") resolve(ended.result as T);
        else reject(new ApiError(ended.error?.message ?? `The job is ${ended.state}.`, 0, undefined, { ...ended.error?.detail }));
      }, reject);
    });
  });
}
