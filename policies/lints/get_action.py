# LinTS: Thompson sampling with a Bayesian linear regression for each arm.
ARMS = ["0", "1", "2", "3"]
PRECISION = 1.0
NOISE = 0.1

# set_reward starts from the same prior: change the parameters in both. An arm that learned from another
# number of features starts anew.
arms = inputs.arms(self, ARMS)
x = [1.0, *inputs.numbers(self, "context.features")]
prior = {"J": [0.0] * len(x), "P": (PRECISION * np.eye(len(x))).tolist(), "err": NOISE}
stored = self.get_theta(key="arm")

draws = {}
for arm in arms:
    beta = tbl.ThompsonBayesianLinear(stored.get(arm), prior).sample()
    draws[arm] = float(beta @ x)

self.action["arm"] = max(draws, key=draws.get)
