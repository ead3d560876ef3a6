# syntax=docker/dockerfile:1
# Images of one static binary each, from scratch: no shell, no package, nothing else. Targets: operator, collector, sidecar, csi.
#   docker build --target sidecar --build-arg INDELIBLE_COMMIT=$(git rev-parse --short=12 HEAD) -t ghcr.io/indelible-dev/indelible-sidecar:dev .
# tests/cluster/images makes the same from built binaries without Docker.

FROM docker.io/library/rust:1.95.0-bookworm AS build
# The image's own toolchain is the one that rust-toolchain.toml pins.
ENV RUSTUP_TOOLCHAIN=1.95.0
ARG INDELIBLE_COMMIT
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --release -p indelible-operator -p indelible-collector -p indelible-sidecar -p indelible-csi \
    && mkdir /out \
    && cp target/*-linux-gnu/release/indelible-operator target/*-linux-gnu/release/indelible-collector \
          target/*-linux-gnu/release/indelible-sidecar target/*-linux-gnu/release/indelible-csi /out/

FROM scratch AS operator
COPY --from=build /out/indelible-operator /indelible-operator
USER 60653:60653
ENTRYPOINT ["/indelible-operator"]

FROM scratch AS collector
COPY --from=build /out/indelible-collector /indelible-collector
USER 60653:60653
ENTRYPOINT ["/indelible-collector"]

FROM scratch AS sidecar
COPY --from=build /out/indelible-sidecar /indelible-sidecar
USER 60653:60653
ENTRYPOINT ["/indelible-sidecar"]

# Root: it makes bind mounts for the kubelet.
FROM scratch AS csi
COPY --from=build /out/indelible-csi /indelible-csi
USER 0:0
ENTRYPOINT ["/indelible-csi"]
