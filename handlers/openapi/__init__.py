"""`/openapi.json`: what every method of every route takes and answers.

One module for each handler module describes its methods; `document` joins these with the route table.
"""
