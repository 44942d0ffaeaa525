# Runs in simulations only: success or failure, with these chances.
SUCCESS = {"a": 0.2, "b": 0.4, "c": 0.5, "d": 0.7}

self.reward["value"] = int(random.random() < SUCCESS[self.action["arm"]])
self.expected_rewards = SUCCESS
