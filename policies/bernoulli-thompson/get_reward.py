# Runs in simulations only: success or failure, with these chances.
SUCCESS = {"1": 0.2, "2": 0.4, "3": 0.6, "4": 0.8}

self.reward["value"] = int(random.random() < SUCCESS[self.action["arm"]])
self.expected_rewards = SUCCESS
