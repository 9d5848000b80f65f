"""What wraps a network from outside: adapters, fewer bits, offload, attention, compilation, parallelism.

Nothing here is known to the model. Everything is put on an instance, can be taken off again, and leaves the names
of its parameters as they are.
"""
