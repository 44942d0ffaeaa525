# LinTS: Thompson sampling with a Bayesian linear regression for each arm.
ARMS = ["0", "1", "2", "3"]
PRIOR = [0.0, 0.0]
PRECISION = 1.0
NOISE = 0.1
LOG_PROPENSITY = False

# set_reward starts from the same prior: change the parameters in both. An arm that learned from another
# number of features starts anew.
arms = inputs.arms(self, ARMS)
x = [1.0, *inputs.numbers(self, "context.features")]
means = PRECISION * np.array(PRIOR[:1] + PRIOR[1:] * (len(x) - 1))
prior = {"J": means.tolist(), "P": (PRECISION * np.eye(len(x))).tolist(), "err": NOISE}
stored = self.get_theta(key="arm")

# What an arm promises here is normal: its mean and standard deviation under the posterior.
mean, sd = tbl.ThompsonBayesianLinear.predictions(stored, arms, x, prior)
arm = arms[int(np.random.normal(mean, sd).argmax())]
self.action["arm"] = arm

# Exact, by numerical integration.
if LOG_PROPENSITY or self.properties.get("log_propensity"):
    self.action_probabilities = dict(zip(arms, thmp.best_of_normals(mean, sd)))
    self.action["propensity"] = self.action_probabilities[arm]
