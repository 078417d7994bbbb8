"""What is computed: vertices, the record that describes a primitive, graphs, their verifier and their text.

Nothing here knows values, tensors or backends.
"""
