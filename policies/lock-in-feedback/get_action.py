# Lock-in feedback: let a number swing around a centre that follows the slope of the reward.
START = 3.0
AMPLITUDE = 0.5
PERIOD = 20
RATE = 1.0

# set_reward builds the same object: change the parameters in both.
stored = self.get_theta(key="lock-in", value="x")
rate, omega = RATE / PERIOD, 2 * np.pi / PERIOD
model = lif.LiF(stored, x0=START, a=AMPLITUDE, t=PERIOD, gamma=rate, omega=omega, lifversion=1)
suggestion = model.suggest()

self.action["x"] = suggestion["x"]
self.action["t"] = suggestion["t"]
self.action["x0"] = suggestion["x0"]
