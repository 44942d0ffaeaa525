// The shell: who is here, which screen, which keys.
import { render } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { logOut, requests, resume, session } from "./api";
import { go, route, unsaved } from "./router";
import { Copy, Dialog, Waiting } from "./ui";
import { Account } from "./screens/account";
import { Evaluate } from "./screens/evaluate";
import { Experiment } from "./screens/experiment";
import { Experiments } from "./screens/experiments";
import { Jobs } from "./screens/jobs";
import { Login } from "./screens/login";
import { Models } from "./screens/models";
import { Player } from "./screens/player";
import { Run } from "./screens/run";
import { Runs } from "./screens/runs";
import { Server } from "./screens/server";
import { Sweep } from "./screens/sweep";
import { Users } from "./screens/users";
import "./style.css";

const AREAS = [
  ["experiments", "Experiments", "e"],
  ["evaluate", "Evaluate", "v"],
  ["jobs", "Jobs", "j"],
  ["models", "Models", "m"],
  ["runs", "Runs", "r"],
  ["account", "Account", "a"],
  ["users", "Users", "u"],
  ["server", "Server", "s"],
] as const;

function Screen() {
  const [area = "experiments", first, second] = route.value.path;
  if (area === "experiments") return first ? <Experiment key={first} id={first} tab={second ?? "live"} /> : <Experiments />;
  if (area === "evaluate") return <Evaluate />;
  if (area === "jobs") return <Jobs />;
  if (area === "models") {
    if (!first) return <Models />;
    return second === "sweep" ? <Sweep key={first} name={first} /> : <Player key={first} name={first} />;
  }
  if (area === "runs") return first ? <Run key={first} id={first} /> : <Runs />;
  if (area === "account") return <Account />;
  if (area === "users") return <Users />;
  if (area === "server") return <Server />;
  return <><h1>No such screen</h1><p>This console has none at this address. <a href="#/experiments">Your experiments</a></p></>;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function Curl({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="The requests behind this screen" onClose={onClose}>
      <p class="quiet">With a token of your account in $TOKEN, these do the same.</p>
      <ul class="bare stack">
        {requests.value.map(({ method, url, body }) => {
          const verb = method === "GET" ? "" : ` -X ${method}`;
          const data = body === undefined ? "" : ` \\\n  -H 'Content-Type: application/json' -d ${quoted(body.length > 4000 ? `${body.slice(0, 4000)}…` : body)}`;
          const text = `curl -s${verb} -H "Authorization: Bearer $TOKEN" ${quoted(location.origin + url)}${data}`;
          return <li key={method + url}><pre>{text}</pre><Copy text={text} /></li>;
        })}
      </ul>
    </Dialog>
  );
}

function Keys({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keys" onClose={onClose}>
      <table>
        <tbody>
          <tr><td><kbd>/</kbd></td><td>Search on this screen</td></tr>
          {AREAS.map(([, name, key]) => <tr key={key}><td><kbd>g</kbd> <kbd>{key}</kbd></td><td>{name}</td></tr>)}
          <tr><td><kbd>c</kbd></td><td>The requests behind this screen, as curl</td></tr>
          <tr><td><kbd>?</kbd></td><td>These keys</td></tr>
          <tr><td><kbd>Ctrl</kbd> <kbd>s</kbd></td><td>Save a policy</td></tr>
          <tr><td><kbd>Esc</kbd> <kbd>Tab</kbd></td><td>Leave a code editor</td></tr>
        </tbody>
      </table>
    </Dialog>
  );
}

function Shell() {
  const [open, setOpen] = useState<"keys" | "curl" | null>(null);
  const main = useRef<HTMLElement>(null);
  const at = route.value.path.join("/");
  useEffect(() => {
    let before = "";
    const pressed = (event: KeyboardEvent) => {
      const target = event.composedPath()[0] as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey || target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) return;
      if (document.querySelector("dialog[open]")) return;
      const area = before === "g" ? AREAS.find(([, , key]) => key === event.key) : undefined;
      before = event.key === "g" && before !== "g" ? "g" : "";
      if (area) go([area[0]]);
      else if (event.key === "?") setOpen("keys");
      else if (event.key === "c") setOpen("curl");
      else if (event.key === "/") document.querySelector<HTMLInputElement>("main input[type=search]")?.focus();
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, []);
  // Before anything is painted: who types at once types where it shows.
  useLayoutEffect(() => {
    main.current?.focus();
    scrollTo(0, 0);
    const name = AREAS.find(([area]) => area === (route.value.path[0] ?? "experiments"))?.[1] ?? "";
    document.title = `${name} · streamsim`;
  }, [at]);
  if (session.value === undefined) return <main><Waiting what="Asking the server who you are" /></main>;
  if (session.value === null) return <Login />;
  const leave = async () => {
    if (unsaved.value && !confirm(`${unsaved.value}\nIt is kept in this browser. Log out?`)) return;
    unsaved.value = null;
    await logOut();
  };
  return (
    <>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); main.current?.focus(); }}>To the content</a>
      <header class="top">
        <a href="#/experiments">streamsim</a>
        <nav aria-label="Areas">
          {AREAS.filter(([area]) => area !== "users" || session.value?.admin).map(([area, name]) => (
            <a key={area} href={`#/${area}`} aria-current={(route.value.path[0] ?? "experiments") === area ? "page" : undefined}>{name}</a>
          ))}
        </nav>
        <span class="quiet">{session.value.name}</span>
        <button type="button" class="small" onClick={leave}>Log out</button>
      </header>
      <main ref={main} tabIndex={-1}><Screen /></main>
      <footer>
        <button type="button" class="small" onClick={() => setOpen("curl")}>curl</button>
        <button type="button" class="small" onClick={() => setOpen("keys")}>keys</button>
      </footer>
      {open === "keys" && <Keys onClose={() => setOpen(null)} />}
      {open === "curl" && <Curl onClose={() => setOpen(null)} />}
    </>
  );
}

void resume();
render(<Shell />, document.getElementById("app")!);
