# The packs as an image of their own: docker build -f deploy/k8s/packs.Dockerfile -t tandem/packs .
FROM busybox:1.37
COPY packs /packs
USER 10001
