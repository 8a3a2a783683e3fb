# The packs as an image of their own, with every version that was served before: tickets run to their end on theirs.
#   docker build -f deploy/k8s/packs.Dockerfile --build-arg BEFORE=REGISTRY/tandem/packs:LAST -t REGISTRY/tandem/packs .
# The first time without BEFORE. TANDEM is any of Tandem's own images.
ARG BEFORE=busybox:1.37
ARG TANDEM=tandem/router

FROM ${BEFORE} AS before
USER 0
RUN mkdir -p /frozen

FROM ${TANDEM} AS freeze
COPY packs /packs
RUN ["python", "-c", "from pathlib import Path; from tandem.packs.registry import Packs; packs = Packs(Path('/packs'), Path('/tmp/frozen')); [packs.get(name) for name in packs.names()]"]

FROM busybox:1.37
COPY packs /packs
COPY --from=before /frozen /frozen
COPY --from=freeze /tmp/frozen /frozen
USER 10001
