"""What code a step is: modules read into units, what a step reaches, its fingerprint, the recorded tree, declared inputs."""

__all__ = ["declared", "entropy", "fingerprint", "tree"]
