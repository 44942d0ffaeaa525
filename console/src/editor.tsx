// A Python editor, which comes when it is first needed: a chunk of its own. Until then, and if it cannot come, a text area.
import { useEffect, useId, useRef, useState } from "preact/hooks";
import type { Handle } from "./codemirror";

export interface Mark {
  line: number;
  message: string;
}

export function Editor({ label, value, onChange, mark, rows = 6 }: {
  label: string; value: string; onChange: (text: string) => void; mark?: Mark; rows?: number;
}) {
  const place = useRef<HTMLDivElement>(null);
  const area = useRef<HTMLTextAreaElement>(null);
  const handle = useRef<Handle | null>(null);
  const change = useRef(onChange);
  change.current = onChange;
  const [ready, setReady] = useState(false);
  const id = useId();
  useEffect(() => {
    let gone = false;
    void import("./codemirror").then(({ attach }) => {
      if (gone) return;
      // Somebody may be typing in the text area by now: what they typed and where they are is taken over.
      const { value: typed, selectionStart, selectionEnd } = area.current!, typing = document.activeElement === area.current;
      place.current!.hidden = false;
      handle.current = attach(place.current!, label, typed, (text) => change.current(text));
      if (typing) handle.current.focus(selectionStart, selectionEnd);
      area.current!.hidden = true;
      setReady(true);
    }, () => undefined);
    return () => {
      gone = true;
      handle.current?.destroy();
      handle.current = null;
    };
  }, []);
  useEffect(() => handle.current?.set(value), [value, ready]);
  useEffect(() => handle.current?.mark(mark), [mark, ready]);
  return (
    <div class={mark ? "editor wrong" : "editor"}>
      <label for={ready ? undefined : id}>{label}</label>
      <div ref={place} class="code" hidden={!ready} />
      {!ready && <textarea id={id} ref={area} class="code" rows={rows} spellcheck={false} value={value} onInput={(e) => onChange(e.currentTarget.value)} />}
      {mark && <p class="wrong" role="alert">line {mark.line}: {mark.message}</p>}
    </div>
  );
}
