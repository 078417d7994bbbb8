"""One HTML page about a trained network: how well it does, what it looks at, where it comes from, how to repeat it."""
