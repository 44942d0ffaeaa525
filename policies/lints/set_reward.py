# The posterior of the arm that was played.
PRIOR = [0.0, 0.0]
PRECISION = 1.0
NOISE = 0.1

arm = inputs.name(self, "action.arm")
x = [1.0, *inputs.numbers(self, "context.features")]
means = PRECISION * np.array(PRIOR[:1] + PRIOR[1:] * (len(x) - 1))
prior = {"J": means.tolist(), "P": (PRECISION * np.eye(len(x))).tolist(), "err": NOISE}
model = tbl.ThompsonBayesianLinear(self.get_theta(key="arm", value=arm), prior)
model.update(inputs.number(self, "reward.value"), x)
self.set_theta(model, key="arm", value=arm)
