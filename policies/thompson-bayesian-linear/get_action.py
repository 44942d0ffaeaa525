# Thompson sampling with Bayesian linear regression: draw a parabola from the posterior and play its top.
LOWEST = 0.0
HIGHEST = 10.0
PRIOR = [0.0, 0.0, 0.0]
PRECISION = 0.01
NOISE = 1.0

# set_reward starts from the same prior: change the parameters in both.
prior = {"J": [PRECISION * mean for mean in PRIOR], "P": (PRECISION * np.eye(3)).tolist(), "err": NOISE}
model = tbl.ThompsonBayesianLinear(self.get_theta(key="regression", value="x") or prior)
beta = model.sample()

# The best x is an end of the interval, or the top of the parabola if that lies inside.
candidates = [LOWEST, HIGHEST]
if beta[2] < 0:
    top = -beta[1] / (2 * beta[2])
    if LOWEST < top < HIGHEST:
        candidates.append(float(top))

self.action["x"] = max(candidates, key=lambda x: beta @ [1, x, x**2])
