# Runs in simulations only: success or failure, with these chances.
SUCCESS = {"control": 0.3, "treatment": 0.5}

self.reward["value"] = int(random.random() < SUCCESS[self.action["arm"]])
self.expected_rewards = SUCCESS
