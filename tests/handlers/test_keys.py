"""An experiment's key can be changed, and then the old one is worth nothing anywhere."""

from __future__ import annotations

import pytest

from streamsim.decisions.decisions import Decisions
from streamsim.errors import Unauthorized
from streamsim.sandbox.host.pool import Limits
from streamsim.services import Services
from tests.application import Caller

CODE = {"get_action": 'self.action["arm"] = "a"', "set_reward": 'self.set_theta({"n": 1})'}


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_only_the_new_key_counts_in_every_process(ann: Caller, bob: Caller, services: Services) -> None:
    made = await ann.experiment("keyed", **CODE)
    path, old = f"/exp/{made['id']}/key", made["key"]
    other = Decisions(
        services.store.decisions,
        services.sandbox,
        logs=services.store.logs,
        lane=services.settings.lane,
        limits=Limits(),
    )
    assert b"action" in await other.get_action(made["id"], old, {})  # it knows the experiment now
    assert (await bob.request("POST", path)).status == 401
    changed = await ann.request("POST", path)
    assert changed.status == 200
    new = changed.body["key"]
    assert changed.body == {"status": "success", "id": made["id"], "key": new, "revision": 2}
    assert new != old
    assert len(new) == 32
    with pytest.raises(Unauthorized):
        await other.get_action(made["id"], old, {})
    assert b"action" in await other.get_action(made["id"], new, {})
    await other.close()
    for key, status in ((old, 401), (new, 200)):
        reward = {"key": key, "reward": {"value": 1}, "action": {"arm": "a"}}
        assert (await ann.get(f"/getaction/{made['id']}", key=key)).status == status
        assert (await ann.post(f"/getaction/{made['id']}", {"key": key, "contexts": [{}]})).status == status
        assert (await ann.post(f"/setreward/{made['id']}", reward)).status == status
        assert (await ann.get(f"/exp/{made['id']}/resetexperiment", key=key)).status == status
    assert (await ann.get(f"/exp/{made['id']}")).body["key"] == new
    # Nothing but the key has changed.
    assert len((await ann.get(f"/stats/{made['id']}/actionlog")).body) == 4
