# The observation counts double in about half of the replicates, and not at all in the others.
HIGHEST = 10.0
REPLICATES = 50
SPREAD = 2.0
PRIOR = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]

prior = {"b": PRIOR, "A": np.eye(6).tolist(), "n": 0}
stored = self.get_theta(key="replicate")
replicates = bts.BTS(stored, lm.LM, m=REPLICATES, default_params=prior, noisesd=SPREAD)

scaled = inputs.number(self, "action.price") / HIGHEST
returning = float(inputs.choice(self, "context.customer", ["new", "returning"]) == "returning")
parabola = [1.0, scaled, scaled**2]
revenue = inputs.number(self, "reward.revenue")
replicates.update(revenue, parabola + [returning * term for term in parabola])
for number, state in replicates.get_dict().items():
    if state != stored.get(number):
        self.set_theta(state, key="replicate", value=number)
