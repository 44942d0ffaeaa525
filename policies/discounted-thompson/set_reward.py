# Discount the evidence on all arms, then add what was observed.
DISCOUNT = 0.97

reward = self.reward["value"]
if not 0 <= reward <= 1:
    raise ValueError(f"discounted Thompson sampling takes rewards from 0 to 1, not {reward}")

evidence = self.get_theta(key="evidence", value="all")
evidence.setdefault(self.action["arm"], [0.0, 0.0])
for counts in evidence.values():
    counts[0] *= DISCOUNT
    counts[1] *= DISCOUNT
evidence[self.action["arm"]][0] += reward
evidence[self.action["arm"]][1] += 1 - reward
self.set_theta(evidence, key="evidence", value="all")
