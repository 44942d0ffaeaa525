# Dividing by the probability of the arm makes up for the times it was not played.
reward = self.reward["value"]
if not 0 <= reward <= 1:
    raise ValueError(f"Exp3 takes rewards from 0 to 1, not {reward}")

arm = self.action["arm"]
gain = self.get_theta(key="arm", value=arm).get("gain", 0.0)
self.set_theta({"gain": gain + reward / self.action["propensity"]}, key="arm", value=arm)
