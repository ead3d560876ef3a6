"""The processes of a cluster: in which order they start, with which flags, and when each is ready."""

import dataclasses
import ssl
import socket
import sys
import urllib.request

from rig import place


@dataclasses.dataclass
class Component:
    """A process that is started again whenever it ends, until it is stopped by name."""
    name: str
    arguments: list
    ready: object = None
    after: tuple = ()
    wanted: bool = True  # from the start


def https(cluster, url):
    """Whether an address answers 200 to the administrator."""
    context = ssl.create_default_context(cafile=cluster.pki / "ca.crt")
    context.load_cert_chain(cluster.pki / "admin.crt", cluster.pki / "admin.key")
    try:
        with urllib.request.urlopen(url, context=context, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def http(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def listens(path):
    """Whether somebody accepts connections at a Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(path)
            return True
        except OSError:
            return False


def apiserver(cluster):
    pki = cluster.pki
    return [
        "kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", f"--service-cluster-ip-range={place.SERVICES}",
        f"--client-ca-file={pki}/ca.crt", f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki}/sa.pub", f"--service-account-signing-key-file={pki}/sa.key",
        "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet.key", f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP", "--allow-privileged=true",
        f"--requestheader-client-ca-file={pki}/ca.crt", "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={pki}/front-proxy.crt", f"--proxy-client-key-file={pki}/front-proxy.key",
        f"--advertise-address={cluster.first.address}", "--profiling=false", "--event-ttl=2h",
        f"--audit-policy-file={cluster.config}/audit.yaml", f"--audit-log-path={cluster.log}/audit.jsonl",
        "--audit-log-maxsize=64", "--audit-log-maxbackup=2",
        # Debian's etcd 3.4 cannot be asked for its progress, which the estimate waits for in vain.
        "--feature-gates=SizeBasedListCostEstimate=false",
        *cluster.settings["apiserver_flags"],
    ]


def controller_manager(cluster):
    kubeconfig = cluster.config / "kube-controller-manager.kubeconfig"
    pki = cluster.pki
    return [
        "kube-controller-manager", f"--kubeconfig={kubeconfig}", f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}", f"--service-account-private-key-file={pki}/sa.key",
        f"--root-ca-file={pki}/ca.crt", "--use-service-account-credentials=true",
        f"--cluster-signing-cert-file={pki}/ca.crt", f"--cluster-signing-key-file={pki}/ca.key",
        "--leader-elect=false", "--bind-address=127.0.0.1", "--profiling=false",
    ]


def scheduler(cluster):
    kubeconfig = cluster.config / "kube-scheduler.kubeconfig"
    return [
        "kube-scheduler", f"--kubeconfig={kubeconfig}", f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}", "--leader-elect=false", "--bind-address=127.0.0.1",
    ]


def control_plane(cluster):
    """What runs once in a cluster, on its first node, in the order of its start."""
    etcd = [
        "etcd", f"--data-dir={cluster.state}/etcd", "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379", "--listen-peer-urls=http://127.0.0.1:2380",
        "--auto-compaction-retention=10m", "--quota-backend-bytes=4294967296",
    ]
    volumes = [sys.executable, "-m", "rig.volumes", cluster.name]
    kwok = [
        "kwok", f"--config={cluster.config}/kwok.yaml", f"--kubeconfig={cluster.kubeconfig}",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        "--cidr=10.124.0.0/16", "--node-lease-duration-seconds=40",
    ]
    after = ("kube-apiserver",)
    return [
        Component("etcd", etcd, lambda: http("http://127.0.0.1:2379/health")),
        Component("kube-apiserver", apiserver(cluster), lambda: https(cluster, f"{cluster.server}/readyz"), ("etcd",)),
        Component("kube-controller-manager", controller_manager(cluster), None, after),
        Component("kube-scheduler", scheduler(cluster), None, after),
        Component("volumes", volumes, None, after),
        Component("kwok", kwok, None, after, wanted=False),
    ]


def of(node):
    """All components of a node."""
    config = node.config
    kubelet = [
        "kubelet", f"--config={config}/kubelet.yaml", f"--kubeconfig={config}/kubelet.kubeconfig",
        f"--hostname-override={node.name}", f"--node-ip={node.address}",
    ]
    control = control_plane(node.cluster) if node.number == 1 else []
    api = ("kube-apiserver",) if control else ()
    return [
        *control,
        Component("containerd", ["containerd", "--config", f"{config}/containerd.toml"],
                  lambda: listens("/run/containerd/containerd.sock")),
        Component("kubelet", kubelet, lambda: http("http://127.0.0.1:10248/healthz"), ("containerd", *api)),
        Component("kube-proxy", ["kube-proxy", f"--config={config}/kube-proxy.yaml"],
                  lambda: http("http://127.0.0.1:10256/healthz"), api),
        Component("policies", [sys.executable, "-m", "rig.policies", node.cluster.name, node.name], None, api),
    ]
