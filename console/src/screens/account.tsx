// One's own account: bearer tokens, logins and password.
import { useState } from "preact/hooks";
import { call, session } from "../api";
import { Copy, Empty, Failure, Field, Show, Table, Time, useAct, useLoad } from "../ui";
import { many } from "../values";
import { Sessions } from "./sessions";

export function Account() {
  return (
    <>
      <div class="head"><h1>Account of {session.value!.name}</h1></div>
      <div class="side">
        <Tokens />
        <div class="stack">
          <section class="panel stack"><h2>Logins</h2><Sessions username={session.value!.name} tokens={false} /></section>
          <Password />
        </div>
      </div>
    </>
  );
}

function Tokens() {
  const found = useLoad((signal) => call("GET /user/token", { signal }), []);
  const [label, setLabel] = useState(""), [days, setDays] = useState("30");
  const [made, setMade] = useState("");
  const doing = useAct();
  const create = (event: Event) => {
    event.preventDefault();
    void doing.act("Making a token", async () => {
      setMade((await call("POST /user/token", { body: { label, days: Number(days) } })).token);
      setLabel("");
      found.reload();
    });
  };
  const revoke = (id: string) => void doing.act("Revoking", async () => {
    await call("DELETE /user/token/{token_id}", { path: { token_id: id } });
    found.reload();
  });
  return (
    <section class="panel stack">
      <h2>Tokens</h2>
      <p class="quiet">Programs send one as <code>Authorization: Bearer TOKEN</code> and may then do what you may.</p>
      <form class="row" onSubmit={create}>
        <Field label="Label of a new token" name="label" value={label} error={doing.error} required onInput={(e) => setLabel(e.currentTarget.value)} />
        <Field label="Days" name="days" type="number" min="1" value={days} error={doing.error} onInput={(e) => setDays(e.currentTarget.value)} />
        <button class="main" disabled={doing.busy !== ""}>{doing.busy || "Make a token"}</button>
      </form>
      <Failure error={doing.error} />
      {made && (
        <div class="note" role="status">
          <p>This is the only time that it is shown:</p>
          <p><code>{made}</code> <Copy text={made} label="Copy the token" /> <button type="button" class="small" onClick={() => setMade("")}>I have it</button></p>
        </div>
      )}
      <Show of={found} what="Reading your tokens">
        {({ tokens }) =>
          tokens.length === 0 ? <Empty>No token.</Empty> : (
            <Table title={many(tokens.length, "token")} rows={tokens} keyOf={(one) => one.id} columns={[
              { name: "Label", cell: (one) => one.label || <span class="quiet">none</span> },
              { name: "Made", cell: (one) => <Time at={one.created} /> },
              { name: "Ends", cell: (one) => <Time at={one.expires} /> },
              { name: "", cell: (one) => <button type="button" class="small danger" aria-label={`Revoke ${one.label}`} onClick={() => confirm(`Revoke the token ${one.label}? Programs that have it are refused at once.`) && revoke(one.id)}>Revoke</button> },
            ]} />
          )
        }
      </Show>
    </section>
  );
}

function Password() {
  const [old, setOld] = useState(""), [next, setNext] = useState("");
  const doing = useAct();
  const submit = (event: Event) => {
    event.preventDefault();
    void doing.act("Changing it", async () => {
      await call("PUT /user/password", { body: { old_password: old, new_password: next } });
      session.value = null;
    });
  };
  return (
    <form class="panel stack" onSubmit={submit}>
      <h2>Password</h2>
      <p class="quiet">Ends all your login sessions, this one too; tokens stay.</p>
      <Field label="Password now" name="old_password" type="password" autoComplete="current-password" required value={old} error={doing.error} onInput={(e) => setOld(e.currentTarget.value)} />
      <Field label="New password" name="new_password" type="password" autoComplete="new-password" required value={next} error={doing.error} onInput={(e) => setNext(e.currentTarget.value)} />
      <Failure error={doing.error} />
      <div><button disabled={doing.busy !== ""}>{doing.busy || "Change it"}</button></div>
    </form>
  );
}
