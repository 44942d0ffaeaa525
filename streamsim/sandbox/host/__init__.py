"""The server's side of the sandbox: starts the zygote, keeps workers, trusts nothing that they say."""
