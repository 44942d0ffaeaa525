# The share of successes of the arm that was played.
arm = inputs.name(self, "action.arm")
share = base.Proportion(self.get_theta(key="arm", value=arm))
share.update(inputs.number(self, "reward.value", 0, 1))
self.set_theta(share, key="arm", value=arm)
