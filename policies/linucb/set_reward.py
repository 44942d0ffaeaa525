# The regression of the arm that was played.
RIDGE = 1.0

arm = inputs.name(self, "action.arm")
x = [1.0, *inputs.numbers(self, "context.features")]
model = lm.RLS(self.get_theta(key="arm", value=arm), p=len(x), ridge=RIDGE, anew=True)
model.update(inputs.number(self, "reward.value"), x)
self.set_theta(model, key="arm", value=arm)
