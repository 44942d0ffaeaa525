# Mean and variance of the arm that was played.
arm = inputs.name(self, "action.treatment")
variance = base.Variance(self.get_theta(key="treatment", value=arm))
variance.update(inputs.number(self, "reward.value"))
self.set_theta(variance, key="treatment", value=arm)
