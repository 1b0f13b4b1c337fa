"""Real Kubernetes clusters for the demo and the tests, without an image registry.

`python -m e2e.cluster` is the command line; `e2e.cluster.light.LightCluster` is the form that tests use.
"""
