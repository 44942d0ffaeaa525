"""What runs inside the sandbox: each module is one program (see `streamsim.sandbox.worker`)."""
