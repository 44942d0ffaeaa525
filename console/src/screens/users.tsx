// For administrators: adding users.
import { useState } from "preact/hooks";
import { call } from "../api";
import { Failure, Field, useAct } from "../ui";

export function Users() {
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
    });
  };
  return (
    <>
      <div class="head"><h1>Users</h1></div>
      <form class="panel stack" onSubmit={submit}>
        <h2>Add a user</h2>
        <div class="row">
          <Field label="User name" name="username" autoComplete="off" required value={name} error={doing.error} hint="letters, digits, _ . - @ +" onInput={(e) => setName(e.currentTarget.value)} />
          <Field label="First password" name="password" type="password" autoComplete="new-password" required value={password} error={doing.error} hint="the user changes it under Account" onInput={(e) => setPassword(e.currentTarget.value)} />
          <button class="main" disabled={doing.busy !== ""}>{doing.busy || "Add"}</button>
        </div>
        <Failure error={doing.error} />
        {made.map((one) => <p key={one} class="good" role="status">{one} may log in now.</p>)}
      </form>
    </>
  );
}
