// The parts that all screens are made of.
import type { ComponentChildren, TargetedEvent, TargetedInputEvent } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { ApiError } from "./api";
import { ago, csv, save } from "./values";

export interface Loaded<T> {
  data: T | undefined;
  error: unknown;
  loading: boolean;
  reload: () => void;
}

/** What a function answers, anew whenever something it depends on changes. `of` says what it is of: what was answered of another
 * thing is gone at once, so that nobody acts on it. When one of `newer` changes, the answer before stays till the next has come. */
export function useLoad<T>(load: (signal: AbortSignal) => Promise<T>, of: unknown[], newer: unknown[] = []): Loaded<T> {
  const key = JSON.stringify(of);
  const [state, set] = useState<{ key: string; data?: T; error?: unknown; loading: boolean }>({ key, loading: true });
  const [again, setAgain] = useState(0);
  useEffect(() => {
    const control = new AbortController();
    set((old) => ({ key, data: old.key === key ? old.data : undefined, loading: true }));
    load(control.signal).then(
      (data) => control.signal.aborted || set({ key, data, loading: false }),
      (error) => control.signal.aborted || set((old) => ({ ...old, error, loading: false })),
    );
    return () => control.abort();
  }, [key, ...newer, again]);
  const reload = () => setAgain((n) => n + 1);
  // What was loaded of another thing is no more, from the moment on at which this one is asked for.
  return state.key === key ? { data: state.data, error: state.error, loading: state.loading, reload } : { data: undefined, error: undefined, loading: true, reload };
}

/** Something that takes a while: runs once at a time, and keeps its error. */
export function useAct(): { busy: string; error: unknown; act: (what: string, work: () => Promise<unknown>) => Promise<boolean>; clear: () => void } {
  const [state, set] = useState<{ busy: string; error?: unknown }>({ busy: "" });
  const act = async (what: string, work: () => Promise<unknown>) => {
    set({ busy: what });
    try {
      await work();
      set({ busy: "" });
      return true;
    } catch (error) {
      set({ busy: "", error });
      return false;
    }
  };
  return { busy: state.busy, error: state.error, act, clear: () => set({ busy: "" }) };
}

/** Says what is waited for, once it takes longer than one notices. */
export function Waiting({ what, progress }: { what: string; progress?: { done: number; total: number } }) {
  const [seconds, set] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => set((s) => s + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  return (
    <p class="waiting" role="status">
      {progress && progress.total > 0 && <progress value={progress.done} max={progress.total} aria-label={what} />}
      {what}{seconds >= 2 ? `, for ${seconds} s` : "…"}
    </p>
  );
}

export function Failure({ error, retry }: { error: unknown; retry?: () => void }) {
  if (!error) return null;
  const known = error instanceof ApiError ? error : undefined;
  const { piece, line } = known?.detail ?? {};
  return (
    <div class="failure" role="alert">
      <p>{known?.field && <><code>{known.field}</code>: </>}{error instanceof Error ? error.message : String(error)}</p>
      {line !== undefined && <p class="quiet">{piece ? `${piece}, ` : ""}line {line}</p>}
      {known?.id && known.status >= 500 && <p class="quiet">request {known.id}</p>}
      {retry && <button type="button" onClick={retry}>Try again</button>}
    </div>
  );
}

/** What was loaded, or what is waited for, or why it is not there. */
export function Show<T>({ of, what, children }: { of: Loaded<T>; what: string; children: (data: T) => ComponentChildren }) {
  return (
    <>
      {of.error !== undefined && <Failure error={of.error} retry={of.reload} />}
      {of.data === undefined ? of.loading && <Waiting what={what} /> : children(of.data)}
    </>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <div class="empty">{children}</div>;
}

export function Time({ at }: { at: string | null | undefined }) {
  return at ? <time dateTime={at} title={at}>{ago(at)}</time> : <span class="quiet">never</span>;
}

export function Copy({ text, label = "Copy" }: { text: string; label?: string }) {
  const [done, set] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    set(true);
    setTimeout(() => set(false), 1500);
  };
  return <button type="button" class="small" onClick={copy} aria-live="polite">{done ? "Copied" : label}</button>;
}

interface Input {
  name?: string;
  type?: string;
  value?: string | number;
  min?: string | number;
  max?: string | number;
  step?: string | number;
  required?: boolean;
  autoComplete?: string;
  placeholder?: string;
  list?: string;
  onInput?: (event: TargetedInputEvent<HTMLInputElement>) => void;
  onChange?: (event: TargetedEvent<HTMLInputElement>) => void;
}

/** A labelled input; `error` is shown where the server named this field. */
export function Field({ label, hint, error, name, ...rest }: { label: string; hint?: string; error?: unknown } & Input) {
  const id = useId();
  const here = error instanceof ApiError && name !== undefined && error.field === name ? error.message : "";
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input id={id} name={name} aria-invalid={here ? true : undefined} aria-describedby={hint || here ? `${id}-h` : undefined} {...(rest as object)} />
      {(hint || here) && <p id={`${id}-h`} class={here ? "wrong" : "quiet"}>{here || hint}</p>}
    </div>
  );
}

export function Choice({ label, value, options, onChange, empty }: {
  label: string; value: string; options: readonly (string | [string, string])[]; onChange: (value: string) => void; empty?: string;
}) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select id={id} value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {empty !== undefined && <option value="">{empty}</option>}
        {options.map((one) => {
          const [key, text] = typeof one === "string" ? [one, one] : one;
          return <option key={key} value={key}>{text}</option>;
        })}
      </select>
    </div>
  );
}

export interface Column<R> {
  name: string;
  cell: (row: R) => ComponentChildren;
  number?: boolean;
  /** Sentences: it is never so narrow that they stand a word a line. */
  long?: boolean;
  /** What the cell is in a CSV. */
  data?: (row: R) => unknown;
}

export function Table<R>({ title, columns, rows, keyOf, file }: {
  title: string; columns: Column<R>[]; rows: R[]; keyOf: (row: R) => string; file?: string;
}) {
  const download = () =>
    save(`${file}.csv`, "text/csv", csv(columns.map((c) => c.name), rows.map((row) => columns.map((c) => c.data?.(row) ?? ""))));
  return (
    <div class={rows.length > 20 ? "scroll tall" : "scroll"} tabIndex={0} role="region" aria-label={title}>
      <table>
        <caption>{title}{file && rows.length > 0 && <button type="button" class="small" onClick={download} aria-label={`data of ${title}`}>data</button>}</caption>
        <thead><tr>{columns.map((c) => <th key={c.name} scope="col" class={c.number ? "number" : undefined}>{c.name}</th>)}</tr></thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)}>
              {columns.map((c) => <td key={c.name} class={c.number ? "number" : c.long ? "long" : undefined}>{c.cell(row)}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** A dialog that keeps the focus, and gives it back. */
export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = ref.current!;
    const before = document.activeElement as HTMLElement | null;
    dialog.showModal();
    return () => {
      dialog.close();
      before?.focus();
    };
  }, []);
  return (
    <dialog ref={ref} aria-labelledby={id} onClose={onClose} onCancel={onClose}>
      <header><h2 id={id}>{title}</h2><button type="button" class="small" onClick={onClose}>Close</button></header>
      {children}
    </dialog>
  );
}

/** A button for what cannot be taken back: asks for the name of the thing first. */
export function Destroy({ label, name, about, act }: { label: string; name: string; about: string; act: () => Promise<unknown> }) {
  const [open, set] = useState(false);
  const [typed, setTyped] = useState("");
  const doing = useAct();
  const submit = async (event: Event) => {
    event.preventDefault();
    if (typed === name && (await doing.act(label, act))) set(false);
  };
  return (
    <>
      <button type="button" class="danger" onClick={() => { setTyped(""); set(true); }}>{label}</button>
      {open && (
        <Dialog title={`${label}: ${name}`} onClose={() => set(false)}>
          <form onSubmit={submit}>
            <p>{about}</p>
            <Field label={`Type ${name} to confirm`} value={typed} autoComplete="off" onInput={(e) => setTyped(e.currentTarget.value)} />
            <Failure error={doing.error} />
            <button class="danger" disabled={typed !== name || doing.busy !== ""}>{label}</button>
          </form>
        </Dialog>
      )}
    </>
  );
}

/** What is typed, kept in this browser till it is dropped. */
export function useDraft<T>(key: string, fresh: T): [T, (value: T) => void, () => void] {
  const kept = `draft.${key}`;
  const [value, set] = useState<T>(() => {
    const text = localStorage.getItem(kept);
    return text === null ? fresh : (JSON.parse(text) as T);
  });
  const change = (next: T) => {
    localStorage.setItem(kept, JSON.stringify(next));
    set(next);
  };
  const drop = () => localStorage.removeItem(kept);
  return [value, change, drop];
}
