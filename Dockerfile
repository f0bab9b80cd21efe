# surepull, and nothing else. `make image` builds it, with Docker, or without any: then the program comes from the local
# toolchain (PROGRAM=local) instead of the stage `build`.
ARG PROGRAM=build

# On Alpine programs are static. For another architecture: docker build --platform linux/arm64
FROM docker.io/library/rust:1.95.0-alpine AS build
RUN apk add --no-cache musl-dev
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin surepull && mv target/release/surepull /surepull

FROM scratch AS local
COPY surepull /surepull

FROM ${PROGRAM} AS program

FROM scratch
ARG VERSION
ARG REVISION
LABEL org.opencontainers.image.title="surepull" \
      org.opencontainers.image.description="A Kubernetes admission webhook that makes every image pull certain" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY LICENSE deploy/licenses/third-party.txt /licenses/
COPY --from=program /surepull /surepull
USER 65532:65532
ENTRYPOINT ["/surepull"]
