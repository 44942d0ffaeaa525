"""Messages to URLs that experiments name: what is told, where it may go, and how it gets there."""
