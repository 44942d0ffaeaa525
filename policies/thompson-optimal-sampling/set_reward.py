# Mean and variance of the arm that was played.
arm = inputs.name(self, "action.arm")
variance = base.Variance(self.get_theta(key="arm", value=arm))
variance.update(inputs.number(self, "reward.value"))
self.set_theta(variance, key="arm", value=arm)
