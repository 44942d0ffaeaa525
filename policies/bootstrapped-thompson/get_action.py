# Bootstrapped Thompson sampling: decide as one bootstrap replicate of the model would.
LOWEST = 0.0
HIGHEST = 10.0
REPLICATES = 50
SPREAD = 2.0

# set_reward builds the same replicates: change the parameters in both.
prior = {"b": [0.0] * 6, "A": np.eye(6).tolist(), "n": 0}
stored = self.get_theta(key="replicates", value="revenue")
replicates = bts.BTS(stored, lm.LM, m=REPLICATES, default_params=prior, noisesd=SPREAD)
beta = np.array(lm.LM(replicates.sample()).get_value())

# Expected revenue of the replicate: a parabola in the price, one for each kind of customer.
prices = np.linspace(LOWEST, HIGHEST, 101)
scaled = prices / HIGHEST
parabola = np.column_stack([np.ones_like(scaled), scaled, scaled**2])
returning = self.context["customer"] == "returning"
revenues = parabola @ (beta[:3] + beta[3:] * returning)

self.action["price"] = float(prices[revenues.argmax()])
