# Runs in simulations only: success or failure; the arms change places again and again.
HIGH = 0.8
LOW = 0.2
CHANGE = 200

best = "ab"[self.context["step"] // CHANGE % 2]
chance = HIGH if self.action["arm"] == best else LOW
self.reward["value"] = int(random.random() < chance)
self.expected_rewards = {arm: HIGH if arm == best else LOW for arm in "ab"}
