# Discount the evidence on all arms, then add what was observed.
DISCOUNT = 0.97

arm = inputs.name(self, "action.arm")
reward = inputs.number(self, "reward.value", 0, 1)

evidence = self.get_theta(key="evidence", value="all")
evidence.setdefault(arm, [0.0, 0.0])
for counts in evidence.values():
    counts[0] *= DISCOUNT
    counts[1] *= DISCOUNT
evidence[arm][0] += reward
evidence[arm][1] += 1 - reward
self.set_theta(evidence, key="evidence", value="all")
