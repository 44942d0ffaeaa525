// Addresses are states: what stands behind # names the screen, and the query its filters.
import { signal } from "@preact/signals";
import { requests } from "./api";

export interface Route {
  path: string[];
  query: URLSearchParams;
}

function read(): Route {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { path: path.split("/").filter(Boolean).map(decodeURIComponent), query: new URLSearchParams(query) };
}

export const route = signal<Route>(read());
/** A screen with unsaved changes says so here; leaving asks first. */
export const unsaved = signal<string | null>(null);
let last = location.hash;

function changed() {
  if (location.hash === last) return;
  const leaves = location.hash.split("?")[0] !== last.split("?")[0];
  if (leaves && unsaved.value && !confirm(`${unsaved.value}\nIt is kept in this browser. Leave?`)) {
    history.replaceState(null, "", last || "#/");
    return;
  }
  last = location.hash;
  if (leaves) {
    unsaved.value = null;
    requests.value = [];
  }
  route.value = read();
}

addEventListener("hashchange", changed);
addEventListener("beforeunload", (event) => {
  if (unsaved.value) event.preventDefault();
});

export function href(path: string[], query: Record<string, string> = {}): string {
  const said = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== ""));
  return `#/${path.map(encodeURIComponent).join("/")}${said.size ? `?${said}` : ""}`;
}

export function go(path: string[], query: Record<string, string> = {}): void {
  location.hash = href(path, query);
}

/** Change filters of this screen, without a step in the history. */
export function filter(changes: Record<string, string>): void {
  const query = { ...Object.fromEntries(route.value.query), ...changes };
  history.replaceState(null, "", href(route.value.path, query));
  last = location.hash;
  route.value = read();
}
