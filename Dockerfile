# KV-Cache as an image: the server alone, linked statically, on nothing.
#
#   docker build -t kv-cache .
#   docker run --network host --ulimit memlock=-1:-1 --security-opt seccomp=deploy/seccomp.json kv-cache
#
# Without the seccomp profile it serves by epoll, and says so: Docker's default forbids io_uring. Flags go behind the image's name,
# or into the environment as KV_…; the health check follows KV_PORT, not a --port flag.
#
# `--build-arg PROFILE=fast` compiles in less time, for trying things out. RUST_IMAGE is any image with cargo and a C compiler.

ARG RUST_IMAGE=docker.io/library/rust:1-bookworm

FROM ${RUST_IMAGE} AS build
ARG PROFILE=release
WORKDIR /src
# What .dockerignore lets through. Cargo reads the manifests of all members and targets, built or not.
COPY . .
# Linked statically against glibc, so that the image needs nothing else; it is no slower (docs/docker.md has the figures). A target that
# is named keeps the flag from build scripts and procedural macros, which cannot be static. Function names stay, for backtraces.
RUN --mount=type=cache,id=kv-cache-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=kv-cache-target,target=/src/target \
    set -eu; \
    target=$(rustc -vV | sed -n 's/^host: //p'); \
    RUSTFLAGS='-C target-feature=+crt-static' \
        cargo build --locked --profile "$PROFILE" --bin kv-server --target "$target"; \
    mkdir -p /image/usr/local/bin; \
    strip --strip-debug -o /image/usr/local/bin/kv-server "target/$target/$PROFILE/kv-server"

FROM scratch
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="KV-Cache" \
      org.opencontainers.image.description="An in-memory key-value cache on io_uring: Redis, memcached, HTTP, JSON lines and protobuf on one port" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /image/ /
# A number, because there is no /etc/passwd, and so that Kubernetes' runAsNonRoot can tell. It owns no file.
USER 65532:65532
EXPOSE 7171
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/usr/local/bin/kv-server", "ping"]
ENTRYPOINT ["/usr/local/bin/kv-server"]
