# Dividing by the probability of the arm makes up for the times it was not played.
ARMS = ["a", "b", "c", "d"]
GAMMA = 0.1

# No arm of the decision was played with a lower probability than its share of exploration.
arms = inputs.arms(self, ARMS)
propensity = inputs.number(self, "action.propensity", 0, 1)
if propensity < GAMMA / len(arms) * (1 - 1e-9):
    raise ValueError(
        f"action.propensity: is at least {GAMMA / len(arms):g} with {len(arms)} arms; "
        "send the reward with the context and the action of its decision"
    )
reward = inputs.number(self, "reward.value", 0, 1)

arm = inputs.name(self, "action.arm")
gain = self.get_theta(key="arm", value=arm).get("gain", 0.0)
self.set_theta({"gain": gain + reward / propensity}, key="arm", value=arm)
