// For administrators: who has an account, who is logged in, adding users.
import { useState } from "preact/hooks";
import { call, fetched, type Answer } from "../api";
import { filter, route } from "../router";
import { Failure, Field, Show, Table, Time, useAct, useLoad } from "../ui";
import { many } from "../values";
import { Sessions } from "./sessions";

const PAGE = 200;

type User = Answer<"GET /users">["users"][number];

export function Users() {
  const query = route.value.query;
  const search = query.get("search") ?? "", of = query.get("of"), after = query.get("after") ?? "";
  const found = useLoad(async (signal) => {
    const { answer, headers } = await fetched("GET /users", { query: { limit: PAGE, after }, signal });
    return { users: (answer as Answer<"GET /users">).users, more: headers.has("Link") };
  }, [after]);
  return (
    <>
      <div class="head"><h1>Users</h1></div>
      <div class="side">
        <section class="panel stack">
          <p><input type="search" aria-label="Search users" placeholder="Search (/)" value={search} onInput={(e) => filter({ search: e.currentTarget.value })} /></p>
          <Show of={found} what="Reading the users">
            {({ users, more }) => {
              const shown = users.filter((one) => one.name.toLowerCase().includes(search.toLowerCase()));
              return (
                <>
                  <Table<User> title={many(shown.length, "user")} file="users" rows={shown} keyOf={(one) => one.name} columns={[
                    { name: "Name", cell: (one) => one.name, data: (one) => one.name },
                    { name: "May", cell: (one) => (one.admin ? "administer" : <span class="quiet">use</span>), data: (one) => (one.admin ? "administer" : "use") },
                    { name: "Since", cell: (one) => <Time at={one.created} />, data: (one) => one.created },
                    { name: "", cell: (one) => <button type="button" class="small" aria-label={`Sessions of ${one.name}`} onClick={() => filter({ of: one.name })}>Sessions</button> },
                  ]} />
                  <p>
                    {after && <button type="button" class="small" onClick={() => filter({ after: "" })}>From the beginning</button>}{" "}
                    {more && <button type="button" class="small" onClick={() => filter({ after: users.at(-1)!.name })}>More</button>}
                  </p>
                </>
              );
            }}
          </Show>
        </section>
        <div class="stack">
          {of && <section class="panel stack" key={of}><h2>Sessions of {of}</h2><Sessions username={of} tokens /></section>}
          <Add onAdded={found.reload} />
        </div>
      </div>
    </>
  );
}

function Add({ onAdded }: { onAdded: () => void }) {
  const [name, setName] = useState(""), [password, setPassword] = useState("");
  const [made, setMade] = useState<string[]>([]);
  const doing = useAct();
  const submit = (event: Event) => {
    event.preventDefault();
    void doing.act("Adding", async () => {
      await call("POST /user", { body: { username: name, password } });
      setMade([name, ...made]);
      setName("");
      setPassword("");
      onAdded();
    });
  };
  return (
    <form class="panel stack" onSubmit={submit}>
      <h2>Add a user</h2>
      <Field label="User name" name="username" autoComplete="off" required value={name} error={doing.error} hint="letters, digits, _ . - @ +" onInput={(e) => setName(e.currentTarget.value)} />
      <Field label="First password" name="password" type="password" autoComplete="new-password" required value={password} error={doing.error} hint="the user changes it under Account" onInput={(e) => setPassword(e.currentTarget.value)} />
      <div><button class="main" disabled={doing.busy !== ""}>{doing.busy || "Add"}</button></div>
      <Failure error={doing.error} />
      {made.map((one) => <p key={one} class="good" role="status">{one} may log in now.</p>)}
    </form>
  );
}
