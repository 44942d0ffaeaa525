# The mean reward of the arm that was played.
arm = inputs.name(self, "action.treatment")
mean = base.Mean(self.get_theta(key="treatment", value=arm))
mean.update(inputs.number(self, "reward.value"))
self.set_theta(mean, key="treatment", value=arm)
