// CodeMirror with what Python needs. It lives in a shadow root: there its styles are adopted sheets, which a strict
// Content-Security-Policy lets through.
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { python } from "@codemirror/lang-python";
import { bracketMatching, HighlightStyle, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { lintGutter, setDiagnostics } from "@codemirror/lint";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { EditorState } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import type { Mark } from "./editor";

export interface Handle {
  set(text: string): void;
  mark(mark: Mark | undefined): void;
  focus(from: number, to: number): void;
  destroy(): void;
}

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword], color: "var(--code-keyword)" },
  { tag: [tags.string], color: "var(--code-string)" },
  { tag: [tags.comment], color: "var(--quiet)", fontStyle: "italic" },
  { tag: [tags.number, tags.bool, tags.null], color: "var(--code-number)" },
]);

const theme = EditorView.theme({
  "&": { color: "var(--text)", backgroundColor: "var(--field)", fontSize: "13px" },
  "&.cm-focused": { outline: "2px solid var(--accent)" },
  ".cm-scroller": { fontFamily: "ui-monospace, monospace", minHeight: "5rem", maxHeight: "28rem" },
  ".cm-gutters": { backgroundColor: "var(--field)", color: "var(--quiet)", border: "none" },
  ".cm-activeLine": { backgroundColor: "var(--hover)" },
  "&:not(.cm-focused) .cm-activeLine": { backgroundColor: "transparent" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  "&.cm-focused .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "var(--selected) !important" },
  ".cm-panels, .cm-tooltip": { backgroundColor: "var(--field)", color: "var(--text)", border: "1px solid var(--line)" },
});

export function attach(place: HTMLElement, label: string, text: string, changed: (text: string) => void): Handle {
  const root = place.shadowRoot ?? place.attachShadow({ mode: "open" });
  let silent = false;
  // What was typed and not yet given back: a value that is one of these is old news, and not to be set.
  const told: string[] = [];
  const view = new EditorView({
    root,
    parent: root as unknown as Element,
    state: EditorState.create({
      doc: text,
      extensions: [
        lineNumbers(), history(), drawSelection(), indentOnInput(), indentUnit.of("    "), bracketMatching(),
        highlightActiveLine(), highlightSelectionMatches(), lintGutter(), python(), syntaxHighlighting(colours), theme,
        EditorView.contentAttributes.of({ tabindex: "0", "aria-label": `${label}. Escape, then Tab, leaves the editor.` }),
        // Tab indents; Escape and then Tab leaves, as CodeMirror has it.
        keymap.of([...defaultKeymap, ...historyKeymap, ...searchKeymap, indentWithTab]),
        EditorView.updateListener.of((update) => {
          if (!update.docChanged || silent) return;
          const text = update.state.doc.toString();
          told.push(text);
          changed(text);
        }),
      ],
    }),
  });
  return {
    set(next) {
      const old = told.indexOf(next);
      told.splice(0, old < 0 ? told.length : old);
      if (old >= 0 || next === view.state.doc.toString()) return;
      silent = true;
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: next } });
      silent = false;
    },
    mark(mark) {
      if (!mark) {
        view.dispatch(setDiagnostics(view.state, []));
        return;
      }
      const line = view.state.doc.line(Math.min(Math.max(mark.line, 1), view.state.doc.lines));
      view.dispatch(setDiagnostics(view.state, [{ from: line.from, to: line.to, severity: "error", message: mark.message }]));
      view.dispatch({ effects: EditorView.scrollIntoView(line.from, { y: "center" }) });
    },
    focus(from, to) {
      const end = view.state.doc.length;
      view.dispatch({ selection: { anchor: Math.min(from, end), head: Math.min(to, end) } });
      view.focus();
    },
    destroy: () => view.destroy(),
  };
}
