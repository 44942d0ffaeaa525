// Who are you; and for the first visit, what this is.
import { useState } from "preact/hooks";
import { logIn } from "../api";
import { Calls } from "../calls";
import { Failure, Field, useAct } from "../ui";

export function Login() {
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const doing = useAct();
  const submit = (event: Event) => {
    event.preventDefault();
    void doing.act("Logging in", () => logIn(name, password));
  };
  return (
    <main class="login">
      <div class="side">
        <form class="panel stack" onSubmit={submit}>
          <h1>Log in to streamsim</h1>
          <Field label="User name" name="username" value={name} autoComplete="username" required error={doing.error} onInput={(e) => setName(e.currentTarget.value)} />
          <Field label="Password" name="password" type="password" value={password} autoComplete="current-password" required error={doing.error} onInput={(e) => setPassword(e.currentTarget.value)} />
          <Failure error={doing.error} />
          <div><button class="main" disabled={doing.busy !== ""}>{doing.busy || "Log in"}</button></div>
        </form>
        <section class="panel">
          <h2>The first time?</h2>
          <p>The first start of the server made the account <code>admin</code>. Its password is the one in <code>STREAMSIM_ADMIN_PASSWORD</code>, or was printed once where the server was started.</p>
          <p>An application makes two calls, with an experiment's key and no login:</p>
          <Calls id="EXPERIMENT" />
        </section>
      </div>
    </main>
  );
}
