# Update the posterior of the parabola's coefficients.
PRIOR = [0.0, 0.0, 0.0]
PRECISION = 0.01
NOISE = 1.0

prior = {"J": [PRECISION * mean for mean in PRIOR], "P": (PRECISION * np.eye(3)).tolist(), "err": NOISE}
model = tbl.ThompsonBayesianLinear(self.get_theta(key="regression", value="x") or prior)
x = inputs.number(self, "action.x")
model.update(inputs.number(self, "reward.value"), [1, x, x**2])
self.set_theta(model, key="regression", value="x")
