// The live login sessions and tokens of a user, each with a way to end it.
import { call } from "../api";
import { Empty, Failure, Show, Table, Time, useAct, useLoad } from "../ui";

/** :param tokens: whether bearer tokens are listed too. */
export function Sessions({ username, tokens }: { username: string; tokens: boolean }) {
  const found = useLoad((signal) => call("GET /users/{username}/sessions", { path: { username }, signal }), [username]);
  const doing = useAct();
  const end = (id: string) => void doing.act("Ending", async () => {
    await call("DELETE /users/{username}/sessions/{session_id}", { path: { username, session_id: id } });
    found.reload();
  });
  return (
    <>
      <Failure error={doing.error} />
      <Show of={found} what="Reading who is logged in">
        {({ sessions }) => {
          const shown = sessions.filter((one) => tokens || one.kind === "login");
          if (shown.length === 0) return <Empty>{username} is not logged in{tokens ? " and has no token" : ""}.</Empty>;
          const what = (one: (typeof shown)[number]) => (one.kind === "login" ? "Login" : `Token ${one.label}`);
          return (
            <Table title={`${tokens ? "Logins and tokens" : "Logins"} of ${username}: ${shown.length}`} rows={shown} keyOf={(one) => one.id} columns={[
              { name: "What", cell: (one) => <>{what(one)}{one.current && <span class="quiet"> (this one)</span>}</> },
              { name: "Begun", cell: (one) => <Time at={one.created} /> },
              { name: "Ends", cell: (one) => <Time at={one.expires} /> },
              { name: "", cell: (one) => !one.current && <button type="button" class="small danger" aria-label={`End ${what(one)} of ${one.created}`} onClick={() => confirm(`End ${what(one)} of ${username}? Whoever uses it is refused at once.`) && end(one.id)}>End</button> },
            ]} />
          );
        }}
      </Show>
    </>
  );
}
