# Discounted Thompson sampling: the older an observation, the less it counts.
ARMS = ["a", "b"]

arms = inputs.arms(self, ARMS)
evidence = self.get_theta(key="evidence", value="all")

# Each arm has a list [successes, failures], both discounted.
draws = {}
for arm in arms:
    successes, failures = evidence.get(arm, [0.0, 0.0])
    draws[arm] = np.random.beta(successes + 1, failures + 1)

self.action["arm"] = max(draws, key=draws.get)
