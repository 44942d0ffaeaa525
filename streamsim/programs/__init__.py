"""What runs inside the sandbox: one program per module with a class `Program`, and what these share."""
