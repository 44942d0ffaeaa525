# The regression of the arm that was played.
RIDGE = 1.0

arm = self.action["arm"]
x = [1.0, *self.context["features"]]
model = lm.RLS(self.get_theta(key="arm", value=arm), p=len(x), ridge=RIDGE)
model.update(self.reward["value"], x)
self.set_theta(model, key="arm", value=arm)
