# Runs in simulations only: arm k pays feature k, and noise.
NOISE = 0.1

feature = self.context["features"][int(self.action["arm"])]
self.reward["value"] = feature + random.gauss(0, NOISE)
self.expected_rewards = {str(arm): value for arm, value in enumerate(self.context["features"])}
