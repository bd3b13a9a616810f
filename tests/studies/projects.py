"""The modules that the tests of studies search."""

OBJECTIVES = """
import os, time
import mainspring.studies as studies

SPACE = {"x": studies.floats(-1, 1), "depth": studies.ints(1, 4)}

def parabola(x, depth):
    return (x - 0.3) ** 2 + depth

def weighted(x, weights):
    return sum(weights) * x

def troubled(kind):
    if kind == "crash":
        os._exit(3)
    if kind == "hang":
        time.sleep(600)
    if kind == "leave":
        raise SystemExit(2)
    if kind == "raise":
        raise ValueError("it can't be done")
    return len(kind)

def main(**options):
    return studies.study("late", parabola, space=SPACE, direction="minimize", sampler="random", **options)
"""
