"""The Kubernetes manifests that follow from the code: workloads, topics, rights, scaling, allowed connections."""
