# The mean reward of the arm that was played.
arm = inputs.name(self, "action.arm")
mean = base.Mean(self.get_theta(key="arm", value=arm))
mean.update(inputs.number(self, "reward.value"))
self.set_theta(mean, key="arm", value=arm)
