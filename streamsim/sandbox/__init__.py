"""Running somebody else's code behind the kernel's own fences."""
