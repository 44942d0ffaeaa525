# Discounted Thompson sampling: the older an observation, the less it counts.
ARMS = ["a", "b"]
PRIOR = [1, 1]
LOG_PROPENSITY = False

arms = inputs.arms(self, ARMS)
evidence = self.get_theta(key="evidence", value="all")

# Each arm has a list [successes, failures], both discounted.
counts = np.array([evidence.get(arm, [0.0, 0.0]) for arm in arms])
a, b = counts.T + np.array(PRIOR)[:, None]
arm = arms[int(np.random.beta(a, b).argmax())]
self.action["arm"] = arm

# Exact, by numerical integration.
if LOG_PROPENSITY or self.properties.get("log_propensity"):
    self.action_probabilities = dict(zip(arms, thmp.best_of_betas(a, b)))
    self.action["propensity"] = self.action_probabilities[arm]
