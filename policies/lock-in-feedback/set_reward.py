# Compare the reward with the swing; after each whole period the centre moves.
START = 3.0
AMPLITUDE = 0.5
PERIOD = 20
RATE = 1.0

stored = self.get_theta(key="lock-in", value="x")
rate, omega = RATE / PERIOD, 2 * np.pi / PERIOD
model = lif.LiF(stored, x0=START, a=AMPLITUDE, t=PERIOD, gamma=rate, omega=omega, lifversion=1)
model.update(
    inputs.whole(self, "action.t", 1),
    inputs.number(self, "action.x", -1e100, 1e100),
    inputs.number(self, "reward.value"),
)
self.set_theta(model, key="lock-in", value="x")
