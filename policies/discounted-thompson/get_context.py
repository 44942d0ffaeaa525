# Runs in simulations only: the number of the decision, kept apart from what the policy learns.
step = self.get_theta(name="simulation").get("step", 0)
self.set_theta({"step": step + 1}, name="simulation")
self.context["step"] = step
