"""Rewriting graphs and turning them into plans. Passes are pure: graph to graph, or graph to plan."""
