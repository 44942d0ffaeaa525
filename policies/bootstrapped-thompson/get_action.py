# Bootstrapped Thompson sampling: decide as one bootstrap replicate of the model would.
LOWEST = 0.0
HIGHEST = 10.0
REPLICATES = 50
SPREAD = 2.0

# One replicate of the regression, stored or fresh. set_reward has the same parameters: change both.
stored = self.get_theta(key="replicate", value=random.randrange(REPLICATES))
if not stored:
    prior = {"b": [0.0] * 6, "A": np.eye(6).tolist(), "n": 0}
    stored = bts.BTS({}, lm.LM, m=1, default_params=prior, noisesd=SPREAD).sample()
beta = np.array(lm.LM(stored).get_value())

# Expected revenue of the replicate: a parabola in the price, one for each kind of customer.
prices = np.linspace(LOWEST, HIGHEST, 101)
scaled = prices / HIGHEST
parabola = np.column_stack([np.ones_like(scaled), scaled, scaled**2])
returning = inputs.choice(self, "context.customer", ["new", "returning"]) == "returning"
revenues = parabola @ (beta[:3] + beta[3:] * returning)

self.action["price"] = float(prices[revenues.argmax()])
