// The two calls an application makes, in four languages.
import { useState } from "preact/hooks";
import { Copy } from "./ui";

const LANGUAGES = ["curl", "Python", "JavaScript", "R"] as const;
type Language = (typeof LANGUAGES)[number];

function texts(id: string, key: string, field: string): Record<Language, string> {
  const url = location.origin;
  const arm = JSON.stringify(field);
  return {
    curl: `# which action?
curl -s ${url}/getaction/${id} -d '{"key": "${key}", "context": {}}'

# what it earned
curl -s ${url}/setreward/${id} -d '{"key": "${key}", "context": {}, "action": {${arm}: "ARM"}, "reward": {"value": 1}}'`,
    Python: `from streamsim_client import Client

with Client("${url}") as client:
    action = client.decisions.get_action("${id}", "${key}", {})["action"]
    client.decisions.set_reward("${id}", "${key}", {"value": 1}, context={}, action=action)`,
    JavaScript: `const ask = (path, body) =>
  fetch("${url}" + path, { method: "POST", body: JSON.stringify({ key: "${key}", ...body }) })
    .then((answer) => answer.json());

const { action } = await ask("/getaction/${id}", { context: {} });
await ask("/setreward/${id}", { context: {}, action, reward: { value: 1 } });`,
    R: `library(httr2)
ask <- function(path, ...) request(paste0("${url}", path)) |>
  req_body_json(list(key = "${key}", ...)) |> req_perform() |> resp_body_json()

none <- setNames(list(), character())
action <- ask("/getaction/${id}", context = none)$action
ask("/setreward/${id}", context = none, action = action, reward = list(value = 1))`,
  };
}

/** `key` is shown only when it is asked for; what is copied always has it. */
export function Calls({ id, secret, field = "arm" }: { id: string; secret?: string; field?: string }) {
  const [language, set] = useState<Language>("curl");
  const [shown, show] = useState(false);
  const text = (key: string) => texts(id, key, field)[language];
  return (
    <div>
      <div class="row" role="group" aria-label="Language">
        {LANGUAGES.map((one) => <button key={one} type="button" class="small" aria-pressed={one === language} onClick={() => set(one)}>{one}</button>)}
        <Copy text={text(secret ?? "KEY")} />
        {secret && <button type="button" class="small" aria-pressed={shown} onClick={() => show(!shown)}>{shown ? "Hide the key" : "Show the key"}</button>}
      </div>
      <pre tabIndex={0} aria-label={`The two calls in ${language}`}>{text(shown && secret ? secret : "KEY")}</pre>
    </div>
  );
}
