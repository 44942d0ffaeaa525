# Log what happened for the analysis, and keep a regression of revenue on discount.
split = inputs.number(self, "action.split")
discount = inputs.number(self, "action.discount")
revenue = inputs.number(self, "reward.revenue")
self.log_data({"split": split, "discount": discount, "revenue": revenue})

model = lm.LM(self.get_theta(key="regression", value="revenue"), p=2, add_intercept=True)
model.update(revenue, [discount])
self.set_theta(model, key="regression", value="revenue")
