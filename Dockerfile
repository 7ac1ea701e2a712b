# Every image of Sampan. `docker build --target control-plane .` and `--target node`; hack/docker-images does both, and
# on machines that reach no image registry it makes the images that these start from as well.

ARG BASE_IMAGE=debian:bookworm-slim
ARG BUILD_IMAGE=rust:1-bookworm
ARG NATS_IMAGE=nats:2.12

FROM ${NATS_IMAGE} AS nats

# --- The binary: compiled here, or taken from .tools/docker/ when somebody has compiled it for this Debian already.
FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
RUN if [ -x .tools/docker/sampan ]; then \
      install -D .tools/docker/sampan /out/sampan; \
    else \
      cargo build --release --locked -p sampan && install -D target/release/sampan /out/sampan; \
    fi

# --- API server, scheduler, controllers, name server; nats-server beside them, so that one image is enough.
FROM ${BASE_IMAGE} AS control-plane
RUN [ -e /etc/ssl/certs/ca-certificates.crt ] || { apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qqy --no-install-recommends ca-certificates >/dev/null \
 && rm -rf /var/lib/apt/lists/*; }
RUN useradd --uid 65532 --user-group --home-dir /var/lib/sampan --shell /usr/sbin/nologin sampan \
 && install -d -o sampan -g sampan -m 0750 /var/lib/sampan /var/lib/sampan/apiserver /var/lib/sampan/bus \
      /var/lib/sampan/join /var/lib/sampan/nats /var/lib/sampan/service
COPY --from=nats /nats-server /usr/local/bin/nats-server
COPY --from=build /out/sampan /usr/local/bin/sampan
USER 65532:65532
WORKDIR /var/lib/sampan
ENTRYPOINT ["sampan"]

# --- A node: the agent with a containerd of its own. It needs a privileged container.
FROM ${BASE_IMAGE} AS node
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -qqy --no-install-recommends \
      ca-certificates containerd containernetworking-plugins iproute2 iptables nftables runc >/dev/null \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/sampan /usr/local/bin/sampan
COPY deploy/node-entrypoint /usr/local/bin/node-entrypoint
# On a volume: containerd's layers cannot lie on the layers of another.
VOLUME /var/lib/sampan/nodes
# Of its containerd, so that `ctr images import -` in the container does what one expects.
ENV CONTAINERD_ADDRESS=/run/sampan/containerd.sock CONTAINERD_NAMESPACE=k8s.io
ENTRYPOINT ["node-entrypoint"]
