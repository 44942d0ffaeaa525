"""Inside a confined process: the loop that serves requests, its clock, and what it says of failures."""
