# Bootstrapped Thompson sampling: decide as one bootstrap replicate of the model would.
LOWEST = 0.0
HIGHEST = 10.0
REPLICATES = 50
SPREAD = 2.0
PRIOR = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
LOG_PROPENSITY = False

# One replicate of the regression, stored or fresh. set_reward has the same parameters: change both.
number = random.randrange(REPLICATES)
stored = self.get_theta(key="replicate", value=number)
prior = {"b": PRIOR, "A": np.eye(6).tolist(), "n": 0}
state = stored or bts.BTS({}, lm.LM, m=1, default_params=prior, noisesd=SPREAD).sample()

# Expected revenue of the replicate: a parabola in the price, one for each kind of customer.
prices = np.linspace(LOWEST, HIGHEST, 101)
scaled = prices / HIGHEST
parabola = np.column_stack([np.ones_like(scaled), scaled, scaled**2])
returning = inputs.choice(self, "context.customer", ["new", "returning"]) == "returning"
betas = np.array([lm.LM(state).get_value()])
self.action["price"] = float(prices[(parabola @ (betas[:, :3] + betas[:, 3:] * returning).T).argmax()])

# Every stored replicate is as likely; what fresh ones would do is estimated from draws, this one among them.
if LOG_PROPENSITY or self.properties.get("log_propensity"):
    every = self.get_theta(key="replicate")
    kept = [every[str(one)] for one in range(REPLICATES) if every.get(str(one))]
    fresh = REPLICATES - len(kept)
    drawn = bts.BTS({}, lm.LM, m=1000, default_params=prior, noisesd=SPREAD).get_dict() if fresh else {}
    others = list(drawn.values())[1:] + [state] * (fresh > 0 and not stored)
    weights = [1 / REPLICATES] * len(kept) + [fresh / REPLICATES / max(len(others), 1)] * len(others)
    betas = np.array([lm.LM(one).get_value() for one in kept + others])
    tops = (parabola @ (betas[:, :3] + betas[:, 3:] * returning).T).argmax(axis=0)
    chances = np.bincount(tops, weights, minlength=len(prices))
    names = [repr(float(price)).removesuffix(".0") for price in prices]
    self.action_probabilities = {names[top]: float(chances[top]) for top in np.flatnonzero(chances)}
    self.action["propensity"] = self.action_probabilities[repr(self.action["price"]).removesuffix(".0")]
